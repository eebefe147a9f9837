"""Start the server, print the link that opens it, and run until Ctrl-C."""

import socket
from collections.abc import Callable

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vitrail.errors import UsageError
from vitrail.explorer.server.app import ServerState, create_app
from vitrail.explorer.server.guard import Address, Guard

DEFAULT_HOST = "127.0.0.1"
WARNING = (
    "warning: listening beyond this machine: whoever can reach {host} and has the link sees the "
    "photos and can run models; the connection is not encrypted"
)


class Protocol(H11Protocol):
    """HTTP as uvicorn speaks it; bytes that are none end the connection without a traceback."""

    def send_400_response(self, msg: str) -> None:
        """Answer 400, where an answer can still be given, and give the connection up.

        The request before may still be at work. Uvicorn would let it answer on a connection that
        h11 has closed.
        """
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that the link works from the moment it is printed.

    Args:
        host: an address of this machine, or a name of it.
        port: 0 for any free one.
    Raises:
        UsageError: no such address here, a port that is taken, or one that this user may not use.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}", "0 to 65535", "use --port 0 for any free port")
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(where[:2], family=family)  # pyright: ignore[reportArgumentType]
    except (OSError, UnicodeError) as error:
        raise _no_listener(host, port, error) from None
    assert kind == socket.SOCK_STREAM
    return listener


def serve(
    state: ServerState,
    listener: socket.socket,
    host: str,
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    ready: Callable[[str], object] = lambda link: None,
) -> None:
    """Run the server until it is interrupted.

    Args:
        state: what it serves.
        listener: as ``bind`` returns it.
        host: by which it was bound.
        say: called with the link that opens the page.
        warn: called with what is dangerous about ``host``, if anything.
        ready: called with the link when requests will be answered, for example to open a browser.
    """
    server, guard = make_server(state, listener, host)
    if not guard.address.local:
        warn(WARNING.format(host=host))
    say(guard.link)
    ready(guard.link)
    server.run(sockets=[listener])


def make_server(
    state: ServerState, listener: socket.socket, host: str
) -> tuple[uvicorn.Server, Guard]:
    """Return a server that does not run yet, and the guard that knows its link.

    Args:
        state: what it serves.
        listener: as ``bind`` returns it.
        host: by which it was bound.
    """
    guard = Guard(create_app(state), Address(host, listener.getsockname()[1]))
    config = uvicorn.Config(
        guard,
        http=Protocol,
        log_config=None,  # uvicorn's own closes every handler of the process that starts it
        log_level="warning",
        access_log=False,  # a log of addresses would hold the token
        server_header=False,
        proxy_headers=False,  # no header may name another client
        lifespan="on",
        timeout_graceful_shutdown=2,
        ws="none",
        h11_max_incomplete_event_size=64 * 1024,
    )
    return uvicorn.Server(config), guard


def _no_listener(host: str, port: int, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, socket.gaierror | UnicodeError):
        return UsageError(
            f"--host {host[:80]} ({reason})",
            "an address of this machine, such as 127.0.0.1",
            "leave --host out",
        )
    return UsageError(
        f"--host {host} --port {port} ({reason})",
        "an address of this machine and a port that is free",
        "use --port 0 for any free port, or stop what listens there",
    )
