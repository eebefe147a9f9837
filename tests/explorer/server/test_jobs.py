"""One run at a time, in order; whatever waits or runs can be cancelled."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient
from torch import nn

from tests.explorer.server.conftest import finish
from vitrail.errors import UsageError
from vitrail.explorer.server.answers import Refused
from vitrail.explorer.server.app import ServerState
from vitrail.explorer.server.jobs import REMEMBERED, Cancelled, Job, Jobs, RunRequest
from vitrail.explorer.server.work import watched
from vitrail.models import Swin


def request(name: str = "a") -> RunRequest:
    return RunRequest(model="m", weights="w", size=None, name=name, photo=b"")


class Gate:
    """Work that goes on only on command, step by step."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = threading.Event()
        self.at_once = 0
        self.most = 0

    def __call__(self, job: Job) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.begun.append(job.request.name)
        try:
            while not self.open.wait(0.002):
                job.report("forward", 0.5)
            job.report("figures", 0.9)
            job.show(f"trace of {job.request.name}")
        finally:
            self.at_once -= 1


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def jobs(gate: Gate) -> Iterator[Jobs]:
    jobs = Jobs(gate, waiting=3)
    jobs.start()
    yield jobs
    jobs.close()


def test_one_at_a_time_and_in_order(jobs: Jobs, gate: Gate) -> None:
    first = jobs.submit(request("a"))
    until(lambda: gate.begun == ["a"])
    others = [jobs.submit(request(name)) for name in "bcd"]
    assert [jobs.ahead(job) for job in (first, *others)] == [0, 1, 2, 3]
    assert [job.state for job in (first, *others)] == ["running", *["queued"] * 3]
    assert jobs.unfinished() == [first, *others]
    gate.open.set()
    until(lambda: all(job.finished for job in others))
    assert gate.begun == list("abcd") and gate.most == 1
    assert [job.trace for job in others] == ["trace of b", "trace of c", "trace of d"]
    assert first.progress == {"step": "done", "share": 1.0}


def test_the_queue_has_an_end(jobs: Jobs, gate: Gate) -> None:
    jobs.submit(request())
    until(lambda: gate.begun)
    for _ in range(3):
        jobs.submit(request())
    with pytest.raises(Refused) as caught:
        jobs.submit(request("one too many"))
    assert caught.value.status == 429
    assert "3 wait" in caught.value.error.given and "cancel one" in caught.value.error.fix
    assert len(jobs.unfinished()) == 4


def test_a_place_is_held_while_a_photo_arrives(jobs: Jobs, gate: Gate) -> None:
    jobs.submit(request())
    until(lambda: gate.begun)
    with ExitStack() as arriving:
        submit, *_ = [arriving.enter_context(jobs.place()) for _ in range(3)]
        with pytest.raises(Refused) as caught:
            arriving.enter_context(jobs.place())
        assert caught.value.status == 429 and "3 wait" in caught.value.error.given
        job = submit(request("arrived"))
        assert jobs.ahead(job) == 1
        with pytest.raises(Refused):
            jobs.submit(request("still three"))
    assert jobs.unfinished()[1:] == [job]
    for _ in range(2):  # the two that did not arrive left their places
        jobs.submit(request())
    with pytest.raises(Refused):
        jobs.submit(request("one too many"))


def test_what_waits_is_cancelled_without_ever_beginning(jobs: Jobs, gate: Gate) -> None:
    first, second, third = (jobs.submit(request(name)) for name in "abc")
    until(lambda: gate.begun)
    jobs.cancel(second)
    assert second.state == "cancelled"
    assert jobs.ahead(third) == 1
    gate.open.set()
    until(lambda: third.finished)
    assert gate.begun == ["a", "c"]
    assert (first.state, third.state) == ("done", "done")


def test_what_runs_stops_at_its_next_step_and_the_next_one_begins(jobs: Jobs, gate: Gate) -> None:
    first, second = jobs.submit(request("a")), jobs.submit(request("b"))
    until(lambda: gate.begun)
    jobs.cancel(first)
    until(lambda: first.finished)
    assert first.state == "cancelled" and first.trace is None
    gate.open.set()
    until(lambda: second.finished)
    assert second.state == "done"


def test_what_is_done_stays_done(jobs: Jobs, gate: Gate) -> None:
    gate.open.set()
    job = jobs.submit(request())
    until(lambda: job.finished)
    jobs.cancel(job)
    assert job.state == "done" and job.trace == "trace of a"


def test_a_failure_does_not_stop_the_queue() -> None:
    def work(job: Job) -> str:
        if job.request.name == "usage":
            raise UsageError("this", "that", "do it")
        if job.request.name == "fault":
            raise ZeroDivisionError("a/folder")
        return "t"

    jobs = Jobs(work)
    jobs.start()
    usage, fault, fine = (jobs.submit(request(name)) for name in ("usage", "fault", "fine"))
    until(lambda: fine.finished)
    assert usage.error == {"given": "this", "allowed": "that", "fix": "do it"}
    assert fault.error is not None and "ZeroDivisionError" in fault.error["given"]
    assert "folder" not in str(fault.error)
    assert [usage.state, fault.state, fine.state] == ["failed", "failed", "done"]
    jobs.close()


def test_old_jobs_are_forgotten_and_young_ones_are_not(jobs: Jobs, gate: Gate) -> None:
    gate.open.set()
    done = []
    for _ in range(REMEMBERED + 2):
        done.append(jobs.submit(request()))
        until(lambda: done[-1].finished)
    last = jobs.submit(request())
    assert jobs.get(done[0].id) is None
    assert jobs.get(done[-1].id) is done[-1] and jobs.get(last.id) is last


def test_closing_stops_everything(gate: Gate) -> None:
    jobs = Jobs(gate)
    jobs.start()
    running, waiting = jobs.submit(request("a")), jobs.submit(request("b"))
    until(lambda: gate.begun)
    jobs.close()
    assert running.state == waiting.state == "cancelled"
    assert gate.begun == ["a"]


class Slow:
    """Stops a model at its third block, until it is let go."""

    def __init__(self, model: Swin) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        model.get_submodule("stages.1.blocks.0").register_forward_hook(self)

    def __call__(self, *_: object) -> None:
        self.reached.set()
        assert self.go.wait(20)


def test_a_run_is_cancelled_over_the_network_at_its_next_block(
    client: TestClient, state: ServerState, model: Swin, photo: bytes
) -> None:
    slow, seen = Slow(model), []
    model.get_submodule("stages.1.blocks.1").register_forward_hook(lambda *_: seen.append(1))
    before = len(model.get_submodule("stages.0.blocks.0")._forward_pre_hooks)
    job = client.post("/api/run?size=16", content=photo).json()
    assert slow.reached.wait(20)
    waiting = client.post("/api/run?size=16", content=photo).json()
    facts = client.get(f"/api/jobs/{job['id']}").json()
    assert facts["state"] == "running"
    assert facts["progress"]["step"] == "forward"
    assert (facts["progress"]["stage"], facts["progress"]["stages"]) == (2, 2)
    assert [j["id"] for j in client.get("/api/jobs").json()] == [job["id"], waiting["id"]]
    assert client.delete(f"/api/jobs/{waiting['id']}").json()["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 200
    slow.go.set()
    assert finish(client, job)["state"] == "cancelled"
    assert not seen, "the block after the one that ran was not begun"
    assert client.get("/api/traces").json() == [] == client.get("/api/jobs").json()
    after = len(model.get_submodule("stages.0.blocks.0")._forward_pre_hooks)
    assert before == after, "the hooks are gone"


def test_the_next_run_of_a_model_that_was_cancelled_is_whole(
    client: TestClient, model: Swin, photo: bytes
) -> None:
    slow = Slow(model)
    first = client.post("/api/run?size=16", content=photo).json()
    assert slow.reached.wait(20)
    client.delete(f"/api/jobs/{first['id']}")
    slow.go.set()
    assert finish(client, first)["state"] == "cancelled"
    second = client.post("/api/run?size=16", content=photo).json()
    assert finish(client, second)["state"] == "done"


def test_answers_come_while_a_model_runs(client: TestClient, model: Swin, photo: bytes) -> None:
    slow = Slow(model)
    job = client.post("/api/run?size=16", content=photo).json()
    assert slow.reached.wait(20)
    assert client.get("/api/traces").status_code == 200
    assert client.get("/").status_code == 200
    slow.go.set()
    finish(client, job)


def test_progress_by_stage(model: Swin) -> None:
    job, facts = Job(request()), []
    image = torch.zeros(1, 3, 16, 16)
    with torch.no_grad(), watched(model, job):
        for name in ("stages.0.blocks.0", "stages.0.blocks.1", "stages.1.blocks.0"):
            model.get_submodule(name).register_forward_pre_hook(
                lambda *_: facts.append(dict(job.progress))
            )
        model(image)
        model(image)
    assert [(p["step"], p["stage"], p["block"]) for p in facts[:3]] == [
        ("forward", 1, 1),
        ("forward", 1, 2),
        ("forward", 2, 3),
    ]
    assert facts[3]["step"] == "figures" and facts[3]["passes"] == 1
    shares = [p["share"] for p in facts]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] < 1


def test_only_the_job_s_own_thread_is_watched(model: Swin) -> None:
    job = Job(request())
    job.cancel()
    with torch.no_grad(), watched(model, job):
        other = threading.Thread(target=lambda: results.append(model(torch.zeros(1, 3, 16, 16))))
        results: list[Any] = []
        other.start()
        other.join()
        assert len(results) == 1
        with pytest.raises(Cancelled):
            model(torch.zeros(1, 3, 16, 16))


def test_a_model_without_blocks_is_left_alone() -> None:
    with watched(nn.Linear(1, 1), Job(request())):
        pass
