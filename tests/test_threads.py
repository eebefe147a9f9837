"""Waiting for threads that other libraries keep awake."""

import pytest

from vitrail import threads
from vitrail.threads import wait_for_idle_threads


class Machine:
    """A clock, and threads that keep one core busy until ``until``."""

    def __init__(self, until: float) -> None:
        self.until, self.now, self.used = until, 0.0, 0.0

    def sleep(self, seconds: float) -> None:
        self.used += max(0.0, min(seconds, self.until - self.now))
        self.now += seconds

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.used


@pytest.mark.parametrize(("until", "waits"), [(0.0, 0.01), (0.055, 0.07), (1e3, 2.0)])
def test_the_next_waits_for_threads_of_the_last_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, until: float, waits: float
) -> None:
    machine = Machine(until)
    monkeypatch.setattr(threads, "time", machine)
    wait_for_idle_threads()
    assert machine.now == pytest.approx(waits, abs=1e-6)
