"""Answers for guests, cached for a second in each process."""

from web.cache import guest_cache, response_bytes
