"""Ten minutes of failures: hosts are killed, restarted and upgraded under load.

`FAULTS=full .venv/bin/pytest tests/faults/test_long_run.py` takes the ten minutes.
"""

import asyncio
import random
import re
import signal
import time
import urllib.request
from collections import Counter

import pytest

from tests.faults.figures import FULL, figure
from tests.faults.fleet import NEXT_VERSION, Fleet, Visitor, cut_connections, install
from tests.servers.mariadb import MariaDBServer

#: At least one round and one upgrade happen, however short the time.
SECONDS = figure(1, 600)
CUSTOMERS = 6
#: Orders per second of all customers together.
PER_SECOND = 6
#: The pause between two failures.
EVERY_S = figure(0.5, 3.0)
#: The database is killed after this many rounds, and stays down for this long.
ROUNDS_TO_OUTAGE = figure(1, 2)
AWAY_S = figure(1.5, 8.0)
#: After the database answers again, until no request gets a 503.
BACK_S = 5.0


@pytest.fixture(scope="module")
def server():
    with MariaDBServer() as server:
        yield server


@pytest.fixture
def fleet(server, rabbitmq, tmp_path):
    with Fleet(server.client, rabbitmq, tmp_path, "long_run") as fleet:
        yield fleet
    rabbitmq.delete_vhost("long_run")


class Day:
    """The failures, in turn, until the time is over."""

    def __init__(self, fleet, server):
        self.happened = Counter()
        #: When the database was killed, and from when on no answer may be a 503.
        self.outages = []
        #: Each failure with its time, to be reported beside a wrong answer.
        self.moments = []
        self._fleet = fleet
        self._server = server
        self._release = fleet.release()

    async def pass_by(self, ends):
        rounds = 0
        while not rounds or time.monotonic() < ends:
            for program in self._in_turn():
                await self._kill(program)
                await asyncio.sleep(EVERY_S)
                await self._restart(program, "restarted")
                await asyncio.sleep(EVERY_S)
            rounds += 1
            if rounds % ROUNDS_TO_OUTAGE == 0:
                await self._lose_the_database()
            if rounds == 1:
                await self._upgrade()
            self.happened["connections to the broker cut"] += await asyncio.to_thread(
                cut_connections, self._fleet.rabbitmq, self._fleet.name
            )

    def _in_turn(self):
        fleet = self._fleet
        return fleet.programs if FULL else [fleet.webs[1], fleet.crew[1]]

    def is_out(self, answer):
        """Whether the database was down when this was requested or answered."""
        asked_at, answered_at = answer.asked_at, answer.asked_at + answer.took_s
        return any(began < answered_at and asked_at < over for began, over in self.outages)

    def around(self, answer):
        """The last failure before this answer, and how long before."""
        ended = answer.asked_at + answer.took_s
        return [(what, round(ended - at, 1)) for at, what in self.moments if at < ended][-3:]

    def _note(self, what):
        self.moments.append((time.monotonic(), what))

    async def _kill(self, program):
        program.kill()
        self.happened["killed"] += 1
        self._note(f"killed {program.name}")
        await self._start(program)

    async def _restart(self, program, how):
        assert await asyncio.to_thread(program.stop) in (0, -signal.SIGTERM)
        self.happened[how] += 1
        self._note(f"{how} {program.name}")
        await self._start(program)

    async def _start(self, program):
        program.start()  # Not in a thread: its child processes would end with the thread.
        await asyncio.to_thread(program.wait)
        self._note(f"{program.name} is back")

    async def _upgrade(self):
        """As in the guide: the database first, while the old code runs; then host by host."""
        for program in self._fleet.programs:
            install(program, self._release)
        self._note("migrating")
        migration = await asyncio.to_thread(self._fleet.web.run, "db", "upgrade")
        assert migration.returncode == 0, migration.stderr
        self._note("migrated")
        for program in self._fleet.programs:
            await self._restart(program, "upgraded")

    async def _lose_the_database(self):
        began = time.monotonic()
        self._server.kill()
        await asyncio.sleep(AWAY_S)
        self._server.start()
        await asyncio.to_thread(self._server.wait)
        self._note("the database is back")
        self.outages.append((began, time.monotonic() + BACK_S))
        self.happened["database killed"] += 1


async def order_all_the_time(fleet, number, rest, visits):
    """One customer after the other, each through another host first."""
    dice = random.Random(number)
    pause = CUSTOMERS / PER_SECOND
    while not rest.is_set():
        began = time.monotonic()
        urls = [web.url for web in fleet.webs]
        dice.shuffle(urls)
        async with Visitor(urls, fleet.journal) as visitor:
            visits.append(visitor)
            await visitor.shop(dice.sample(fleet.books, 2), cancel=dice.random() < 0.1)
        await asyncio.sleep(max(0, began + pause - time.monotonic()))


def version_of(web):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{web.url}/metrics", timeout=10) as answer:
        return re.findall(r'bookstore_build_info{version="(.*?)"}', answer.read().decode())


@pytest.mark.timeout(SECONDS + 900)
async def test_hosts_that_die_restart_and_are_upgraded_lose_and_duplicate_nothing(
    fleet, server, record_property
):
    visits = []
    day = Day(fleet, server)
    ends = time.monotonic() + SECONDS
    rest = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(CUSTOMERS):
            group.create_task(order_all_the_time(fleet, number, rest, visits))
        await day.pass_by(ends)
        rest.set()
    await asyncio.to_thread(fleet.settle, 120)

    answers = [answer for visit in visits for answer in visit.answers]
    statuses = Counter(answer.status for answer in answers)
    refused = [answer for answer in answers if answer.status == 503]
    for what, times in day.happened.items():
        record_property(what, times)
    record_property("orders", sum(visit.accepted is not None for visit in visits))
    record_property("requests", len(answers))
    record_property("without an answer", statuses[None])
    record_property("answers of 503 while the database was away", len(refused))
    record_property("longest answer, s", round(max(answer.took_s for answer in answers), 2))
    assert all(visit.accepted for visit in visits)
    assert {status for status in statuses if (status or 0) >= 500} <= {503}
    assert all(answer.retry_after for answer in refused)
    assert [(it, day.around(it)) for it in refused if not day.is_out(it)] == []
    assert [version_of(web) for web in fleet.webs] == [[NEXT_VERSION]] * len(fleet.webs)
    assert await fleet.findings() == []
