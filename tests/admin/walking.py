"""Visits the pages of the dashboard by following their links."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlsplit

from tests.admin.forms import Page
from tests.web.conftest import Visitor

#: Limit of pages that differ only in their ids and query values: enough to see every state.
MAX_SIMILAR_PAGES = 8


async def walk(client: Visitor, start_paths: Iterable[str]) -> AsyncIterator[tuple[str, Page]]:
    """Each page of the dashboard that is linked from the home page or a start path.

    Of similar pages it returns at most `MAX_SIMILAR_PAGES`. Fails if a page has an error status.
    """
    queue, visited, similar = ["/admin", *start_paths], set(), Counter[tuple[str, ...]]()
    while queue:
        address = queue.pop(0).partition("#")[0]
        url = urlsplit(address)
        kind = (re.sub(r"[0-9][\w-]*", "0", url.path), *re.findall(r"(\w+)=", url.query))
        is_file = re.search(r"\.(csv|json|xlsx)$", url.path)
        if address in visited or similar[kind] == MAX_SIMILAR_PAGES or is_file:
            continue
        visited.add(address)
        similar[kind] += 1
        answer = await client.get(address)
        assert answer.status == 200, address
        page = Page(await answer.text())
        queue += [link for link in page.links if re.match(r"/admin(/(?!static)|\?|$)", link)]
        yield address, page
