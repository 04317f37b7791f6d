"""Several hosts set up by the guide and disconnected under load."""

import asyncio
import json
import random
import socket
from contextlib import ExitStack, closing

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from tests.deploy import guide, hosts, machines
from tests.deploy.company import Checkout, Company, Installed
from tests.faults import checker
from tests.faults.figures import FULL, figure
from tests.faults.fleet import Visitor
from tests.faults.journal import Journal
from tests.servers.process import wait_until

pytestmark = [
    pytest.mark.skipif(not hosts.possible(), reason="hosts need root and `ip netns`"),
    pytest.mark.timeout(900),
]

STORE = "books.example.com"
#: The request in the guide.
EXAMPLE = "3f0c6a1d9be24785"
CUSTOMERS = 4
#: How long a host is disconnected.
CUT_S = figure(4, 30)
#: The relay republishes the tasks of a host that was disconnected.
SETTLED_S = 120


class Balancer(AbstractResolver):
    """Resolves the host name of the store to one web host per port."""

    def __init__(self, addresses):
        self.urls = [f"http://{STORE}:{port}" for port in range(1, len(addresses) + 1)]
        self._addresses = addresses

    async def resolve(self, host, port=0, family=socket.AF_INET):
        found = {"hostname": host, "host": self._addresses[port - 1], "port": 8080}
        return [{**found, "family": socket.AF_INET, "proto": 0, "flags": socket.AI_NUMERICHOST}]

    async def close(self):
        """There is nothing to close."""


class Customer(Visitor):
    """A customer behind the load balancer, which terminates TLS."""

    def __init__(self, balancer, journal, number):
        # Round robin, as in a load balancer.
        first = number % len(balancer.urls)
        super().__init__([*balancer.urls[first:], *balancer.urls[:first]], journal)
        self._balancer = balancer
        self._address = f"192.0.2.{number % 250 + 1}"

    async def __aenter__(self):
        await super().__aenter__()
        await self.http.close()
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._balancer),
            cookie_jar=aiohttp.CookieJar(treat_as_secure_origin=self._balancer.urls),
            headers={"X-Forwarded-For": self._address, "X-Forwarded-Proto": "https"},
        )
        return self


async def ready(url, resolver):
    connector = aiohttp.TCPConnector(resolver=resolver)
    async with aiohttp.ClientSession(connector=connector) as http:
        for _ in range(1800):  # Test machines can be slow.
            try:
                async with http.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError(f"{url} is not ready")


async def order_all_the_time(balancer, journal, books, number, rest, visits):
    dice = random.Random(number)
    while not rest.is_set():
        async with Customer(balancer, journal, len(visits)) as customer:
            visits.append(customer)
            await customer.shop(dice.sample(books, 2), cancel=dice.random() < 0.1)
        await asyncio.sleep(0.2)


async def cut_off(site):
    site.host.pull()
    await asyncio.sleep(CUT_S)
    site.host.plug()


async def lose_power(site):
    """Services started by the guide restart automatically."""
    await asyncio.to_thread(site.machine.cut_power)
    await asyncio.sleep(CUT_S)
    await asyncio.to_thread(site.machine.power_on)


async def shop_while(company, tmp_path, *happens):
    """Customers place orders during the failures; returns the number of orders and the errors."""
    with ExitStack() as stack:
        journal = stack.enter_context(closing(Journal(tmp_path / "journal.jsonl")))
        balancer = Balancer([site.host.address for site in company.webs])
        for url in balancer.urls:
            await ready(url, balancer)
        books = add_books(company)
        visits, rest = [], asyncio.Event()

        async with asyncio.TaskGroup() as group:
            for number in range(CUSTOMERS):
                group.create_task(
                    order_all_the_time(balancer, journal, books, number, rest, visits)
                )
            await asyncio.sleep(2)
            for happen, site in happens:
                await happen(site)
                await asyncio.sleep(2)
            rest.set()
        await asyncio.to_thread(
            wait_until, lambda: not company.rows("SELECT id FROM tasks"), SETTLED_S
        )

        await asyncio.to_thread(wait_until, lambda: all(site.well for site in company.sites))
        assert all(visit.accepted for visit in visits)
        statuses = {answer.status for visit in visits for answer in visit.answers}
        workers = {row[0] for row in company.rows("SELECT DISTINCT worker FROM order_events")}
        findings = await checker.findings(
            company.mariadb.client.url("bookstore"), journal, company.sink.emails[1:]
        )
    # Some requests timed out at the disconnected host and were repeated at the other.
    assert None in statuses
    assert statuses <= {200, 202, 409, 503, None}
    assert len(workers - {None}) >= 2
    assert findings == []
    return len(visits)


async def test_hosts_are_set_up_by_the_guide_and_one_after_the_other_is_cut_off(
    tmp_path, record_property
):
    with ExitStack() as stack:
        company = Company(stack, tmp_path, Checkout)
        company.set_up()
        cut = (company.webs[1], company.workers[0], *figure((), company.webs[:1]))

        orders = await shop_while(company, tmp_path, *[(cut_off, site) for site in cut])

    record_property("orders", orders)


@pytest.mark.timeout(2700)
@pytest.mark.skipif(not FULL, reason="it installs four machines: make machines")
@pytest.mark.skipif(not machines.possible(), reason="machines need debootstrap")
async def test_every_command_of_the_guide_works_on_clean_machines(tmp_path, record_property):
    machines.prepare()
    with ExitStack() as stack:
        company = Company(stack, tmp_path, Installed)
        company.set_up()

        orders = await shop_while(
            company,
            tmp_path,
            (cut_off, company.webs[1]),
            (cut_off, company.workers[0]),
            (lose_power, company.webs[0]),
            (lose_power, company.workers[1]),
        )
        line, request = in_the_journal(company.webs[1].machine)

    record_property("orders", orders)
    assert line["route"] == "/api/v1/orders"
    assert line["request_id"] == request


def in_the_journal(machine):
    """The log lines that the guide's command finds for one order, and the order's request id."""
    logged = machine.run("journalctl -o cat -u bookstore-web").splitlines()
    placed = [line for line in map(json.loads, logged) if line.get("route") == "/api/v1/orders"]
    request = placed[-1]["request_id"]
    ((_, script),) = [block for block in guide.blocks("Health") if "journalctl" in block[1]]
    (found,) = machine.run(script.replace(EXAMPLE, request)).splitlines()
    return json.loads(found), request


def add_books(company):
    company.rows(
        "INSERT INTO books (isbn13, title, sort_title, price_cents, version, created_at,"
        " updated_at) SELECT CONCAT('9790000000', 100 + seq), 'A Book', 'a book', 1290, 1,"
        " NOW(6), NOW(6) FROM seq_1_to_20"
    )
    company.rows("INSERT INTO book_stock (book_id, stock) SELECT id, 100000 FROM books")
    company.rows(
        "INSERT INTO stock_movements (book_id, delta, reason, created_at)"
        " SELECT book_id, stock, 'received', NOW(6) FROM book_stock"
    )
    return [row[0] for row in company.rows("SELECT id FROM books")]
