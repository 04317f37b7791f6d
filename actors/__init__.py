"""One actor for each kind of work; `dramatiq actors` finds them here.

An actor registers with our broker when its module is imported.
"""

from actors import broker, jobs, notifications, orders

__all__ = ["broker", "jobs", "notifications", "orders"]
