"""The same few requests over and over, from a process of its own.

`python -m tests.benchmarks.knock '{"port": ...}'` prints what came of it as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.clients import Customer


@dataclass(frozen=True, slots=True)
class Knocks:
    """What to ask; each customer takes the contents in turn."""

    port: int
    method: str
    path: str
    contents: Sequence[Any]
    seconds: float
    customers: int = 32


@dataclass(slots=True)
class Answers:
    """Moments as `time.time()`, waits in seconds."""

    began: float = 0.0
    ended: float = 0.0
    waits: list[float] = field(default_factory=list)
    failures: int = 0
    #: The last answer of the first customer.
    body: str = ""


async def knock(knocks: Knocks) -> Answers:
    """Ask until the time is over."""
    answers = Answers(began=time.time())

    async def customer(number: int) -> None:
        visitor = Customer(knocks.port)
        await visitor.come()
        turn = 0
        while time.time() < answers.began + knocks.seconds:
            content = knocks.contents[turn % len(knocks.contents)]
            turn += 1
            started = time.perf_counter()
            status, body = await visitor.ask(knocks.method, knocks.path, content)
            answers.waits.append(time.perf_counter() - started)
            answers.failures += status != 200
            if number == 0:
                answers.body = body.decode()

    await asyncio.gather(*map(customer, range(knocks.customers)))
    answers.ended = time.time()
    return answers


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(knock(Knocks(**json.loads(sys.argv[1])))))))
