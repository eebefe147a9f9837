"""Threads that other libraries keep awake."""

import time

_LOOK, _QUIET, _PATIENCE = 0.01, 0.2, 2.0  # seconds; share of a core; seconds


def wait_for_idle_threads() -> None:
    """Wait until the threads of the last run are asleep, two seconds at most.

    Some libraries' threads spin for tens of milliseconds, on the cores of the run that is timed
    next: behind ONNX Runtime others took up to 1.7 times as long.
    """
    end = time.perf_counter() + _PATIENCE
    while time.perf_counter() < end:
        start, used = time.perf_counter(), time.process_time()
        time.sleep(_LOOK)
        if time.process_time() - used < _QUIET * (time.perf_counter() - start):
            return
