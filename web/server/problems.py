"""A refusal becomes a problem document (RFC 9457), a failure too."""

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
from bookstore.errors import BookstoreError, Invalid
from bookstore.i18n import N_
from web.server import errors as refusals
from web.server.errors import Fault, InvalidInput
from web.server.keys import REQUEST_ID

log = logging.getLogger(__name__)

#: The only place that knows which refusal has which status.
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
    errors.IdempotencyKeyRequired: 400,
    errors.IdempotencyKeyReused: 422,
    errors.IllegalTransition: 409,
    errors.Invalid: 422,
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
    errors.OutOfStock: 409,
    errors.PasswordNeeded: 403,
    errors.PriceChanged: 409,
    errors.RequestInProgress: 409,
    errors.SecondFactorNotBegun: 409,
    errors.SecondFactorOn: 409,
    errors.SecondFactorRequired: 403,
    errors.SlugTaken: 409,
    errors.Stale: 412,
    errors.TooLarge: 413,
    errors.TooManyTokens: 409,
    refusals.CrossSiteRequest: 403,
    refusals.IfMatchRequired: 428,
    refusals.InvalidInput: 422,
    refusals.MalformedJson: 400,
    refusals.MalformedMultipart: 400,
    refusals.NotJson: 415,
    refusals.NotMultipart: 415,
    refusals.TooManyAttempts: 429,
    refusals.TooManyRequests: 429,
}
#: Failures of the machinery below us, which pass.
AWAY = (TimeoutError, PoolTimeoutError, OperationalError, InterfaceError, ConnectionError)

#: What to say where aiohttp itself refuses.
ITS_OWN = {
    400: ("bad-request", N_("This request cannot be understood.")),
    404: ("not-found", N_("There is nothing at this address.")),
    405: ("method-not-allowed", N_("This address does not understand this method.")),
    413: ("too-large", N_("This is more than we take at once.")),
    415: ("unsupported-media-type", N_("Content of this kind is not understood here.")),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, for a program or for a page; `facts` are the refusal's own fields."""

    status: int
    code: str
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return title_of(self.code)


def title_of(code: str) -> str:
    """What a code is called."""
    return code.replace("-", " ").capitalize()


def type_of(code: str) -> str:
    """Where a code is explained."""
    return f"/api/docs/errors#{code}"


#: Shows a problem to people, where a page was asked for.
ErrorPage = Callable[[web.Request, Problem], Awaitable[web.StreamResponse]]
#: Shows problems to people; without it they get the document that programs get.
ERROR_PAGE = web.AppKey[ErrorPage]("error_page")


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a problem document, or an error page, when the handler raises."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = of_http(error)
    except BookstoreError as error:
        problem = of_refusal(error)
    except AWAY as error:
        log.warning("unavailable: %s", type(error).__name__)
        problem = Problem(
            503, "unavailable", "Please try again in a moment.", headers={"Retry-After": "2"}
        )
    except Exception:
        log.exception("failed: %s %s", request.method, _route(request))
        problem = Problem(500, "internal-error", "Something went wrong here. We have it on record.")
    page = request.config_dict.get(ERROR_PAGE)
    if page is not None and not request.path.startswith("/api/"):
        return await page(request, problem)
    return document(request, problem)


def of_refusal(error: BookstoreError) -> Problem:
    """What a refusal looks like from outside."""
    facts = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    if isinstance(error, InvalidInput):
        facts = {"errors": [fault._asdict() for fault in error.faults]}
    elif isinstance(error, Invalid):
        facts = {"errors": [Fault(f"#/{error.field}", str(error))._asdict()]}
    return Problem(STATUS[type(error)], error.code, error.args[0], facts, _headers(error))


def of_http(error: web.HTTPException) -> Problem:
    """What one of aiohttp's own refusals looks like from outside."""
    status = HTTPStatus(error.status)
    code, detail = ITS_OWN.get(
        status, (status.phrase.lower().replace(" ", "-"), f"{status.phrase}.")
    )
    kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    return Problem(status, code, detail, headers=kept)


def document(request: web.Request, problem: Problem) -> web.Response:
    """The problem document."""
    content = {
        "type": type_of(problem.code),
        "title": problem.title,
        "status": int(problem.status),
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request.get(REQUEST_ID),
        **problem.facts,
    }
    return web.Response(
        body=json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace"),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def _headers(error: BookstoreError) -> dict[str, str]:
    """When to try again, where it is worth it."""
    if isinstance(error, refusals.TooManyAttempts | refusals.TooManyRequests):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, errors.BadToken):
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": "1"} if isinstance(error, errors.RequestInProgress) else {}


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "-"
