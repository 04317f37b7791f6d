"""Repeats a few requests from a separate process.

`python -m tests.benchmarks.request_loop '{"port": ...}'` prints the results as JSON.
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
class RequestPlan:
    """The requests; each customer sends the contents in turn."""

    port: int
    method: str
    path: str
    contents: Sequence[Any]
    seconds: float
    customers: int = 32


@dataclass(slots=True)
class Answers:
    """Times as `time.time()`, waits in seconds."""

    began: float = 0.0
    ended: float = 0.0
    waits: list[float] = field(default_factory=list)
    failures: int = 0
    #: The last response to the first customer.
    body: str = ""


async def send_requests(plan: RequestPlan) -> Answers:
    """Send requests until the time is over."""
    answers = Answers(began=time.time())

    async def customer(number: int) -> None:
        visitor = Customer(plan.port)
        await visitor.come()
        turn = 0
        while time.time() < answers.began + plan.seconds:
            content = plan.contents[turn % len(plan.contents)]
            turn += 1
            started = time.perf_counter()
            status, body = await visitor.ask(plan.method, plan.path, content)
            answers.waits.append(time.perf_counter() - started)
            answers.failures += status != 200
            if number == 0:
                answers.body = body.decode()

    await asyncio.gather(*map(customer, range(plan.customers)))
    answers.ended = time.time()
    return answers


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(send_requests(RequestPlan(**json.loads(sys.argv[1])))))))
