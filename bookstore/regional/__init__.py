"""How the store's country counts: its currency and its time zone."""

from bookstore.regional import money, shop_time
