"""The actions that the audit log records."""

from bookstore.stored_enum import StoredEnum


class AuditAction(StoredEnum):
    """What was done to the object of an entry; a test compares this list with the code."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    WITHDRAW = "withdraw"
    RESTORE = "restore"
    CANCEL = "cancel"
    MOVE_ORDER = "move-order"
    CHANGE_PAYMENT = "change-payment"
    NOTE = "note"
    WRITE = "write"
    RESEND = "resend"
    REPLAY = "replay"
    DISCARD = "discard"
    EXPORT = "export"
    CHANGE_ROLE = "change-role"
    CHANGE_EMAIL = "change-email"
    DISABLE = "disable"
    ENABLE = "enable"
    END_SESSIONS = "end-sessions"
    CREATE_TOKEN = "create-token"  # noqa: S105 - the name of an action
    SIGN_IN_NEW_DEVICE = "sign-in-new-device"
    ENABLE_SECOND_FACTOR = "enable-second-factor"
    REMOVE_SECOND_FACTOR = "remove-second-factor"
    ERASE = "erase"
