"""How the server says no: a status, and in JSON what was given, what is allowed, and the fix."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vitrail.errors import UsageError


class Refused(Exception):
    """A request that is answered with a status of its own.

    Args:
        status: of HTTP.
        given: what was given.
        allowed: what would have been accepted.
        fix: one concrete thing to do next.
    """

    def __init__(self, status: int, given: str, allowed: str, fix: str) -> None:
        super().__init__(status, given, allowed, fix)
        self.status = status
        self.error = UsageError(given, allowed, fix)


def refusal(status: int, given: str, allowed: str, fix: str) -> Response:
    """Return the answer that refuses."""
    return JSONResponse({"given": given, "allowed": allowed, "fix": fix}, status)


def as_dict(error: UsageError) -> dict[str, str]:
    """Return an error's three lines by name."""
    return {"given": error.given, "allowed": error.allowed, "fix": error.fix}


def unknown(what: str) -> Refused:
    """Return the 404 for something that is not there; ``what`` may quote the request."""
    return Refused(
        404,
        what,
        "what GET /api/traces, /api/models and a trace's manifest name",
        "load the page again: the trace may have made room for a newer one",
    )


async def on_refused(_: Request, error: Exception) -> Response:
    """Answer a refusal raised in a route."""
    assert isinstance(error, Refused)
    return JSONResponse(as_dict(error.error), error.status)


async def on_usage(_: Request, error: Exception) -> Response:
    """Answer what a user can mend: the request was understood, but cannot be done."""
    assert isinstance(error, UsageError)
    return JSONResponse(as_dict(error), 422)


async def on_http(request: Request, error: Exception) -> Response:
    """Answer an address or a method that does not exist."""
    assert isinstance(error, HTTPException)
    answer = refusal(
        error.status_code,
        f"{request.method} {request.url.path[:200]}",
        "the page / and the addresses under /api that it uses",
        "start at the link that `vitrail explore --serve` printed",
    )
    answer.headers.update(error.headers or {})
    return answer
