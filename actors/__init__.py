"""One actor for each kind of work: `dramatiq actors` finds them here.

An actor registers with our broker when its module is imported.
"""

from actors import broker, notifications, orders

__all__ = ["broker", "notifications", "orders"]
