"""Staff edit the legal texts of the store."""

from bookstore.users.permissions import Role
from tests.admin.conftest import read, send


async def test_a_text_is_saved_and_shown(visitor, client):
    manager = await visitor(Role.MANAGER)
    listed = await read(manager, "/admin/texts")
    assert "/admin/texts/terms/en" in listed.links

    saved = await send(manager, "/admin/texts/terms/en", version="0", body="## Our terms\n\n<b>")

    assert "saved" in saved.text
    shown = await read(client, "/terms")
    assert "Our terms" in shown.text
    assert "&lt;b&gt;" in shown.html


async def test_the_length_of_a_text_is_limited_in_characters_not_bytes(visitor, client):
    manager = await visitor(Role.MANAGER)
    text = "本" * 15_990

    saved = await send(manager, "/admin/texts/terms/en", version="0", body=text)

    assert "saved" in saved.text
    assert text in (await read(client, "/terms")).text


async def test_a_refused_text_keeps_the_entered_text(visitor):
    manager = await visitor(Role.MANAGER)
    await send(manager, "/admin/texts/terms/en", version="0", body="First")

    outdated = await send(manager, "/admin/texts/terms/en", version="0", body="Second")
    empty = await send(manager, "/admin/texts/terms/en", version="1", body=" ")

    assert outdated.status == empty.status == 422
    assert "Second" in outdated.html
    assert "cannot be empty" in empty.text
    assert "#field-body" in outdated.links
    assert "#field-body" in empty.links
    assert "aria-invalid" not in outdated.html  # The text is valid, only its version is outdated.
    assert 'aria-invalid="true" aria-describedby="hint-body fault-body"' in empty.html
