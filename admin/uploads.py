"""Small files that come with a form, read no further than they may go."""

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from bookstore.errors import TooLarge
from web.server.errors import MalformedMultipart, NotMultipart

_LONGEST_FIELD = 4096
#: Our forms have a handful of fields; a thousand parts are somebody's attempt on our memory.
_MOST_PARTS = 20
#: What aiohttp says of a form that is none.
_BROKEN = (
    HttpProcessingError,
    web.RequestPayloadError,
    AssertionError,
    LookupError,
    RuntimeError,
    ValueError,
)


async def read(request: web.Request, most: int) -> tuple[dict[str, str], bytes]:
    """The fields of a form and the content of its one file, which may be empty.

    Raises:
        NotMultipart, MalformedMultipart: it is no form with a file, or none of ours.
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
            if not isinstance(part, BodyPartReader) or parts > _MOST_PARTS:
                raise MalformedMultipart
            if part.filename is None:
                text = await _limited(part, _LONGEST_FIELD)
                fields.setdefault(part.name or "", text.decode(errors="replace"))
            else:
                content = await _limited(part, most)
    except _BROKEN:
        raise MalformedMultipart from None
    return fields, content


async def _limited(part: BodyPartReader, most: int) -> bytes:
    content = bytearray()
    while piece := await part.read_chunk():
        content += piece
        if len(content) > most:
            raise TooLarge(most)
    return bytes(content)
