"""Reads the page of the queues until RabbitMQ reports the expected state."""

import asyncio
import time
from collections.abc import Callable

from tests.admin.conftest import Document, read
from tests.web.conftest import Visitor

#: RabbitMQ updates its counters every five seconds, and later on a busy machine.
COUNTER_TIMEOUT_S = 60


def queue_cells(page: Document) -> dict[str, list[str]]:
    """The table cells of the broker's queues by queue name; empty if the page has no table."""
    section = page.html.partition("Queues of the message broker")[2].partition("</table>")[0]
    lines = section.partition("<tbody>")[2].split("<tr>")[1:]
    cells = [[part.partition(">")[2] for part in line.split("<t")[1:]] for line in lines]
    return {
        line[0].partition("<")[0]: [cell.partition("<")[0] for cell in line[1:]] for line in cells
    }


async def wait_for_page(
    client: Visitor,
    condition: Callable[[Document], object],
    meanwhile: Callable[[], object] = lambda: None,
) -> Document:
    """The first page that meets the condition.

    Calls `meanwhile` before each further request. Fails after `COUNTER_TIMEOUT_S`.
    """
    deadline = time.monotonic() + COUNTER_TIMEOUT_S
    while not condition(page := await read(client, "/admin/queues")):
        assert time.monotonic() < deadline, page.text
        meanwhile()
        await asyncio.sleep(0.3)
    return page
