"""The texts of e-mails to customers."""

from collections.abc import Mapping
from typing import NamedTuple

from bookstore.i18n import N_


class EmailTexts(NamedTuple):
    """The texts of one kind of e-mail.  `opening` has placeholders, `link` labels the button."""

    subject: str
    heading: str
    opening: str
    link: str


#: By `EmailKind`.  Kind `MESSAGE` has none: staff write its text.
EMAIL_TEXTS: Mapping[str, EmailTexts] = {
    "welcome": EmailTexts(
        N_("Welcome to your account"),
        N_("Welcome to your account"),
        N_(
            "you now have an account with this e-mail address. It contains your orders, addresses "
            "and notifications. Please confirm within 30 minutes that this is your address; after "
            "that, you can request a new link in your account. If you did not create this account, "
            "reply to this e-mail and we will close it."
        ),
        N_("Confirm address"),
    ),
    "verify-email": EmailTexts(
        N_("Confirm your e-mail address"),
        N_("Is this address yours?"),
        N_(
            "you asked us to confirm this e-mail address for your account. The link works once and "
            "expires after 30 minutes. If this was not you, you can ignore this e-mail."
        ),
        N_("Confirm address"),
    ),
    "confirm-email": EmailTexts(
        N_("Confirm your new e-mail address"),
        N_("Is this your new address?"),
        N_(
            "you asked to sign in with this e-mail address from now on, and to receive our e-mails "
            "here. Confirm the change with the link; it works once and expires after 30 minutes. "
            "If this was not you, you can ignore this e-mail."
        ),
        N_("Use this address"),
    ),
    "email-changing": EmailTexts(
        N_("Request to change your e-mail address"),
        N_("New e-mail address for your account"),
        N_(
            "someone who knows your password has asked us to change the e-mail address of your "
            "account. The change takes effect when it is confirmed with the link that we sent to "
            "the new address. If this was not you, change your password immediately: this cancels "
            "the change."
        ),
        N_("Go to your account"),
    ),
    "email-changed": EmailTexts(
        N_("Your e-mail address was changed"),
        N_("Your account has a new e-mail address"),
        N_(
            "you now sign in with your new e-mail address, and we send our e-mails there. This is "
            "the last e-mail to your old address. If you did not make this change, reply to this "
            "e-mail immediately."
        ),
        N_("Go to your account"),
    ),
    "email-known": EmailTexts(
        N_("You have an account with us already"),
        N_("There is already an account with this address"),
        N_(
            "someone, perhaps you, tried to use this address for another account. There is already "
            "an account with this address, so nothing was changed. If you have forgotten its "
            "password, you can set a new one on the sign-in page."
        ),
        N_("Go to your account"),
    ),
    "reset-password": EmailTexts(
        N_("Set a new password"),
        N_("Set a new password"),
        N_(
            "someone, perhaps you, asked to reset the password of the account with this address. "
            "Set a new password with the link; it works once and expires after 30 minutes. If this "
            "was not you, you can ignore this e-mail: your password has not changed."
        ),
        N_("Set a new password"),
    ),
    "password-changed": EmailTexts(
        N_("Your password was changed"),
        N_("Your password was changed"),
        N_(
            "the password of your account was changed, and other devices were signed out. If you "
            "set it with a link in an e-mail, all API tokens were revoked, too; otherwise you can "
            "revoke them in your account. If this was not you, set a new password immediately: on "
            "the sign-in page, choose “Forgotten your password?”."
        ),
        N_("Go to your account"),
    ),
    "second-factor-on": EmailTexts(
        N_("Your second factor is on"),
        N_("Signing in now requires a code"),
        N_(
            "your account now requires a code in addition to the password. Keep the recovery codes "
            "where you can find them without your phone. If you did not set this up, reply to this "
            "e-mail immediately."
        ),
        N_("Go to your account"),
    ),
    "second-factor-off": EmailTexts(
        N_("Your second factor is off"),
        N_("Signing in no longer requires a code"),
        N_(
            "your account now requires only the password. If you did not remove the second factor, "
            "change your password immediately."
        ),
        N_("Go to your account"),
    ),
    "token-created": EmailTexts(
        N_("Your account has a new API token"),
        N_("A program can use your account"),
        N_(
            "a new API token was created in your account. A program with this token can act for "
            "you. If you did not create it, set a new password immediately: on the sign-in page, "
            "choose “Forgotten your password?”. This also revokes all tokens."
        ),
        N_("Go to your account"),
    ),
    "new-device": EmailTexts(
        N_("New sign-in to your account"),
        N_("Somebody signed in from a new device"),
        N_(
            "somebody has just signed in to your account from a device that we do not know. If it "
            "was you, there is nothing to do. If not, set a new password immediately: on the "
            "sign-in page, choose “Forgotten your password?”."
        ),
        N_("Go to your account"),
    ),
    "order-placed": EmailTexts(
        N_("We have received your order {number}"),
        N_("We have received your order"),
        N_(
            "thank you. We received your order {number} ({books}) on {placed_on}. We are checking "
            "whether all items are in stock, and will send you an e-mail as soon as we know."
        ),
        N_("Track your order"),
    ),
    "order-confirmed": EmailTexts(
        N_("Order confirmation {number}"),
        N_("Your order is confirmed"),
        N_(
            "your order {number} is confirmed: we have reserved {books} for you. We will pack it "
            "next, and send you an e-mail when it has been shipped."
        ),
        N_("Track your order"),
    ),
    "order-rejected": EmailTexts(
        N_("We could not fulfil your order {number}"),
        N_("We could not fulfil your order"),
        N_(
            "we are sorry: not every book of your order {number} is available, so we cannot ship "
            "it. {payment} On the order’s page, you can add the books to your cart again with one "
            "click and order those that are in stock."
        ),
        N_("View your order"),
    ),
    "order-shipped": EmailTexts(
        N_("Your order {number} has been shipped"),
        N_("Your order has been shipped"),
        N_("your order {number} ({books}) has been shipped."),
        N_("Track your order"),
    ),
    "order-delivered": EmailTexts(
        N_("Your order {number} has been delivered"),
        N_("Your order has been delivered"),
        N_(
            "your order {number} has been delivered. We hope that you enjoy it. If a book is "
            "missing or damaged, reply to this e-mail."
        ),
        N_("View your order"),
    ),
    "order-cancelled": EmailTexts(
        N_("Your order {number} has been cancelled"),
        N_("Your order has been cancelled"),
        N_("your order {number} has been cancelled and will not be shipped. {payment}"),
        N_("View your order"),
    ),
}
