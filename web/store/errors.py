"""Error pages."""

from http import HTTPStatus
from urllib.parse import urlencode

from aiohttp import web

from bookstore.errors import BadLink, NotSignedIn, PasswordNeeded, SecondFactorRequired
from web.server.keys import REQUEST_ID
from web.server.problems import Problem
from web.store.rendering import plain_page

#: Templates by status; every other status uses `errors/other.html`.
_PAGES = {
    HTTPStatus.NOT_FOUND: "errors/404.html",
    HTTPStatus.INTERNAL_SERVER_ERROR: "errors/500.html",
    HTTPStatus.SERVICE_UNAVAILABLE: "errors/503.html",
}
#: Templates by error code, which take precedence over the status.
_BY_CODE = {BadLink.code: "errors/link.html"}


async def show_problem(request: web.Request, problem: Problem) -> web.StreamResponse:
    """The error page.  Where a sign-in is required, redirect to it and back afterwards."""
    if problem.code == NotSignedIn.code:
        back = request.path_qs if request.method == "GET" else "/"
        return _redirect("/sign-in?" + urlencode({"next": back}))
    if problem.code == PasswordNeeded.code:
        back = request.path_qs if request.method == "GET" else await _page_of_form(request)
        return _redirect("/account/confirm?" + urlencode({"next": back}))
    if problem.code == SecondFactorRequired.code:
        return _redirect("/account/second-factor")
    template = _BY_CODE.get(problem.code) or _PAGES.get(
        HTTPStatus(problem.status), "errors/other.html"
    )
    facts = {"detail": problem.detail, "request_id": request.get(REQUEST_ID)}
    response = plain_page(request, template, status=problem.status, **facts)
    response.headers.update(problem.headers)
    return response


def _redirect(address: str) -> web.Response:
    return web.Response(status=303, headers={"Location": address})


async def _page_of_form(request: web.Request) -> str:
    """The path of the page with the submitted form: the nearest parent path with a page."""
    path = request.path
    while path.strip("/"):
        page = request.clone(method="GET", rel_url=path)
        if (await request.app.router.resolve(page)).http_exception is None:
            return path
        path = path.rpartition("/")[0]
    return "/"
