"""A book and an address as the API takes them."""

DUNE = {
    "isbn13": "978-0-441-17271-9",
    "title": "Dune",
    "authors": ["Frank Herbert", {"name": "Anna Translator", "role": "translator"}],
    "price_cents": 1299,
    "year": 1965,
    "language": "English",
    "description": "Sand.<script>alert(1)</script>",
    "stock": 3,
}
HOME = {"name": "Anna", "line1": "Quay 9", "city": "Hamburg", "postcode": "20457", "country": "DE"}
