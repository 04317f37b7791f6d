"""A bare aiohttp handler. `python -m tests.benchmarks.bare PORT FILE [PROCESSES]` serves the
file.
"""

import multiprocessing
import sys
from pathlib import Path

from aiohttp import web


def serve(port: int, body: bytes) -> None:
    """Answer every request with these bytes."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, reuse_port=True)


if __name__ == "__main__":
    number, content = int(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    for _ in range(int(sys.argv[3]) - 1 if len(sys.argv) > 3 else 0):
        multiprocessing.Process(target=serve, args=(number, content), daemon=True).start()
    serve(number, content)
