"""Orders: placed at checkout, processed by workers, changed by staff and customers."""

from bookstore.orders import bestsellers, bulk_transitions, event_feed, timeline
from bookstore.orders.checkout import Checkouts, Wish
from bookstore.orders.orders import (
    CUSTOMER_CANCELS,
    MACHINE_MADE,
    NEXT,
    Event,
    Order,
    Payment,
    State,
    any_since,
    by_ids,
    cancel,
    change_payment,
    claim,
    count_by_state,
    events,
    find,
    get,
    of_user,
    transition,
)
from bookstore.orders.processing import Trace, process
