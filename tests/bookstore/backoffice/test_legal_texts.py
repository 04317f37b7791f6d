"""Imprint, terms, privacy, withdrawal."""

import pytest

from bookstore.backoffice import legal_texts
from bookstore.backoffice.legal_texts import LANGUAGES, NAMES, Text
from bookstore.errors import Invalid, NotFound, Stale
from tests.factories import NOON, add_user


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
async def test_every_text_has_a_built_in_version(conn, name, language):
    text = await legal_texts.get(conn, name, language)

    assert text.version == 0
    assert "{" not in legal_texts.html(text, {"store_name": "Shop", "email": "a@example.com"})


async def test_staffs_text_replaces_the_built_in_one(conn):
    user_id = await add_user(conn)

    saved = await legal_texts.save(conn, "terms", "en", "# Ours\r\n", 0, user_id=user_id, now=NOON)

    assert (
        saved
        == Text("terms", "en", "# Ours", 1, NOON)
        == await legal_texts.get(conn, "terms", "en")
    )
    assert (await legal_texts.get(conn, "terms", "de")).version == 0
    with pytest.raises(Stale):
        await legal_texts.save(conn, "terms", "en", "Theirs", 0, user_id=user_id, now=NOON)
    again = await legal_texts.save(conn, "terms", "en", "Later", 1, user_id=user_id, now=NOON)
    assert again.version == 2
    with pytest.raises(Stale):
        await legal_texts.save(conn, "terms", "en", "Theirs", 1, user_id=user_id, now=NOON)


@pytest.mark.parametrize(
    ("name", "language", "body", "refusal"),
    [
        ("terms", "en", "  \n ", Invalid),
        ("terms", "en", "x" * 16_001, Invalid),
        ("terms", "xx", "Fine", NotFound),
        ("recipes", "en", "Fine", NotFound),
    ],
)
async def test_an_invalid_text_is_refused(conn, name, language, body, refusal):
    with pytest.raises(refusal):
        await legal_texts.save(conn, name, language, body, 0, user_id=1, now=NOON)


def test_the_html_is_sanitized():
    body = (
        "# {store_name}\n\n<script>alert(1)</script> [a](javascript:alert(1)) [b](/terms)\n\n"
        "![c](https://elsewhere.example/pixel.gif) **bold**"
    )

    html = legal_texts.html(Text("terms", "en", body, 1, NOON), {"store_name": "<b>Shop</b>"})

    assert "<h2>&lt;b&gt;Shop&lt;/b&gt;</h2>" in html
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert '<a href="/terms" rel="noopener">b</a>' in html
    assert "<strong>bold</strong>" in html
