"""Health checks and Prometheus metrics."""

from web.monitoring import health, metrics, metrics_port
