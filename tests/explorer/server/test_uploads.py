"""What may be sent: pictures of at most 32 MB, that unfold to no more than the limit."""

import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from tests.explorer.server.conftest import finish
from tests.support import refuses
from vitrail.explorer.server import uploads
from vitrail.explorer.server.answers import Refused
from vitrail.explorer.server.app import ServerState, create_app


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that says it is enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def pieces(total: int, taken: list[int]) -> Iterator[bytes]:
    """Yield ``total`` bytes in pieces, and note how many were requested."""
    piece = bytes(2**20)
    while total > 0:
        taken.append(min(total, len(piece)))
        yield piece[:total]
        total -= len(piece)


def test_a_length_above_the_limit_is_refused_before_the_first_byte(client: TestClient) -> None:
    taken: list[int] = []
    headers = {"Content-Length": str(uploads.LIMIT + 1)}
    answer = client.post("/api/run", content=pieces(uploads.LIMIT + 1, taken), headers=headers)
    assert answer.status_code == 413
    assert f"{uploads.LIMIT + 1:,}" in answer.json()["given"]
    assert "32 MB" in answer.json()["allowed"] and answer.json()["fix"]


def test_a_body_that_does_not_state_its_length_is_read_no_further_than_the_limit(
    client: TestClient,
) -> None:
    answer = client.post("/api/run", content=pieces(uploads.LIMIT + 1, []))
    assert answer.status_code == 413
    assert "more than" in answer.json()["given"]


def test_a_photo_of_exactly_the_limit_is_looked_at(
    client: TestClient, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded = photo + bytes(uploads.LIMIT - len(photo))  # what follows a PNG's end is not read
    job = client.post("/api/run?size=16", content=padded)
    assert job.status_code == 202
    assert finish(client, job.json())["state"] == "done"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no picture"),
        (b"not a picture", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (bomb(60_000, 60_000), "more pixels than"),
        (bomb(10_001, 10_000), "10001 x 10000"),
        (bomb(50_000, 2), "a strip"),
        (bomb(400, 400), "damaged or truncated"),
    ],
    ids=["nothing", "text", "svg", "eps", "bomb", "large", "strip", "truncated"],
)
def test_what_is_no_picture_is_refused(
    client: TestClient, state: ServerState, data: bytes, said: str
) -> None:
    answer = client.post("/api/run?name=x.png", content=data)
    assert answer.status_code == 422
    error: dict[str, Any] = answer.json()
    assert said in error["given"] and "x.png" in error["given"]
    assert error["allowed"] and error["fix"]
    assert state.jobs.unfinished() == []


def test_refusals_in_python() -> None:
    with refuses("'x'", "PNG or JPEG"):
        uploads.check_photo(b"no", "x")


def in_a_loop(function: Any, *args: Any) -> Any:
    """Run a coroutine in a thread of its own: this one's loop may be that of an open browser."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(anyio.run, function, *args).result()


def test_photos_that_arrive_together_are_no_more_than_may_wait(
    state: ServerState, photo: bytes
) -> None:
    state.jobs.waiting, read = 2, list[int]()

    async def all_at_once() -> list[int]:
        app, release, answers = create_app(state), anyio.Event(), list[int]()
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(post, app, number, release, answers)
            await anyio.wait_all_tasks_blocked()
            assert answers == [429, 429, 429] and len(read) == 2, "two photos are on their way"
            release.set()
        return answers

    async def post(app: Any, number: int, release: anyio.Event, answers: list[int]) -> None:
        async def receive() -> dict[str, Any]:
            read.append(number)
            await release.wait()
            return {"type": "http.request", "body": photo, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answers.append(message["status"])

        scope = {"type": "http", "method": "POST", "path": "/api/run", "headers": []}
        await app({**scope, "query_string": b"size=16", "raw_path": b"/api/run"}, receive, send)

    assert in_a_loop(all_at_once) == [429, 429, 429, 202, 202]


def test_a_photo_that_stops_on_its_way_loses_its_place(state: ServerState) -> None:
    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append(b"12")
            return {"type": "http.request", "body": b"12", "more_body": True}
        await anyio.sleep_forever()
        raise AssertionError("never")

    sent: list[bytes] = []
    request = Request({"type": "http", "headers": []}, receive)
    with pytest.raises(Refused) as caught:
        in_a_loop(uploads.read_body, request, 100, 0.01)
    assert caught.value.status == 408
    assert "0.01 seconds, after 2 bytes" in caught.value.error.given
    assert caught.value.error.fix == "send it again"


def test_a_full_queue_is_refused_before_the_body_is_read(
    client: TestClient, state: ServerState, photo: bytes
) -> None:
    state.jobs.waiting = 0

    def body() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = client.post("/api/run", content=body())
    assert answer.status_code == 429
    assert "wait for one" in answer.json()["fix"]
