"""Middleware and helpers for every request: limits, security, errors, languages."""

from web.server import (
    api_rate_limit,
    compression,
    downloads,
    errors,
    keys,
    languages,
    problems,
    request_context,
    request_limits,
    route_access,
    security,
    server,
    transactions,
)
