"""The checked store: embedded, with the sample catalogue, a customer and orders."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.e2e.programs import ADMIN, Embedded

CUSTOMER = {"email": "mina@example.com", "password": "seven wells deep", "name": "Mina Murray"}
ADDRESS = {
    "name": "Mina Murray",
    "line1": "1 Crescent",
    "city": "Whitby",
    "postcode": "YO21 3EQ",
    "country": "GB",
}
#: An uploaded file with a rejected row.
LIST = b"""--part\r
Content-Disposition: form-data; name="file"; filename="autumn.csv"\r
\r
isbn,title,authors,price
9780141439518,Pride and Prejudice,Jane Austen,7.90
9780140449136,The Odyssey,Homer,on request
\r
--part--\r
"""


class Judged(Embedded):
    """A store and its credentials: `cookies` by user, the `token` of the administrator."""

    name = "judged"

    def __init__(self) -> None:
        super().__init__({"BOOKSTORE_RATE_LIMITS": "off"})
        self.cookies: dict[str, str] = {}
        self.token = ""
        #: Ids for the paths of pages.
        self.known: dict[str, Any] = {}

    def furnish(self) -> None:
        """Sign in all users and place orders."""
        self.cookies["staff"] = self._cookie("/session", ADMIN)
        self.cookies["customer"] = self._cookie("/users", CUSTOMER)
        staff, mina = self.cookies["staff"], self.cookies["customer"]
        self.token = self.call("POST", "/users/me/tokens", {"name": "judges"}, staff)["token"]
        books = self.call("GET", "/books?q=dracula&in_stock=true&limit=1")["items"]
        for quantity in (1, 2):
            wanted = {"book_id": books[0]["id"], "quantity": quantity}
            self.call("POST", "/cart/items", wanted, mina)
            key = {"Idempotency-Key": f"judged {quantity}"}
            order = self.call("POST", "/orders", {"shipping_address": ADDRESS}, mina, key)
        self.call("POST", "/cart/items", {"book_id": books[0]["id"], "quantity": 1}, mina)
        self.known = {
            "book": books[0]["id"],
            "order": order["number"],
            "user": self.call("GET", "/users/me", None, mina)["id"],
            "import": self.send("/admin/imports", LIST, "multipart/form-data; boundary=part"),
            "plan": self.send("/admin/books/bulk", b"all=yes&field=price&price=%2B5%25"),
        }
        job = f"file={self.known['import'].partition('=')[2]}&dry_run=yes".encode()
        self.known["job"] = self.send("/admin/imports/start", job)
        ends = time.monotonic() + 30
        while self.call("GET", f"/orders/{order['number']}", None, mina)["status"] == "placed":
            assert time.monotonic() < ends, "nobody works on orders"
            time.sleep(0.2)

    def at(self, path: str) -> str:
        """The full URL of a page."""
        return self.url + path.format_map(self.known)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        cookie: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON response of the API."""
        with self._open(method, f"/api/v1{path}", body, cookie, headers) as answer:
            return json.load(answer)

    def send(
        self, path: str, body: bytes, media_type: str = "application/x-www-form-urlencoded"
    ) -> str:
        """Submit a form of the dashboard; returns the redirect URL."""
        headers = {"Content-Type": media_type}
        with self._open("POST", path, body, self.cookies["staff"], headers) as answer:
            return str(answer.url).removeprefix(self.url)

    def page(self, path: str, cookie: str = "") -> bytes:
        """The bytes of a page."""
        with self._open("GET", path.format_map(self.known), None, cookie, None) as answer:
            content: bytes = answer.read()
        return content

    def _cookie(self, path: str, body: object) -> str:
        with self._open("POST", f"/api/v1{path}", body, "", None) as answer:
            return str(answer.headers["Set-Cookie"]).partition(";")[0]

    def _open(
        self,
        method: str,
        path: str,
        body: object,
        cookie: str,
        headers: Mapping[str, str] | None,
    ) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=body if isinstance(body, bytes | None) else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Cookie": cookie, **(headers or {})},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(request, timeout=10)
