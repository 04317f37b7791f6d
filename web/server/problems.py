"""Errors become problem documents (RFC 9457) or error pages."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from bookstore import errors
from bookstore.database.engine import cause_of, is_unavailable
from bookstore.errors import BookstoreError, Invalid, InvalidFields
from bookstore.i18n import N_
from web.server import errors as web_errors
from web.server.errors import Fault, InvalidInput
from web.server.keys import REQUEST_ID

log = logging.getLogger(__name__)

#: The HTTP status of each error; no other module defines it.
STATUS: dict[type[BookstoreError], int] = {
    errors.AddressBookFull: 409,
    errors.BadCode: 401,
    errors.BadCredentials: 401,
    errors.BadLink: 404,
    errors.BadToken: 401,
    errors.BookWithdrawn: 409,
    errors.BrokenPicture: 422,
    errors.CartEmpty: 409,
    errors.CartFull: 409,
    errors.CategoryInUse: 409,
    errors.CodeRequired: 401,
    errors.EmailTaken: 409,
    errors.IdempotencyKeyNotSupported: 400,
    errors.IdempotencyKeyRequired: 400,
    errors.IdempotencyKeyReused: 422,
    errors.IllegalTransition: 409,
    errors.Invalid: 422,
    errors.InvalidFields: 422,
    errors.InvalidIsbn: 422,
    errors.IsbnTaken: 409,
    errors.JobEnded: 409,
    errors.EmailBeingSent: 409,
    errors.NotAllowed: 403,
    errors.NotDelivered: 409,
    errors.NotAPicture: 415,
    errors.NotFound: 404,
    errors.NotSignedIn: 401,
    errors.OrdersOpen: 409,
    errors.NotYetOnSale: 409,
    errors.OutOfStock: 409,
    errors.PasswordNeeded: 403,
    errors.PriceChanged: 409,
    errors.RequestInProgress: 409,
    errors.SecondFactorNotBegun: 409,
    errors.SecondFactorOn: 409,
    errors.SecondFactorRequired: 403,
    errors.SlugTaken: 409,
    errors.Stale: 412,
    errors.TaskNotDead: 409,
    errors.TooLarge: 413,
    errors.TooManyCopies: 409,
    errors.TooManyTokens: 409,
    errors.UnknownTask: 409,
    web_errors.CrossSiteRequest: 403,
    web_errors.IfMatchRequired: 428,
    web_errors.InvalidInput: 422,
    web_errors.MalformedJson: 400,
    web_errors.MalformedMultipart: 400,
    web_errors.NotJson: 415,
    web_errors.NotMultipart: 415,
    web_errors.TooManyAttempts: 429,
    web_errors.TooManyRequests: 429,
}
#: Temporary failures of the database or network.
UNAVAILABLE_ERRORS = (
    TimeoutError,
    PoolTimeoutError,
    OperationalError,
    InterfaceError,
    ConnectionError,
)

#: Code and detail for errors that aiohttp raises itself.
AIOHTTP_ERRORS = {
    400: ("bad-request", N_("The request is malformed.")),
    404: ("not-found", N_("Nothing was found at this address.")),
    405: ("method-not-allowed", N_("This address does not support this method.")),
    413: ("too-large", N_("This request is too large.")),
    415: ("unsupported-media-type", N_("This content type is not supported.")),
    417: ("expectation-failed", N_("The only supported expectation is 100-continue.")),
}


#: The members that every problem document has (RFC 9457), and ours.
MEMBERS = frozenset({"type", "title", "status", "detail", "instance", "code", "request_id"})


@dataclass(frozen=True, slots=True)
class Problem:
    """An error for a problem document or error page. `facts` are the fields of the error."""

    status: int
    code: str
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return title_of(self.code)


def title_of(code: str) -> str:
    """The title of an error code."""
    return code.replace("-", " ").capitalize()


def type_of(code: str) -> str:
    """The address where an error code is documented."""
    return f"/api/docs/errors#{code}"


#: Only for what is away and may be back: no statement that can never work.
_UNAVAILABLE = Problem(
    503, "unavailable", "Please try again in a moment.", headers={"Retry-After": "2"}
)
_INTERNAL_ERROR = Problem(
    500, "internal-error", "Something went wrong on our side. The error has been logged."
)
#: Renders a problem as an HTML page.
ErrorPage = Callable[[web.Request, Problem], Awaitable[web.StreamResponse]]
#: The error page of the store; without it, pages get the problem document, too.
ERROR_PAGE = web.AppKey[ErrorPage]("error_page")


@web.middleware
async def handle_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn an exception of the handler into a problem document or an error page."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = from_http_error(error)
    except BookstoreError as error:
        problem = from_store_error(error, in_query=request.method in ("GET", "HEAD"))
    except Exception as error:
        if not is_unavailable(error):
            log.exception("failed: %s %s", request.method, _route(request))
            problem = _INTERNAL_ERROR
        else:
            log.warning("unavailable: %s", cause_of(error))
            problem = _UNAVAILABLE
    page = request.config_dict.get(ERROR_PAGE)
    if page is not None and not request.path.startswith("/api/"):
        return await page(request, problem)
    return document(request, problem)


def from_store_error(error: BookstoreError, *, in_query: bool = False) -> Problem:
    """The problem for an error of the store; `in_query`: an invalid value came from the query."""
    facts = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    if isinstance(error, InvalidInput):
        facts = {"errors": [fault.facts for fault in error.faults]}
    elif isinstance(error, Invalid):
        details = error.details if isinstance(error, InvalidFields) else {error.field: str(error)}
        faults = [
            Fault("", detail, name) if in_query else Fault(f"#/{name}", detail)
            for name, detail in details.items()
        ]
        facts = {"errors": [fault.facts for fault in faults]}
    return Problem(STATUS[type(error)], error.code, error.args[0], facts, _headers(error))


def from_http_error(error: web.HTTPException) -> Problem:
    """The problem for an HTTP error of aiohttp."""
    status = HTTPStatus(error.status)
    code, detail = AIOHTTP_ERRORS.get(
        status, (status.phrase.lower().replace(" ", "-"), f"{status.phrase}.")
    )
    headers = {
        name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers
    }
    return Problem(status, code, detail, headers=headers)


def document(request: web.Request, problem: Problem) -> web.Response:
    """The response with the problem document.  `facts` must not have a name of `MEMBERS`."""
    content = {
        # A fact never replaces a member of every problem document.
        **problem.facts,
        "type": type_of(problem.code),
        "title": problem.title,
        "status": int(problem.status),
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request.get(REQUEST_ID),
    }
    return web.Response(
        body=json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace"),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def _headers(error: BookstoreError) -> dict[str, str]:
    """Headers for an error: when to retry, or how to authenticate."""
    if isinstance(error, web_errors.TooManyAttempts | web_errors.TooManyRequests):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, errors.BadToken):
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": "1"} if isinstance(error, errors.RequestInProgress) else {}


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "-"
