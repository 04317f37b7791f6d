"""Carts of users and guests."""

from bookstore.carts.carts import (
    MAX_QUANTITY,
    Cart,
    CartItem,
    CartWrite,
    add,
    add_again,
    clear,
    find_of_user,
    get,
    make_guest,
    merge,
    of_user,
    priced,
    purge,
    remove,
)
from bookstore.carts.shared_writes import SharedWrites
