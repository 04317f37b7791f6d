"""What our letters say."""

from collections.abc import Mapping
from typing import NamedTuple

from bookstore.i18n import N_


class Words(NamedTuple):
    """What one kind of letter says; `opening` has gaps for facts, `link` is on its button."""

    subject: str
    heading: str
    opening: str
    link: str


#: By the kind of letter.  Messages have words of their own.
WORDS: Mapping[str, Words] = {
    "welcome": Words(
        N_("Your account is open"),
        N_("Your account is open"),
        N_(
            "this address has an account with us now. Your orders, your addresses and our letters "
            "to you are kept there. Please confirm within half an hour that the address is yours; "
            "later, your account sends you another link. If it was not you who opened it, answer "
            "this letter and we close it."
        ),
        N_("Confirm the address"),
    ),
    "verify-email": Words(
        N_("Confirm your e-mail address"),
        N_("Is this address yours?"),
        N_(
            "you have asked us to confirm this address for your account. The link works once, for "
            "half an hour. If it was not you who asked, there is nothing to do."
        ),
        N_("Confirm the address"),
    ),
    "confirm-email": Words(
        N_("Confirm your new e-mail address"),
        N_("Is this your new address?"),
        N_(
            "you want to sign in with this address from now on, and have our letters here. The "
            "link makes the change; it works once, for half an hour. If it was not you who asked, "
            "there is nothing to do."
        ),
        N_("Use this address"),
    ),
    "email-changing": Words(
        N_("Your e-mail address is to be changed"),
        N_("Another address for your account"),
        N_(
            "somebody who knows your password has asked us to use another e-mail address for your "
            "account. It counts once the letter to the new address is answered. If it was not "
            "you, change your password at once: that stops it."
        ),
        N_("Go to your account"),
    ),
    "email-changed": Words(
        N_("Your e-mail address was changed"),
        N_("Your account has another address"),
        N_(
            "from now on you sign in with your new e-mail address, and our letters go there. This "
            "is the last one to the old address. If it was not you who changed it, answer this "
            "letter at once."
        ),
        N_("Go to your account"),
    ),
    "email-known": Words(
        N_("You have an account with us already"),
        N_("This address has an account already"),
        N_(
            "somebody, perhaps you, wants to use this address for another account. As it has one "
            "already, nothing was changed. If you have forgotten its password, you can set a new "
            "one where you sign in."
        ),
        N_("Go to your account"),
    ),
    "reset-password": Words(
        N_("Set a new password"),
        N_("Set a new password"),
        N_(
            "somebody, perhaps you, has forgotten the password of the account with this address. "
            "The link sets a new one; it works once, for half an hour. If it was not you, there "
            "is nothing to do: the old password goes on working."
        ),
        N_("Set a new password"),
    ),
    "password-changed": Words(
        N_("Your password was changed"),
        N_("Your password was changed"),
        N_(
            "the password of your account is a new one, and other devices were signed out. Tokens "
            "that programs use go on working; you can end them in your account. If it was not "
            "you, set a new password at once: where you sign in, choose “Forgotten your "
            "password?”."
        ),
        N_("Go to your account"),
    ),
    "second-factor-on": Words(
        N_("Your second factor is on"),
        N_("Signing in takes a code now"),
        N_(
            "from now on your account asks for a code beside the password. Keep the recovery "
            "codes where you find them without your phone. If it was not you who set this up, "
            "answer this letter at once."
        ),
        N_("Go to your account"),
    ),
    "second-factor-off": Words(
        N_("Your second factor is off"),
        N_("Signing in takes no code any more"),
        N_(
            "your account asks for the password alone again. If it was not you who removed the "
            "second factor, change your password at once."
        ),
        N_("Go to your account"),
    ),
    "order-placed": Words(
        N_("We have your order {number}"),
        N_("We have your order"),
        N_(
            "thank you. Order {number} of {books} is with us since {placed_on}. We now see "
            "whether every copy is on the shelf, and write again as soon as we know."
        ),
        N_("See where your order is"),
    ),
    "order-confirmed": Words(
        N_("Your books are set aside: order {number}"),
        N_("Your books are set aside"),
        N_(
            "we have {copies} of order {number} on the shelf. Packing comes next, and you will "
            "get one more letter when the parcel leaves us."
        ),
        N_("See where your order is"),
    ),
    "order-rejected": Words(
        N_("We could not fill your order {number}"),
        N_("We could not fill your order"),
        N_(
            "we are sorry: not every book of order {number} can be had, so we send none of it. "
            "{payment} With one click on the order’s page the books go back into your cart, and "
            "you can order those that are here."
        ),
        N_("See your order"),
    ),
    "order-shipped": Words(
        N_("Your parcel is on its way: order {number}"),
        N_("Your parcel is on its way"),
        N_("the parcel with {books} of order {number} has left us."),
        N_("See where your order is"),
    ),
    "order-delivered": Words(
        N_("Your parcel has arrived: order {number}"),
        N_("Your parcel has arrived"),
        N_(
            "the parcel with order {number} has been delivered. We hope that you enjoy what is in "
            "it. If a book is missing or damaged, answer this letter."
        ),
        N_("See your order"),
    ),
    "order-cancelled": Words(
        N_("Your order {number} is cancelled"),
        N_("Your order is cancelled"),
        N_("order {number} is cancelled, and nothing of it will be sent. {payment}"),
        N_("See your order"),
    ),
}
