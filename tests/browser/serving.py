"""The local server in a thread of the test, and how a test speaks to it."""

import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vitrail.explorer import maps
from vitrail.explorer.server.app import make_state
from vitrail.explorer.server.guard import TOKEN_HEADER, Guard
from vitrail.explorer.server.models import Models
from vitrail.explorer.server.serve import bind, make_server
from vitrail.models import Backbone


@contextmanager
def serving(model: Backbone | None = None) -> Iterator[Guard]:
    """A server with a model, or with the catalog's alone, and no photo yet; it scores no maps."""
    with pytest.MonkeyPatch.context() as patch, bind("127.0.0.1", 0) as listener:
        patch.setattr(maps, "OPERATIONS", 0)
        server, guard = make_server(make_state(Models(model)), listener, "127.0.0.1")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield guard
        finally:
            server.should_exit = True
            thread.join(30)


def call_api(guard: Guard, path: str, body: bytes | None = None) -> Any:
    """Return the server's response to a script's request."""
    headers = {TOKEN_HEADER: guard.token}
    request = urllib.request.Request(f"{guard.address.url}{path}", body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.loads(answer.read())


def run(guard: Guard, photo: bytes, **wish: str) -> dict[str, Any]:
    """Run a model on a photo, and return the manifest of the trace once all of it is there."""
    job = call_api(guard, f"api/run?{urllib.parse.urlencode(wish)}", photo)
    end = time.monotonic() + 300
    while job["state"] in ("queued", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.1)
        job = call_api(guard, f"api/jobs/{job['id']}")
    assert job["state"] == "done", job
    return call_api(guard, f"api/traces/{job['trace']}")
