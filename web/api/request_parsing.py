"""What comes in: JSON bodies and queries, checked against their schemas."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from aiohttp import web
from marshmallow import RAISE, Schema, ValidationError
from webargs import core
from webargs.aiohttpparser import AIOHTTPParser

from web.server.errors import Fault, InvalidInput, MalformedJson, NotJson

#: Half of a surrogate pair: JSON can spell it, UTF-8 and databases cannot.
_SURROGATES = range(0xD800, 0xE000)
#: As JSON spells it.  It may be followed by the other half, which only decoding shows.
_SPELT = re.compile(r"\\u[dD][89a-fA-F]")


class Parser(AIOHTTPParser):
    """webargs with our refusals, JSON without loopholes, and unknown fields refused."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012 - as webargs has it
        "json": RAISE,
        "query": RAISE,
    }

    async def load_json(self, req: web.Request, schema: Schema) -> Any:
        """The body as an object.  No body at all is an empty object."""
        if not req.body_exists:
            return {}
        if not core.is_json(req.content_type):
            raise NotJson
        try:
            body = await req.read()
        except web.RequestPayloadError:
            raise MalformedJson("it cannot be unpacked") from None
        return _object(body)

    def handle_error(
        self,
        error: ValidationError,
        req: web.Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        # The outermost key is the location.
        faults = [
            fault
            for messages in error.normalized_messages().values()
            for fault in _faults(messages, "#")
        ]
        raise InvalidInput(faults) from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
        content = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise MalformedJson("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise MalformedJson("it is nested too deeply") from None
    except ValueError as error:
        raise MalformedJson(str(error)) from None
    if not isinstance(content, dict):
        raise InvalidInput([Fault("#", "This must be an object.")])
    if _SPELT.search(text) and (faults := list(_half_letters(content, "#"))):
        raise InvalidInput(faults)
    return content


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _half_letters(content: Any, pointer: str) -> Iterator[Fault]:
    if isinstance(content, str):
        if any(ord(letter) in _SURROGATES for letter in content):
            yield Fault(pointer, "This contains half of a surrogate pair.")
    elif isinstance(content, dict):
        for name, value in content.items():
            if any(ord(letter) in _SURROGATES for letter in name):
                yield Fault(pointer, "A field's name contains half of a surrogate pair.")
            else:
                yield from _half_letters(value, f"{pointer}/{_escaped(name)}")
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from _half_letters(value, f"{pointer}/{place}")


def _faults(messages: Any, pointer: str) -> Iterator[Fault]:
    """marshmallow's nested messages, each with a JSON Pointer to its field."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            deeper = pointer if name == "_schema" else f"{pointer}/{_escaped(str(name))}"
            yield from _faults(inner, deeper)
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            if isinstance(message, Mapping):
                yield from _faults(message, pointer)
            else:
                yield Fault(pointer, str(message))


def _escaped(name: str) -> str:
    # RFC 6901, section 3.
    return name.replace("~", "~0").replace("/", "~1")


PARSER = Parser()
