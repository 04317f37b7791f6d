"""Reads forms with a small file, and stops when the size limit is exceeded."""

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from bookstore.errors import TooLarge
from web.server.errors import MalformedMultipart, NotMultipart

_MAX_FIELD_LENGTH = 4096
#: Our forms have a few fields; a request with a thousand parts is an attack on memory.
_MAX_PARTS = 20
#: The exceptions of aiohttp for a malformed form.
_MALFORMED = (
    HttpProcessingError,
    web.RequestPayloadError,
    AssertionError,
    LookupError,
    RuntimeError,
    ValueError,
)


async def read(request: web.Request, most: int) -> tuple[dict[str, str], bytes]:
    """The fields of a form and the content of its file, which may be empty.

    Raises:
        NotMultipart, MalformedMultipart: the body is not a valid form with a file.
        TooLarge: the file has more than `most` bytes.
    """
    if request.content_type != "multipart/form-data":
        raise NotMultipart
    fields: dict[str, str] = {}
    content, parts = b"", 0
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            parts += 1
            if not isinstance(part, BodyPartReader) or parts > _MAX_PARTS:
                raise MalformedMultipart
            if part.filename is None:
                text = await _limited(part, _MAX_FIELD_LENGTH)
                fields.setdefault(part.name or "", text.decode(errors="replace"))
            else:
                content = await _limited(part, most)
    except _MALFORMED:
        raise MalformedMultipart from None
    return fields, content


async def _limited(part: BodyPartReader, most: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > most:
            raise TooLarge(most)
    return bytes(content)
