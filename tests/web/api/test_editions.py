import pytest

from bookstore.users.permissions import Role
from tests.web.api.sample_data import DUNE

ISBNS = ["9780441172719", "9780141439518", "9780199535569", "9780140449136"]


@pytest.fixture
async def editor(visitor):
    return await visitor(Role.EDITOR)


@pytest.fixture
async def four(editor):
    """The ids of four books; each was published one year after the previous one."""
    made = [
        await editor.post("/api/v1/books", json={**DUNE, "isbn13": isbn13, "year": 1965 + number})
        for number, isbn13 in enumerate(ISBNS)
    ]
    return [(await answer.json())["id"] for answer in made]


async def link(editor, book_id, others, tag="*"):
    address = f"/api/v1/books/{book_id}/editions"
    return await editor.put(address, json={"book_ids": others}, headers={"If-Match": tag})


async def others(client, book_id):
    answer = await client.get(f"/api/v1/books/{book_id}/editions")
    assert answer.status == 200
    return [book["id"] for book in (await answer.json())["items"]]


async def test_editions_of_a_work_are_linked_to_each_other(editor, four, client):
    first, second, third, alone = four

    linked = await link(editor, first, [second, third])

    assert [book["id"] for book in (await linked.json())["items"]] == [third, second]
    assert await others(client, second) == [third, first]
    assert await others(client, alone) == []


async def test_an_unlisted_edition_stays_linked_to_the_others(editor, four):
    first, second, third, fourth = four
    await link(editor, first, [second, third, fourth])

    await link(editor, first, [second])

    assert await others(editor, first) == [second]
    assert await others(editor, third) == [fourth]


async def test_a_book_leaves_one_work_for_another(editor, four):
    first, second, third, fourth = four
    await link(editor, first, [second])
    await link(editor, third, [fourth])

    await link(editor, first, [fourth])

    assert await others(editor, fourth) == [first]
    assert await others(editor, second) == []
    assert await others(editor, third) == []


async def test_an_empty_list_removes_the_links_of_a_work(editor, four):
    first, second, *_ = four
    await link(editor, first, [second])

    await link(editor, second, [])

    assert [await others(editor, book_id) for book_id in four] == [[], [], [], []]


async def test_a_withdrawn_edition_is_not_shown(editor, four):
    first, second, third, _ = four
    await link(editor, first, [second, third])

    await editor.delete(f"/api/v1/books/{second}", headers={"If-Match": "*"})

    assert await others(editor, first) == [third]
    assert (await editor.get(f"/api/v1/books/{second}/editions")).status == 404


async def test_linking_requires_the_current_version(editor, four):
    first, second, *_ = four
    address = f"/api/v1/books/{first}"
    seen = (await editor.get(address)).headers["ETag"]

    blind = await editor.put(f"{address}/editions", json={"book_ids": [second]})
    linked = await link(editor, first, [second], seen)
    stale = await link(editor, first, [], seen)

    assert (blind.status, linked.status, stale.status) == (428, 200, 412)
    assert (await (await editor.get(address)).json())["version"] == 2


@pytest.mark.parametrize("wrong", [[999_999], ["1"], [0], [2**63], 7, None, [1] * 300])
async def test_only_books_are_editions(editor, four, wrong):
    answer = await link(editor, four[0], wrong)

    assert answer.status == 422
    assert (await answer.json())["errors"][0]["pointer"].startswith("#/book_ids")
    assert await others(editor, four[0]) == []
