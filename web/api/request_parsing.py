"""Parsing of JSON bodies and query strings, and their validation against schemas."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from aiohttp import web
from marshmallow import RAISE, Schema, ValidationError
from webargs import core
from webargs.aiohttpparser import AIOHTTPParser

from web.server.errors import Fault, InvalidInput, MalformedJson, NotJson

#: Lone surrogates: JSON can contain them, but UTF-8 and the databases cannot.
_SURROGATES = range(0xD800, 0xE000)
#: An escaped surrogate in JSON.  It may be part of a valid pair, which only decoding shows.
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Parser(AIOHTTPParser):
    """The parser of webargs with our errors and strict JSON.  Unknown fields are refused."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012 - as webargs has it
        "json": RAISE,
        "query": RAISE,
    }

    async def load_json(self, req: web.Request, schema: Schema) -> Any:
        """The body as an object.  A request without a body has an empty object."""
        if not req.body_exists:
            return {}
        if not core.is_json(req.content_type):
            raise NotJson
        try:
            body = await req.read()
        except web.RequestPayloadError:
            raise MalformedJson("it cannot be decompressed") from None
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
        faults: list[Fault] = []
        for location, messages in error.normalized_messages().items():
            found = _faults(messages, "#")
            faults += map(_of_query, found) if location == "query" else found
        raise InvalidInput(faults) from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
        content = json.loads(
            text, object_pairs_hook=_unique_fields, parse_constant=_reject_constant
        )
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
    if _ESCAPED_SURROGATE.search(text) and (faults := list(_lone_surrogates(content, "#"))):
        raise InvalidInput(faults)
    return content


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _lone_surrogates(content: Any, pointer: str) -> Iterator[Fault]:
    if isinstance(content, str):
        if any(ord(character) in _SURROGATES for character in content):
            yield Fault(pointer, "This contains an unpaired surrogate.")
    elif isinstance(content, dict):
        for name, value in content.items():
            if any(ord(character) in _SURROGATES for character in name):
                yield Fault(pointer, "A field name contains an unpaired surrogate.")
            else:
                yield from _lone_surrogates(value, f"{pointer}/{_escaped(name)}")
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _lone_surrogates(value, f"{pointer}/{index}")


def _faults(messages: Any, pointer: str) -> Iterator[Fault]:
    """Flatten the nested messages of marshmallow; each gets a JSON Pointer to its field."""
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


def _of_query(fault: Fault) -> Fault:
    return Fault("", fault.detail, parameter=fault.pointer.removeprefix("#/").partition("/")[0])


def _escaped(name: str) -> str:
    # RFC 6901, section 3.
    return name.replace("~", "~0").replace("/", "~1")


PARSER = Parser()
