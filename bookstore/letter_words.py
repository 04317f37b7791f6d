"""What our letters say."""

from collections.abc import Mapping
from typing import NamedTuple


class Words(NamedTuple):
    """What one kind of letter says; `opening` has gaps for facts, `link` is on its button."""

    subject: str
    heading: str
    opening: str
    link: str


#: By the kind of letter.  Messages have words of their own.
WORDS: Mapping[str, Words] = {
    "welcome": Words(
        "Your account is open",
        "Your account is open",
        "this address has an account with us now. Your orders, your addresses and our letters "
        "to you are kept there. Please confirm within half an hour that the address is yours; "
        "later, your account sends you another link. If it was not you who opened it, answer "
        "this letter and we close it.",
        "Confirm the address",
    ),
    "verify-email": Words(
        "Confirm your e-mail address",
        "Is this address yours?",
        "you have asked us to confirm this address for your account. The link works once, for "
        "half an hour. If it was not you who asked, there is nothing to do.",
        "Confirm the address",
    ),
    "confirm-email": Words(
        "Confirm your new e-mail address",
        "Is this your new address?",
        "you want to sign in with this address from now on, and have our letters here. The link "
        "makes the change; it works once, for half an hour. If it was not you who asked, there "
        "is nothing to do.",
        "Use this address",
    ),
    "email-changing": Words(
        "Your e-mail address is to be changed",
        "Another address for your account",
        "somebody who knows your password has asked us to use another e-mail address for your "
        "account. It counts once the letter to the new address is answered. If it was not you, "
        "change your password at once: that stops it.",
        "Go to your account",
    ),
    "email-changed": Words(
        "Your e-mail address was changed",
        "Your account has another address",
        "from now on you sign in with your new e-mail address, and our letters go there. This "
        "is the last one to the old address. If it was not you who changed it, answer this "
        "letter at once.",
        "Go to your account",
    ),
    "email-known": Words(
        "You have an account with us already",
        "This address has an account already",
        "somebody, perhaps you, wants to use this address for another account. As it has one "
        "already, nothing was changed. If you have forgotten its password, you can set a new one "
        "where you sign in.",
        "Go to your account",
    ),
    "reset-password": Words(
        "Set a new password",
        "Set a new password",
        "somebody, perhaps you, has forgotten the password of the account with this address. The "
        "link sets a new one; it works once, for half an hour. If it was not you, there is "
        "nothing to do: the old password goes on working.",
        "Set a new password",
    ),
    "password-changed": Words(
        "Your password was changed",
        "Your password was changed",
        "the password of your account is a new one, and other devices were signed out. Tokens "
        "that programs use go on working; you can end them in your account. If it was not you, "
        "set a new password at once: where you sign in, choose “Forgotten your password?”.",
        "Go to your account",
    ),
    "second-factor-on": Words(
        "Your second factor is on",
        "Signing in takes a code now",
        "from now on your account asks for a code beside the password. Keep the recovery codes "
        "where you find them without your phone. If it was not you who set this up, answer this "
        "letter at once.",
        "Go to your account",
    ),
    "second-factor-off": Words(
        "Your second factor is off",
        "Signing in takes no code any more",
        "your account asks for the password alone again. If it was not you who removed the "
        "second factor, change your password at once.",
        "Go to your account",
    ),
    "order-placed": Words(
        "We have your order {number}",
        "We have your order",
        "thank you. Order {number} of {books} is with us since {placed_on}. We now see whether "
        "every copy is on the shelf, and write again as soon as we know.",
        "See where your order is",
    ),
    "order-confirmed": Words(
        "Your books are set aside: order {number}",
        "Your books are set aside",
        "we have {copies} of order {number} on the shelf. Packing comes next, and you will get "
        "one more letter when the parcel leaves us.",
        "See where your order is",
    ),
    "order-rejected": Words(
        "We could not fill your order {number}",
        "We could not fill your order",
        "we are sorry: not every book of order {number} can be had, so we send none of it. "
        "{payment} With one click on the order’s page the books go back into your cart, and you "
        "can order those that are here.",
        "See your order",
    ),
    "order-shipped": Words(
        "Your parcel is on its way: order {number}",
        "Your parcel is on its way",
        "the parcel with {books} of order {number} has left us.",
        "See where your order is",
    ),
    "order-delivered": Words(
        "Your parcel has arrived: order {number}",
        "Your parcel has arrived",
        "the parcel with order {number} has been delivered. We hope that you enjoy what is in "
        "it. If a book is missing or damaged, answer this letter.",
        "See your order",
    ),
    "order-cancelled": Words(
        "Your order {number} is cancelled",
        "Your order is cancelled",
        "order {number} is cancelled, and nothing of it will be sent. {payment}",
        "See your order",
    ),
}
