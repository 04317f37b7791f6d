"""Server-sent events about orders and jobs."""

from web.live import job_progress, order_streams, sse, staff_stream
