"""Orders over the API."""

HOME = {
    "name": "Anna Karenina",
    "line1": "7 Nevsky Prospekt",
    "city": "St Petersburg",
    "postcode": "191186",
    "country": "RU",
}
ORDER = {"shipping_address": HOME, "email": "anna@example.com"}


async def put(client, book, quantity=1):
    await client.post("/api/v1/cart/items", json={"book_id": book, "quantity": quantity})


async def place(client, book=None, key="k1", **change):
    if book is not None:
        await put(client, book)
    return await client.post(
        "/api/v1/orders", json=ORDER | change, headers={"Idempotency-Key": key}
    )
