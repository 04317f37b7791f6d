"""Sessions, sign-in, authorization, and guest access to carts and orders."""

from web.auth import (
    authorization,
    credentials,
    erasure,
    guest_cart,
    known_devices,
    login_throttle,
    order_access,
    password_reset,
    session_storage,
    sessions,
)
