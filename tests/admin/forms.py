"""The forms of a page, and what somebody could type into them that is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

#: Of a text whose field says nothing else.
LONGEST = 16_000
#: By the type of the field.
WRONG = {"number": "99999999999", "checkbox": "on"}
NO_FILE = b"neither a picture nor a list"
#: For what people do not type.
NONSENSE = ("nonsense", "9" * 30)
_UNTYPED = ("hidden", "checkbox")


class Sending(NamedTuple):
    """A form as it is sent: `typed` is what people typed, by the ids of the fields."""

    how: str
    fields: list[tuple[str, str]]
    typed: dict[str, str]
    ticks: list[tuple[str, str]]


@dataclass
class Control:
    """A field of a form; `value` is what it would send as it stands."""

    name: str
    kind: str
    value: str
    id: str = ""
    required: bool = False
    longest: int = 0
    options: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> str:
        """What may not be typed here."""
        return WRONG.get(self.kind, "<b>Typed & kept</b> " + "本" * (self.longest or LONGEST))


@dataclass
class Form:
    """A form that is sent; `buttons` are the names and values that its buttons add."""

    action: str
    multipart: bool
    controls: list[Control] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)

    @property
    def typed(self) -> list[Control]:
        """What people fill in."""
        return [each for each in self.controls if each.kind not in _UNTYPED]

    @property
    def hidden(self) -> list[Control]:
        return [each for each in self.controls if each.kind == "hidden"]

    @property
    def ticks(self) -> list[Control]:
        return [each for each in self.controls if each.kind == "checkbox"]


class Page(HTMLParser):
    """Every form of a page that is sent with POST, and every field by its id."""

    def __init__(self, html: str, status: int = 200) -> None:
        super().__init__()
        self.status = status
        self.forms: list[Form] = []
        self.by_id: dict[str, Control] = {}
        self.ids: set[str] = set()
        self.links: list[str] = []
        #: Where the sentences lead that say why something was refused.
        self.summary: list[str] = []
        self.notes = 0
        self.text = ""
        self._named: dict[str, Form] = {}
        self._form: Form | None = None
        self._area: Control | None = None
        self._select: Control | None = None
        self._alert = 0
        self._strays: list[tuple[str, Control]] = []
        self.feed(html)
        for name, control in self._strays:
            if name in self._named:
                self._named[name].controls.append(control)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        self.ids |= {facts["id"]} if "id" in facts else set()
        self.notes += "note" in facts.get("class", "").split()
        if self._alert or facts.get("role") == "alert":
            self._alert += tag == "div"
        if tag == "a":
            self.links.append(facts.get("href", ""))
            if self._alert:
                self.summary.append(facts.get("href", ""))
        elif tag == "form":
            self._form = Form(facts.get("action", ""), "enctype" in facts)
            if facts.get("method") == "post":
                self.forms.append(self._form)
                self._named[facts.get("id", "")] = self._form
        elif tag == "button" and self._form and facts.get("type") == "submit":
            if "formaction" not in facts:
                self._form.buttons.append((facts.get("name", ""), facts.get("value", "")))
        elif tag in ("input", "select", "textarea") and facts.get("name"):
            self._add(tag, facts)
        elif tag == "option" and self._select is not None:
            value = facts.get("value", "")
            if "selected" in facts or not self._select.options:
                self._select.value = value
            self._select.options.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea" and self._area is not None:
            # The first line break belongs to the markup.
            self._area.value = self._area.value.removeprefix("\n")
            self._area = None
        elif tag == "select":
            self._select = None
        elif tag == "div" and self._alert:
            self._alert -= 1

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._area is not None:
            self._area.value += data

    def _add(self, tag: str, facts: dict[str, str]) -> None:
        control = Control(
            facts["name"],
            facts.get("type", "text") if tag == "input" else tag,
            facts.get("value", ""),
            facts.get("id", ""),
            "required" in facts,
            int(facts.get("maxlength", 0)),
        )
        if control.id:
            self.by_id[control.id] = control
        if "form" in facts:
            self._strays.append((facts["form"], control))
        elif self._form is not None:
            self._form.controls.append(control)
        if tag == "textarea":
            self._area = control
        elif tag == "select":
            self._select = control


def sendings(form: Form) -> Iterator[Sending]:
    """Ways of filling a form in that cannot be right, each sent with every button."""
    for button in form.buttons or [("", "")]:
        pressed = [button] if button[0] else []
        for number, (how, typed) in enumerate(_fillings(form)):
            words = [(each.name, typed[each.name]) for each in form.typed]
            by_id = {each.id: typed[each.name] for each in form.typed}
            kept = [(each.name, each.value) for each in form.hidden]
            for ticked in ([], form.ticks[:1]) if form.ticks else ([],):
                ticks = [(each.name, each.value) for each in ticked]
                yield Sending(how, [*kept, *ticks, *words, *pressed], by_id, ticks)
            for nonsense in NONSENSE if form.hidden and not number else ():
                spoilt = [(each.name, nonsense) for each in form.hidden]
                yield Sending(f"{how}, hidden {nonsense}", [*spoilt, *words, *pressed], by_id, [])


def tamperings(form: Form) -> Iterator[list[tuple[str, str]]]:
    """What nobody can send who has only the buttons of a form."""
    for nonsense in NONSENSE:
        spoilt = [(each.name, nonsense) for each in form.hidden]
        named = {name for name, _ in form.buttons if name}
        if spoilt or named:
            yield [*spoilt, *((name, nonsense) for name in named)]


def _fillings(form: Form) -> Iterator[tuple[str, dict[str, str]]]:
    words = [each for each in form.typed if each.kind not in ("select", "file")]
    files = {each.name: "" for each in form.typed if each.kind == "file"}
    lists = [each for each in form.typed if each.kind == "select"]
    last = {each.name: each.options[-1] for each in lists}
    long = {each.name: each.wrong for each in words}
    if lists:
        yield "no such choice", {**dict.fromkeys(last, "nonsense"), **long, **files}
    if words or files:
        yield "too much", {**last, **long, **files}
    if any(each.required for each in words):
        yield "blank", {**last, **{each.name: " " for each in words}, **files}
