"""What every request passes: limits, security, errors, languages."""

from web.server import (
    api_rate_limit,
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
)
