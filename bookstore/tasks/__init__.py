"""The outbox of background tasks, jobs, and the messages that announce them to the workers."""

from bookstore.tasks import failures, heartbeats, job_runner, jobs, outbox, publisher
