"""The checkout form: what a customer enters, and its button."""

HOME = {
    "name": "Mira Sørensen",
    "line1": "Große Elbstraße 9",
    "postcode": "22767",
    "city": "Hamburg",
    "country": "DE",
}
GUEST = {"email": "mira@example.com", **HOME}


def button(browser):
    return next(
        name for form in browser.page.forms for name in form.buttons if name.startswith("Order and")
    )
