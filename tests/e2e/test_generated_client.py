"""A client generated from the OpenAPI document."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.programs import Embedded

#: A program written with knowledge of the generated code only.
SCRIPT = """
import sys
from shop import Client
from shop.api.books import list_books
from shop.api.cart import add_to_cart
from shop.api.orders import list_order_events, place_order, show_order
from shop.api.users import register
from shop.models import AddressIn, CartItemIn, OrderIn, RegistrationIn

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
with client:
    user = register.sync(
        client=client,
        body=RegistrationIn(email="g@example.com", password="seven wells deep", name="Gen"),
    )
    books = list_books.sync(client=client, in_stock=True, limit=2).items
    for book in books:
        cart = add_to_cart.sync(client=client, body=CartItemIn(book_id=book.id, quantity=1))
    order = place_order.sync(
        client=client,
        idempotency_key="generated",
        body=OrderIn(
            shipping_address=AddressIn(
                name="Gen", line1="Quay 9", city="Hamburg", postcode="20457", country="DE"
            ),
            expected_total_cents=cart.total_cents,
        ),
    )
    assert order.status == "placed", order
    assert [item.book_id for item in order.items] == sorted(book.id for book in books)
    for _ in range(200):
        order = show_order.sync(order.number, client=client)
        if order.status != "placed":
            break
    assert order.status == "confirmed", order
    assert order.total_cents == cart.total_cents
    kinds = [event.kind for event in list_order_events.sync(order.number, client=client).items]
    assert kinds == ["placed", "confirmed"], kinds
print("ordered", order.number)
"""


@pytest.fixture(scope="module")
def store():
    with Embedded() as store:
        yield store


def test_a_generated_client_registers_fills_a_cart_and_orders(store, tmp_path):
    document = tmp_path / "openapi.json"
    document.write_text(store.run("openapi").stdout)
    generated = subprocess.run(
        [
            Path(sys.executable).with_name("openapi-python-client"),
            "generate",
            "--meta=none",
            f"--path={document}",
            f"--output-path={tmp_path / 'shop'}",
        ],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr

    ordered = subprocess.run(
        [sys.executable, "-c", SCRIPT, store.url],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ordered.returncode == 0, ordered.stderr
    assert ordered.stdout.startswith("ordered")
