"""Staff write the store's own texts."""

from bookstore.users.permissions import Role
from tests.admin.conftest import read, send


async def test_a_text_is_written_and_shown(visitor, client):
    manager = await visitor(Role.MANAGER)
    listed = await read(manager, "/admin/texts")
    assert "/admin/texts/terms/en" in listed.links

    saved = await send(manager, "/admin/texts/terms/en", version="0", body="## Our terms\n\n<b>")

    assert "saved" in saved.text
    shown = await read(client, "/terms")
    assert "Our terms" in shown.text
    assert "&lt;b&gt;" in shown.html


async def test_a_text_may_have_its_length_in_every_script(visitor, client):
    manager = await visitor(Role.MANAGER)
    words = "本" * 15_990

    saved = await send(manager, "/admin/texts/terms/en", version="0", body=words)

    assert "saved" in saved.text
    assert words in (await read(client, "/terms")).text


async def test_nothing_typed_is_lost_when_somebody_was_faster(visitor):
    manager = await visitor(Role.MANAGER)
    await send(manager, "/admin/texts/terms/en", version="0", body="First")

    late = await send(manager, "/admin/texts/terms/en", version="0", body="Second")
    empty = await send(manager, "/admin/texts/terms/en", version="1", body=" ")

    assert late.status == empty.status == 422
    assert "Second" in late.html
    assert "cannot be empty" in empty.text
    assert "#field-body" in late.links
    assert "#field-body" in empty.links
    assert "aria-invalid" not in late.html  # It is as good as what somebody else wrote.
    assert 'aria-invalid="true" aria-describedby="hint-body fault-body"' in empty.html
