"""The legally required texts of a store: imprint, terms, privacy, withdrawal.

The program has a built-in version of each text.  Staff can replace it by a version in the database,
in Markdown.  `{store_name}` and `{email}` are replaced by the settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.resources import files

import nh3
from markdown_it import MarkdownIt
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.database.tables import legal_texts
from bookstore.errors import Invalid, NotFound, Stale

NAMES = ("imprint", "terms", "privacy", "withdrawal")
LANGUAGES = ("en", "de")
#: In characters: MariaDB's TEXT holds 65,535 bytes, and a character needs up to four.
LENGTH = 16_000
_TAGS = {
    *("p", "h2", "h3", "h4", "ul", "ol", "li", "blockquote", "hr", "br"),
    *("a", "strong", "em", "code", "table", "thead", "tbody", "tr", "th", "td"),
}
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True, slots=True)
class Text:
    """A text in one language; version 0 is the built-in one."""

    name: str
    language: str
    body: str
    version: int
    updated_at: datetime | None


async def get(conn: AsyncConnection, name: str, language: str) -> Text:
    """The current text.

    Raises:
        NotFound: there is no such text or no such language.
    """
    if name not in NAMES or language not in LANGUAGES:
        raise NotFound("This text")
    found = await conn.execute(
        select(legal_texts).where(legal_texts.c.name == name, legal_texts.c.language == language)
    )
    row = found.one_or_none()
    if row is None:
        return Text(name, language, _built_in(name, language), 0, None)
    return Text(name, language, row.body, row.version, row.updated_at)


async def save(
    conn: AsyncConnection,
    name: str,
    language: str,
    body: str,
    version: int,
    *,
    user_id: int,
    now: datetime,
) -> Text:
    """Replace the text at `version` (optimistic locking).

    Raises:
        NotFound: there is no such text or no such language.
        Invalid: the body is blank or too long.
        Stale: the text was changed after `version`.
    """
    before = await get(conn, name, language)
    body = body.replace("\r\n", "\n").strip()
    if not body:
        raise Invalid("body", "A text cannot be empty.")
    if len(body) > LENGTH:
        raise Invalid("body", f"A text has at most {LENGTH:,} characters.")
    values = {"body": body, "version": version + 1, "updated_at": now, "updated_by": user_id}
    if version == 0:
        try:
            await conn.execute(insert(legal_texts).values(name=name, language=language, **values))
        except IntegrityError:
            raise Stale(before.version) from None
    else:
        changed = await conn.execute(
            update(legal_texts)
            .where(
                legal_texts.c.name == name,
                legal_texts.c.language == language,
                legal_texts.c.version == version,
            )
            .values(values)
        )
        if changed.rowcount == 0:
            raise Stale(before.version)
    changes = {"body": [before.body, body]}
    await audit.record(
        conn, "change", "text", f"{name}/{language}", changes, user_id=user_id, now=now
    )
    return Text(name, language, body, version + 1, now)


def html(text: Text, facts: Mapping[str, str]) -> str:
    """The text as sanitized HTML; `facts` are the values of its placeholders, by name."""
    body = text.body
    for name, value in facts.items():
        body = body.replace(f"{{{name}}}", value)
    return _rendered(body)


@lru_cache(maxsize=64)
def _rendered(body: str) -> str:
    tokens = _MARKDOWN.parse(body)
    for token in tokens:
        # The page title is already an h1.
        if token.tag == "h1":
            token.tag = "h2"
    rendered = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return nh3.clean(
        rendered,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"https", "http", "mailto"},
        link_rel="noopener",
    )


@lru_cache
def _built_in(name: str, language: str) -> str:
    file = files("bookstore") / "templates" / "texts" / f"{name}.{language}.md"
    return file.read_text("utf-8").strip()
