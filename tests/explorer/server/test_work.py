"""A trace is shown as soon as it can be drawn, and completed while the page draws it."""

import sys
import threading
import time

import pytest
from starlette.testclient import TestClient

from tests.explorer.server.conftest import finish
from tests.explorer.server.test_jobs import until
from vitrail.explorer.server import work
from vitrail.explorer.server.work import Pages

explore = vars(sys.modules["vitrail.explorer.explore"])  # the function of this name hides it


class Held:
    """Stands before the run without watching, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, plain_run = threading.Event(), explore["_plain_run"]

        def held(*given: object) -> object:
            assert self.go.wait(30)
            return plain_run(*given)

        monkeypatch.setitem(explore, "_plain_run", held)


def test_a_trace_can_be_seen_before_its_run_is_over(
    client: TestClient, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    job = client.post("/api/run?size=16&name=early.png", content=photo).json()
    assert (job["trace"], job["revision"]) == (None, 0)

    def facts() -> dict:
        return client.get(f"/api/jobs/{job['id']}").json()

    until(lambda: facts()["revision"] == 2)
    early = facts()
    assert early["state"] == "running" and early["progress"]["step"] == "figures"
    manifest = client.get(f"/api/traces/{early['trace']}").json()
    assert manifest["pending"] == ["cost", "checks", "faithfulness"]
    for name in (manifest["photo"]["seen"], manifest["blocks"][0]["mean"], "b1/rows/0/0/4"):
        assert client.get(f"/api/traces/{early['trace']}/arrays/{name}").status_code == 200
    assert [line["id"] for line in client.get("/api/traces").json()] == [early["trace"]]

    held.go.set()
    done = finish(client, job)
    assert (done["state"], done["trace"], done["revision"]) == ("done", early["trace"], 4)
    complete = client.get(f"/api/traces/{done['trace']}").json()
    assert complete["pending"] == [] and complete["cost"]["stages"]
    assert len(client.get("/api/traces").json()) == 1


def test_what_was_shown_stays_when_the_rest_is_cancelled(
    client: TestClient, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    job = client.post("/api/run?size=16", content=photo).json()
    until(lambda: client.get(f"/api/jobs/{job['id']}").json()["revision"] == 2)
    client.delete(f"/api/jobs/{job['id']}")
    held.go.set()
    ended = finish(client, job)
    assert ended["state"] == "cancelled" and ended["trace"]
    assert "cost" in client.get(f"/api/traces/{ended['trace']}").json()["pending"]


def test_a_long_run_leaves_the_page_time_to_draw(
    client: TestClient, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[tuple[float, float]] = []
    monkeypatch.setattr(Pages, "give_way", lambda _, *seconds: waits.append(seconds))
    finish(client, client.post("/api/run?size=16", content=photo).json())
    monkeypatch.setattr(work, "SHORT", 0.0)
    finish(client, client.post("/api/run?size=16", content=photo).json())
    assert waits[-1:] == [(work.QUIET, work.MOST)] and len(waits) <= 2


def test_pages_go_first_but_not_for_ever() -> None:
    pages, ended = Pages(), threading.Event()

    def wait() -> None:
        pages.give_way(0.2, 30.0)
        ended.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    for _ in range(30):
        pages.note()
        time.sleep(0.01)
    assert not ended.is_set(), "they sent requests again and again, for longer than the quiet"
    assert ended.wait(10), "and then no more"

    def keep_requesting() -> None:
        while not ended.wait(0.001):
            pages.note()

    ended.clear()
    thread = threading.Thread(target=keep_requesting)
    thread.start()
    pages.give_way(20.0, 0.05)
    ended.set()
    thread.join()
    waiting.join()
