"""aiohttp with nothing behind it: `python -m tests.benchmarks.bare PORT FILE` serves the file."""

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
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes())
