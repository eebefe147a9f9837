"""Whatever arrives at the server's socket, it answers, logs no traceback, and serves on."""

import contextlib
import io
import json
import logging
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from tests.fuzz import frame
from vitrail import UsageError
from vitrail.explorer.server.app import ServerState
from vitrail.explorer.server.guard import TOKEN_HEADER
from vitrail.explorer.server.jobs import Jobs
from vitrail.explorer.server.models import Models
from vitrail.explorer.server.payload import Payloads
from vitrail.explorer.server.serve import bind, make_server
from vitrail.explorer.server.store import Store
from vitrail.explorer.server.work import Pages

PATHS = ("/", "/api/traces", "/api/models", "/api/jobs", "/api/jobs/x", "/api/traces/x",
         "/api/traces/x/arrays/b0/mean", "/explorer.js", "/api/run?size=32", "/api/run?photo=x",
         "/api/run?size=9999999999999x-1", "/api/run?model=../../etc/passwd", "/../../etc/passwd",
         "/api/run?name=%00%ff%2e%2e", "/%2e%2e/explorer.js", "//", "*", "/?token=x")  # fmt: skip
METHODS = ("GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "CONNECT", "G\x00T")
# Headers beside the right ones, or in their place.
ODD = (b"Host: evil.example", b"Origin: http://evil.example", b"Sec-Fetch-Site: cross-site",
       b"Content-Length: 99999999999999999999", b"Content-Length: -1", b"Content-Length: 10",
       b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Expect: 100-continue",
       b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x", b"Cookie: \xff=\x00",
       b"X: " + b"a" * 100_000, b" folded", b"no colon", b"Accept-Encoding: gzip",
       b"X-Vitrail-Token: \xe9\xff", b"Content-Type: multipart/form-data")  # fmt: skip


@dataclass
class Served:
    """A server in a thread, and what it logged of errors."""

    port: int
    token: str
    errors: list[str]

    def exchange(self, data: bytes, *, leave: bool) -> bytes:
        """Send bytes and return the answer; ``leave``: reset the connection instead of waiting."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as to:
            with contextlib.suppress(ConnectionError):  # it may refuse before all is sent
                to.sendall(data)
            if leave:
                to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return b""
            with contextlib.suppress(OSError):
                to.shutdown(socket.SHUT_WR)
            parts = []
            with contextlib.suppress(ConnectionError):
                while part := to.recv(1 << 16):
                    parts.append(part)
            return b"".join(parts)

    def request(
        self, first: bytes, *headers: bytes, body: bytes = b"", leave: bool = False
    ) -> bytes:
        own = (f"Host: 127.0.0.1:{self.port}".encode(), f"{TOKEN_HEADER}: {self.token}".encode())
        lines = [first, *(own if not headers else ()), *headers, b"Connection: close", b"", body]
        return self.exchange(b"\r\n".join(lines), leave=leave)


class Kept(logging.Handler):
    """Keeps errors as they would be printed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


@pytest.fixture
def served() -> Iterator[Served]:
    pages = Pages()
    jobs = Jobs(lambda job: None)
    state = ServerState(Models(), Store(), jobs, Payloads(), pages)
    listener = bind("127.0.0.1", 0)
    server, guard = make_server(state, listener, "127.0.0.1")
    kept = Kept()
    logging.getLogger().addHandler(kept)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield Served(guard.address.port, guard.token, kept.lines)
    server.should_exit = True
    thread.join(30)
    logging.getLogger().removeHandler(kept)
    assert not thread.is_alive()


def photo() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), (9, 99, 9)).save(stream, "PNG")
    return stream.getvalue()


def is_well(served: Served) -> None:
    answer = served.request(b"GET /api/models HTTP/1.1")
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["models"]
    assert served.errors == []


def test_an_upload_that_is_given_up_leaves_no_traceback(served: Served) -> None:
    for size in (0, 1, 5000):
        lines = (b"POST /api/run?size=32 HTTP/1.1",)
        own = (f"Host: 127.0.0.1:{served.port}".encode(),
               f"{TOKEN_HEADER}: {served.token}".encode(), b"Content-Length: 100000")  # fmt: skip
        served.exchange(b"\r\n".join((*lines, *own, b"", bytes(size))), leave=True)
        time.sleep(0.05)  # so that it begins to read before the sender is gone
    is_well(served)


@frame.LONG
def test_requests(served: Served) -> None:
    whole = photo()

    def case(rng: random.Random) -> None:
        own: list[Any] = [f"Host: 127.0.0.1:{served.port}".encode(),
                          f"{TOKEN_HEADER}: {served.token}".encode()]  # fmt: skip
        headers = [h for h in own if rng.random() < 0.9] + rng.sample(ODD, rng.choice((0, 0, 1, 2)))
        rng.shuffle(headers)
        body = rng.choice((b"", whole, frame.mutated(rng, whole), rng.randbytes(rng.randrange(99))))
        if rng.random() < 0.7:
            headers.append(
                f"Content-Length: {len(body) + rng.choice((0, 0, 0, 7, 10**6))}".encode()
            )
        method, path = rng.choice(METHODS[: rng.choice((2, 8))]), rng.choice(PATHS)
        first = f"{method} {path} HTTP/1.1".encode()
        lines = [first, *headers, b"Connection: close", b"", body]
        data = b"\r\n".join(lines)
        if rng.random() < 0.2:
            data = frame.mutated(rng, data)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data) + 1)]
        answer = served.exchange(data, leave=rng.random() < 0.2)
        assert served.errors == [], data[:300]
        assert not answer.startswith(b"HTTP/1.1 5"), (data[:300], answer[:300])
        if not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 3")):
            raise UsageError(repr(answer[:60]), "a request that the page makes", "none")

    outcomes = frame.fuzz("requests", case)
    is_well(served)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0
