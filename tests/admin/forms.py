"""The forms of a page, and invalid values to enter in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

#: Length of the text for a field without a length limit.
DEFAULT_LENGTH = 16_000
#: Invalid values by the type of the field.
INVALID_BY_KIND = {"number": "99999999999", "checkbox": "on"}
INVALID_FILE = b"neither a picture nor a list"
#: Invalid values for hidden fields and buttons, which users cannot edit.
TAMPERED_VALUES = ("nonsense", "9" * 30)
_NOT_EDITABLE = ("hidden", "checkbox")


class Submission(NamedTuple):
    """A form as it is sent; `typed` has the values that a user entered, by field id."""

    description: str
    fields: list[tuple[str, str]]
    typed: dict[str, str]
    checked: list[tuple[str, str]]


@dataclass
class Control:
    """A field of a form; `value` is its initial value on the page."""

    name: str
    kind: str
    value: str
    id: str = ""
    required: bool = False
    max_length: int = 0
    options: list[str] = field(default_factory=list)

    @property
    def invalid_value(self) -> str:
        """A value that this field does not allow: too large, or longer than its limit."""
        too_long = "<b>Typed & kept</b> " + "本" * (self.max_length or DEFAULT_LENGTH)
        return INVALID_BY_KIND.get(self.kind, too_long)


@dataclass
class Form:
    """A form that is sent with POST; `buttons` has the name and value of each submit button."""

    action: str
    multipart: bool
    controls: list[Control] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)

    @property
    def typed(self) -> list[Control]:
        """The fields that a user fills in."""
        return [each for each in self.controls if each.kind not in _NOT_EDITABLE]

    @property
    def hidden(self) -> list[Control]:
        return [each for each in self.controls if each.kind == "hidden"]

    @property
    def checkboxes(self) -> list[Control]:
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
        #: The links of the error summary, each to a field with an error.
        self.summary_links: list[str] = []
        #: Number of message boxes.
        self.messages = 0
        self.text = ""
        self._forms_by_id: dict[str, Form] = {}
        self._form: Form | None = None
        self._textarea: Control | None = None
        self._select: Control | None = None
        self._alert_depth = 0
        self._outside_form: list[tuple[str, Control]] = []
        self.feed(html)
        for form_id, control in self._outside_form:
            if form_id in self._forms_by_id:
                self._forms_by_id[form_id].controls.append(control)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.ids |= {attributes["id"]} if "id" in attributes else set()
        self.messages += "note" in attributes.get("class", "").split()
        if self._alert_depth or attributes.get("role") == "alert":
            self._alert_depth += tag == "div"
        if tag == "a":
            self.links.append(attributes.get("href", ""))
            if self._alert_depth:
                self.summary_links.append(attributes.get("href", ""))
        elif tag == "form":
            self._form = Form(attributes.get("action", ""), "enctype" in attributes)
            if attributes.get("method") == "post":
                self.forms.append(self._form)
                self._forms_by_id[attributes.get("id", "")] = self._form
        elif tag == "button" and self._form and attributes.get("type") == "submit":
            if "formaction" not in attributes:
                button = (attributes.get("name", ""), attributes.get("value", ""))
                self._form.buttons.append(button)
        elif tag in ("input", "select", "textarea") and attributes.get("name"):
            self._add(tag, attributes)
        elif tag == "option" and self._select is not None:
            value = attributes.get("value", "")
            if "selected" in attributes or not self._select.options:
                self._select.value = value
            self._select.options.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea" and self._textarea is not None:
            # HTML ignores a line break directly after the start tag.
            self._textarea.value = self._textarea.value.removeprefix("\n")
            self._textarea = None
        elif tag == "select":
            self._select = None
        elif tag == "div" and self._alert_depth:
            self._alert_depth -= 1

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._textarea is not None:
            self._textarea.value += data

    def _add(self, tag: str, attributes: dict[str, str]) -> None:
        control = Control(
            attributes["name"],
            attributes.get("type", "text") if tag == "input" else tag,
            attributes.get("value", ""),
            attributes.get("id", ""),
            "required" in attributes,
            int(attributes.get("maxlength", 0)),
        )
        if control.id:
            self.by_id[control.id] = control
        if "form" in attributes:
            self._outside_form.append((attributes["form"], control))
        elif self._form is not None:
            self._form.controls.append(control)
        if tag == "textarea":
            self._textarea = control
        elif tag == "select":
            self._select = control


def invalid_submissions(form: Form) -> Iterator[Submission]:
    """The form with invalid values in different combinations, sent once with every button."""
    for button in form.buttons or [("", "")]:
        pressed = [button] if button[0] else []
        for number, (description, values) in enumerate(_invalid_values(form)):
            typed = [(each.name, values[each.name]) for each in form.typed]
            by_id = {each.id: values[each.name] for each in form.typed}
            hidden = [(each.name, each.value) for each in form.hidden]
            for boxes in ([], form.checkboxes[:1]) if form.checkboxes else ([],):
                checked = [(each.name, each.value) for each in boxes]
                fields = [*hidden, *checked, *typed, *pressed]
                yield Submission(description, fields, by_id, checked)
            for value in TAMPERED_VALUES if form.hidden and not number else ():
                tampered = [(each.name, value) for each in form.hidden]
                fields = [*tampered, *typed, *pressed]
                yield Submission(f"{description}, hidden {value}", fields, by_id, [])


def tampered_submissions(form: Form) -> Iterator[list[tuple[str, str]]]:
    """The fields of a form with changed hidden fields and button values.

    A browser does not send these values: users can only press the buttons of such a form.
    """
    for value in TAMPERED_VALUES:
        hidden = [(each.name, value) for each in form.hidden]
        button_names = {name for name, _ in form.buttons if name}
        if hidden or button_names:
            yield [*hidden, *((name, value) for name in button_names)]


def _invalid_values(form: Form) -> Iterator[tuple[str, dict[str, str]]]:
    inputs = [each for each in form.typed if each.kind not in ("select", "file")]
    files = {each.name: "" for each in form.typed if each.kind == "file"}
    selects = [each for each in form.typed if each.kind == "select"]
    last_options = {each.name: each.options[-1] for each in selects}
    too_long = {each.name: each.invalid_value for each in inputs}
    if selects:
        yield "no such choice", {**dict.fromkeys(last_options, "nonsense"), **too_long, **files}
    if inputs or files:
        yield "too much", {**last_options, **too_long, **files}
    if any(each.required for each in inputs):
        yield "blank", {**last_options, **{each.name: " " for each in inputs}, **files}
