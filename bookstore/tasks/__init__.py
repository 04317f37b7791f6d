"""The outbox of background tasks, jobs, and the messages that announce them."""

from bookstore.tasks import failures, heartbeats, job_runner, jobs, outbox, publisher
