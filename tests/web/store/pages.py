"""A browser without scripts: it parses pages and submits their forms."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

from aiohttp.test_utils import TestClient

#: The header that browsers send with a form of the same site.
OWN = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Form:
    """A form: its URL, its fields, and the fields that each button adds."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    #: The names of all controls.
    names: set[str] = field(default_factory=set)
    buttons: dict[str, dict[str, str]] = field(default_factory=dict)


class _Reader(HTMLParser):
    """Parses a page into its forms and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.text: list[str] = []
        self.titles: list[str] = []
        self._select = self._area = self._button = self._link = self._heading = None
        self._hidden = 0

    def handle_starttag(self, tag, attributes):
        attrs = dict(attributes)
        form = self.forms[-1] if self.forms else None
        match tag:
            case "form":
                self.forms.append(Form(attrs.get("method", "get"), attrs.get("action", "")))
            case "input" if form and "name" in attrs:
                form.names.add(attrs["name"])
                if attrs.get("type") not in ("radio", "checkbox") or "checked" in attrs:
                    form.fields[attrs["name"]] = attrs.get("value", "")
            case "select" if form:
                self._select = attrs["name"]
                form.names.add(self._select)
                form.fields.setdefault(self._select, "")
            case "option" if form and "selected" in attrs:
                form.fields[self._select] = attrs["value"]
            case "textarea" if form:
                self._area = attrs["name"]
                form.names.add(self._area)
                form.fields[self._area] = ""
            case "button" if form:
                self._button = attrs.get("aria-label") or ""
                adds = {attrs["name"]: attrs.get("value", "")} if "name" in attrs else {}
                form.buttons[self._button] = adds
            case "a":
                self._link = attrs.get("href")
            case "br":
                self.handle_data(" ")
            case "h1":
                self._heading = True
                self.titles.append("")
            case "script" | "style" | "svg":
                self._hidden += 1

    def handle_endtag(self, tag):
        match tag:
            case "textarea":
                self._area = None
            case "button":
                self._button = None
            case "a":
                self._link = None
            case "h1":
                self._heading = None
            case "script" | "style" | "svg":
                self._hidden -= 1

    def handle_data(self, data):
        if self._area is not None:
            # A line break directly after the tag is ignored (HTML, section 13.1.2.5).
            self.forms[-1].fields[self._area] += data.removeprefix("\n")
            return
        if self._hidden:
            return
        self.text.append(data)
        if self._heading:
            self.titles[-1] += data
        if self._link is not None and data.strip():
            self.links.setdefault(data.strip(), self._link)
        if self._button is not None and data.strip():
            form = self.forms[-1]
            form.buttons[data.strip()] = form.buttons.pop(self._button, {})
            self._button = data.strip()


class Browser:
    """One visitor's browser, with the last page it has loaded."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.status = 0
        self.path = "/"
        self.html = ""
        self.page = _Reader()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.page.text).split())

    @property
    def title(self) -> str:
        return " ".join(self.page.titles[0].split())

    async def go(self, path: str) -> "Browser":
        return await self._show(await self.client.get(urljoin(self.path, path)))

    async def follow(self, link: str) -> "Browser":
        return await self.go(self.page.links[link])

    async def press(self, button: str, **typed: str) -> "Browser":
        """Fill in the form that has this button, and submit it."""
        form = self.form(button)
        assert typed.keys() <= form.names
        sent = form.fields | typed | form.buttons[button]
        address = urljoin(self.path, form.action)
        if form.method == "get":
            return await self._show(await self.client.get(address, params=sent))
        return await self._show(await self.client.post(address, data=sent, headers=OWN))

    def form(self, button: str) -> Form:
        return next(form for form in self.page.forms if button in form.buttons)

    async def _show(self, response) -> "Browser":
        self.status = response.status
        self.path = response.url.path_qs
        self.html = await response.text()
        self.page = _Reader()
        self.page.feed(self.html)
        return self
