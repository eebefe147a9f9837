"""One model run at a time; the others wait in a queue that does not grow without bound."""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from vitrail.errors import UsageError
from vitrail.explorer.server.answers import Refused, as_dict
from vitrail.shapes import Size

WAITING = 8  # jobs that may wait
REMEMBERED = 64  # finished jobs that are still known

State = Literal["queued", "running", "done", "failed", "cancelled"]
_log = logging.getLogger("vitrail.server")


class Cancelled(Exception):
    """Raised inside a job's work when it is no longer wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What a job has to do.

    Args:
        model: name of the model, as the server's list has it.
        weights: which of its weights.
        size: height and width of the input in pixels, or None for the usual.
        name: the photo's name, plain text.
        photo: the photo's file, as it came.
    """

    model: str
    weights: str
    size: Size | None
    name: str
    photo: bytes = field(repr=False)


@dataclass(slots=True, eq=False)
class Job:
    """A run of a model, from the queue to its end.

    Its trace is there before its end, once a picture can be drawn; ``revision`` counts how often
    there was more of it.
    """

    request: RunRequest
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "queued"
    progress: dict[str, Any] = field(default_factory=lambda: {"step": "queued", "share": 0.0})
    trace: str | None = None
    revision: int = 0
    error: dict[str, str] | None = None
    _unwanted: threading.Event = field(default_factory=threading.Event)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    def cancel(self) -> None:
        """Let the work stop at its next step."""
        self._unwanted.set()

    def show(self, trace: str) -> None:
        """Name the trace, which can be drawn now, or note that more of it is there."""
        self.trace, self.revision = trace, self.revision + 1

    def report(self, step: str, share: float, **more: int) -> None:
        """Report how far the work is, ``share`` from 0 to 1; the place to stop when unwanted.

        Raises:
            Cancelled: when the job was cancelled.
        """
        if self._unwanted.is_set():
            raise Cancelled
        self.progress = {"step": step, "share": round(share, 3), **more}


class Jobs:
    """A queue and the one thread that works through it.

    Args:
        work: does a job, and has it show the trace.
        waiting: how many jobs may wait beside the one that runs.
    """

    def __init__(self, work: Callable[[Job], object], waiting: int = WAITING) -> None:
        self._work = work
        self.waiting = waiting
        self._queue: deque[Job] = deque()
        self._reserved = 0  # places of jobs whose photos are on their way
        self._known: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def place(self) -> Iterator[Callable[[RunRequest], Job]]:
        """Hold a place in the queue while a photo arrives, so that no more arrive than can wait.

        Returns:
            Puts a job into that place; left without it, the place is free again.
        Raises:
            Refused: with 429, when there is none.
        """
        with self._changed:
            waiting = len(self._queue) + self._reserved
            if waiting >= self.waiting:
                raise Refused(
                    429,
                    f"one more run; {waiting} wait already",
                    f"at most {self.waiting} runs that wait, as one runs at a time",
                    "wait for one to finish, or cancel one",
                )
            self._reserved += 1
        held = True

        def release() -> None:
            nonlocal held
            self._reserved -= held
            held = False

        def submit(request: RunRequest) -> Job:
            with self._changed:
                assert held, "one place is for one job"
                release()
                job = Job(request)
                self._queue.append(job)
                self._known[job.id] = job
                self._forget()
                self._changed.notify_all()
            return job

        try:
            yield submit
        finally:
            with self._changed:
                release()

    def submit(self, request: RunRequest) -> Job:
        """Put a job at the end of the queue.

        Raises:
            Refused: with 429, when the queue is full.
        """
        with self.place() as submit:
            return submit(request)

    def get(self, id: str) -> Job | None:
        """Return a job by its id, if it is still remembered."""
        return self._known.get(id)

    def unfinished(self) -> list[Job]:
        """Return the jobs that run or wait, in their order."""
        with self._changed:
            return [job for job in self._known.values() if not job.finished]

    def ahead(self, job: Job) -> int:
        """Count the jobs that come before one that waits."""
        with self._changed:
            if job.state != "queued":
                return 0
            running = any(other.state == "running" for other in self._known.values())
            return self._queue.index(job) + running

    def cancel(self, job: Job) -> None:
        """Take a job out of the queue, or stop it at its next step; a finished one stays so."""
        with self._changed:
            job.cancel()
            if job in self._queue:
                self._queue.remove(job)
                job.state = "cancelled"

    def start(self) -> None:
        """Begin to work."""
        self._thread = threading.Thread(target=self._run, name="vitrail jobs", daemon=True)
        self._thread.start()

    def close(self, patience: float = 5.0) -> None:
        """Cancel everything, and wait some seconds for the run in progress to stop."""
        for job in self.unfinished():
            self.cancel(job)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(patience)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                job = self._queue.popleft()
                job.state = "running"
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            self._work(job)
            job.progress = {"step": "done", "share": 1.0}
            job.state = "done"
        except Cancelled:
            job.state = "cancelled"
        except UsageError as error:
            job.error, job.state = as_dict(error), "failed"
        except Exception as error:
            # The page shows that, the terminal why: a traceback names folders of this machine.
            _log.exception("a run failed")
            job.error = as_dict(
                UsageError(
                    f"a run that failed ({type(error).__name__})",
                    "a run without a fault of Vitrail's own",
                    "see the terminal in which the server runs, and try a smaller size",
                )
            )
            job.state = "failed"
        finally:
            job.request = replace(
                job.request, photo=b""
            )  # megabytes; the trace keeps what it needs

    def _forget(self) -> None:
        """Keep the last finished jobs only."""
        done = [id for id, job in self._known.items() if job.finished]
        for id in done[:-REMEMBERED]:
            del self._known[id]
