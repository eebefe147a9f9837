"""Access to the server: the right Host, the right Origin and the right token, all three.

A server on 127.0.0.1 can be reached by every page in the user's browser and by every program on
the machine. The token keeps strangers out; the Host check stops a foreign name that was rebound to
this address; Origin and Sec-Fetch-Site stop requests that another page makes in the user's name.
"""

import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrail.explorer.server.answers import refusal

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TOKEN_HEADER = "X-Vitrail-Token"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_EVERY = frozenset({"0.0.0.0", "::"})  # listen on every address of the machine
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z_.-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens, and by which names it may be called.

    Args:
        host: the address or name that it listens on.
        port: the port that it has.
    """

    host: str
    port: int

    @property
    def local(self) -> bool:
        """Whether only programs of this machine can reach it."""
        return self.host in LOOPBACK

    @property
    def url(self) -> str:
        """Return the address for a browser on this machine, without a token."""
        host = "127.0.0.1" if self.host in _EVERY else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def answers_to(self, host: str) -> bool:
        """Return whether a Host header names this server, rather than a name bound to it."""
        match = _HOST.fullmatch(host)
        if match is None or int(match[2] or 80) != self.port:
            return False
        name = match[1].strip("[]").lower()
        if self.local:
            return name in LOOPBACK
        if self.host in _EVERY:
            return name in {"localhost", socket.gethostname().lower()} or _is_number(name)
        return name == self.host.lower()


@dataclass(frozen=True, slots=True)
class Guard:
    """Stands before the application: lets a request through, or answers 403 itself.

    Args:
        app: what is guarded.
        address: where the server listens.
        token: what a request must know.
    """

    app: ASGIApp
    address: Address
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """The cookie's name. Cookies do not know ports: two servers need two names."""
        return f"vitrail-{self.address.port}"

    @property
    def link(self) -> str:
        """Return the address that opens the page."""
        return f"{self.address.url}?token={self.token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._entry(HTTPConnection(scope)) or self.app
            await answer(scope, receive, _with_headers(send))
        else:  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})

    def _entry(self, request: HTTPConnection) -> Response | None:
        """Return the response that refuses or redirects, or None to let the request in."""
        headers, at_page = request.headers, request.scope["path"] == "/"
        navigates = at_page and headers.get("sec-fetch-mode") == "navigate"
        problem = self._foreign(headers, navigates)
        if problem is not None:
            return refusal(403, problem, f"requests from {self.address.url}", _OPEN)
        given = request.query_params.get("token")
        if at_page and given is not None and self._knows(given):
            return self._welcome(headers)
        token = headers.get(TOKEN_HEADER) or request.cookies.get(self.cookie)
        if token is None or not self._knows(token):
            what = "no token" if token is None and given is None else "a token of another server"
            return refusal(403, what, "the token that this server printed when it started", _OPEN)
        return None

    def _foreign(self, headers: Headers, navigates: bool) -> str | None:
        """Say what shows that a request was meant for another server or made by another page."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self.address.answers_to(hosts[0]):
            return f"Host {', '.join(hosts)[:100]!r}"
        if origins and origins != [f"http://{hosts[0]}"]:
            return f"Origin {', '.join(origins)[:100]!r}"
        # A link to the page may stand anywhere; everything else is requested by the page itself.
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not navigates:
            return f"Sec-Fetch-Site {site[:20]!r}"
        return None

    def _knows(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self.token.encode())

    def _welcome(self, headers: Headers) -> Response:
        """Hand over the cookie and lead to an address without the token in it."""
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # A strict cookie is not sent along a redirect that another site began; a page of ours
            # that leads on is a beginning of our own.
            answer: Response = HTMLResponse(
                '<!doctype html><meta http-equiv="refresh" content="0; url=/">'
                '<title>Vitrail</title><a href="/">Vitrail</a>'
            )
        else:
            answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return answer


_OPEN = "open the link that `vitrail explore --serve` printed"


def _is_number(name: str) -> bool:
    """Return whether a host is an address in numbers: no name server can rebind that."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sender
