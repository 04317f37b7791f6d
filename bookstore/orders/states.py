"""The states of an order, and where each may lead.

placed ──> confirmed ──> packed ──> shipped ──> delivered
   │           │           │
   ├──> rejected           │    (placed by `checkout.py`, decided by `processing.py`)
   └───────────┴───────────┴──> cancelled
"""

from bookstore.stored_enum import StoredEnum


class State(StoredEnum):
    PLACED = "placed"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    PACKED = "packed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


#: Where each state may lead.  A state that is not here is final.
NEXT = {
    State.PLACED: {State.CONFIRMED, State.REJECTED, State.CANCELLED},
    State.CONFIRMED: {State.PACKED, State.CANCELLED},
    State.PACKED: {State.SHIPPED, State.CANCELLED},
    State.SHIPPED: {State.DELIVERED},
}
#: What the order service alone may decide.
MACHINE_MADE = {State.CONFIRMED, State.REJECTED}
#: Once packed, a customer has to ask the staff.
CUSTOMER_CANCELS = {State.PLACED, State.CONFIRMED}
#: What staff may do to many orders at once: these steps need no text for each order.
IN_BULK = frozenset({State.PACKED, State.SHIPPED})
#: Customers get no e-mail about these.
_SILENT = frozenset({State.PACKED})


def has_email(state: State) -> bool:
    """Whether the customer gets an e-mail when an order enters this state."""
    return state not in _SILENT
