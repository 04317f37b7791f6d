"""Orders: placed at checkout, processed by workers, changed by staff and customers."""

from bookstore.orders import bestsellers, customer_terms, event_feed, timeline
from bookstore.orders.checkout import CheckoutRequest, Checkouts
from bookstore.orders.orders import (
    Event,
    Order,
    any_since,
    by_id,
    by_ids,
    claim,
    count_by_state,
    events,
    find,
    get,
    of_user,
)
from bookstore.orders.processing import process
from bookstore.orders.states import CUSTOMER_CANCELS, IN_BULK, MACHINE_MADE, NEXT, State
from bookstore.orders.transitions import (
    MoveResult,
    Trace,
    cancel,
    change_payment,
    move,
    move_locked,
    move_many,
    reject,
    transition,
)
