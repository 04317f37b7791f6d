"""Random histories: a store on a real database, whose processes die in the middle."""

import asyncio
import shutil
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from sqlalchemy import event

from bookstore.database import engine

#: Nothing here outlives a power cut anyway.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
#: Which of the things there are: taken modulo their number, so that none is ever missing.
PICK = st.integers(0, 11)
PICKS = st.lists(PICK, min_size=1, max_size=5)
#: Before which statement of a transaction its process is killed.
STATEMENT = st.integers(1, 20)


class Killed(BaseException):
    """The process is no more, and handles nothing."""


class StoreMachine(RuleBasedStateMachine):
    """The services on a real database, for a machine that has a model of them."""

    template: Path

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        shutil.copyfile(self.template, self.folder / "store.db")
        self.engine = engine.make_engine(f"sqlite+aiosqlite:///{self.folder}/store.db")

    def teardown(self):
        self.runner.run(self.engine.dispose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def do(self, service, *arguments, **facts):
        """What the service answers, in a transaction of its own."""

        async def work():
            async with engine.transaction(self.engine) as conn:
                return await service(conn, *arguments, **facts)

        return self.runner.run(work())

    def die(self, statement, service, *arguments, **facts):
        """The same, but its process is killed before that statement, or else before COMMIT."""
        statements = count(1)

        def kill(*_):
            if next(statements) == statement:
                raise Killed

        async def work():
            async with engine.transaction(self.engine) as conn:
                await service(conn, *arguments, **facts)
                raise Killed

        event.listen(self.engine.sync_engine, "before_cursor_execute", kill)
        with pytest.raises(Killed):
            self.runner.run(work())
        event.remove(self.engine.sync_engine, "before_cursor_execute", kill)

    def pick(self, things, number):
        return list(things)[number % len(things)]


def run(machine, template):
    """Many histories, each beginning with the empty store of `template`."""
    machine.template = template
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
