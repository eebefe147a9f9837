"""A server in this process, with a small real model and one photo already traced."""

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from vitrail.explorer import maps
from vitrail.explorer.server.app import ServerState, create_app, make_state
from vitrail.explorer.server.guard import TOKEN_HEADER, Address, Guard
from vitrail.explorer.server.models import Models
from vitrail.models import Swin

TOKEN = "the-token-of-these-tests"
ADDRESS = Address("127.0.0.1", 8123)


def png(picture: Image.Image) -> bytes:
    """Return a picture as the bytes of a file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def finish(client: TestClient, job: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """Wait until a job has ended and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = client.get(f"/api/jobs/{job['id']}").json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.01)
    raise AssertionError(f"a job that does not end: {job}")


@pytest.fixture(autouse=True)
def no_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are not scored, which takes a thousand passes: that is tested where it is done."""
    monkeypatch.setattr(maps, "OPERATIONS", 0.0)


@pytest.fixture
def photo(picture: Image.Image) -> bytes:
    return png(picture)


@pytest.fixture
def state(model: Swin) -> ServerState:
    return make_state(Models(model, "a test"))


@pytest.fixture
def stranger(state: ServerState) -> Iterator[TestClient]:
    """A client that does not know the token."""
    guard = Guard(create_app(state), ADDRESS, TOKEN)
    with TestClient(guard, base_url=ADDRESS.url, follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A client that knows the token."""
    stranger.headers[TOKEN_HEADER] = TOKEN
    return stranger


@pytest.fixture
def trace(client: TestClient, photo: bytes) -> str:
    """The id of a trace of the small model on the small picture."""
    job = client.post("/api/run?size=24x40&name=noise.png", content=photo).json()
    done = finish(client, job)
    assert done["state"] == "done", done
    return done["trace"]
