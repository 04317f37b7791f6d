"""Property-based tests with random histories: services on a real database that are killed."""

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

#: The databases are kept in memory if possible, which is faster; durability is not needed.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
#: Selects an existing object: the index modulo the number of objects, so that it is always valid.
PICK = st.integers(0, 11)
PICKS = st.lists(PICK, min_size=1, max_size=5)
#: The number of the statement of a transaction before which its process is killed.
STATEMENT = st.integers(1, 20)


class Killed(BaseException):
    """Simulates a killed process.  A BaseException, so that no error handler runs."""


class StoreMachine(RuleBasedStateMachine):
    """Base class of state machines that run services on a real database and compare a model."""

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

    def do(self, service, *arguments, **options):
        """The result of the service, called in a transaction of its own."""

        async def work():
            async with engine.transaction(self.engine) as conn:
                return await service(conn, *arguments, **options)

        return self.runner.run(work())

    def die(self, statement, service, *arguments, **options):
        """Call the service and kill its process before this statement, or else before COMMIT."""
        statements = count(1)

        def kill(*_):
            if next(statements) == statement:
                raise Killed

        async def work():
            async with engine.transaction(self.engine) as conn:
                await service(conn, *arguments, **options)
                raise Killed

        event.listen(self.engine.sync_engine, "before_cursor_execute", kill)
        with pytest.raises(Killed):
            self.runner.run(work())
        event.remove(self.engine.sync_engine, "before_cursor_execute", kill)

    def pick(self, objects, number):
        return list(objects)[number % len(objects)]


def run(machine, template):
    """Run many random histories, each starting with a copy of the empty store `template`."""
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
