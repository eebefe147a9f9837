"""Times of several contenders taken in turns, and what they say about one another."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vitrail.threads import wait_for_idle_threads

_SHORTEST = 0.02  # seconds; of a shorter call several are timed at once
_WARM = 3  # calls before the first that counts
_LONG = 5.0  # seconds of a call that is warm after its first
_LEAVES = 1.3  # times the best setting of its library: such a setting need not run on
_TRIALS = 3  # rounds before a setting may leave


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Args:
        least: rounds at least.
        most: rounds at most.
        seconds: of the whole series, once the least is done.
    """

    least: int = 7
    most: int = 40
    seconds: float = 30.0


def interleave(
    calls: Mapping[str, Callable[[], Any]],
    library: Mapping[str, str],
    device: str,
    effort: Effort,
) -> dict[str, list[float]]:
    """Time every contender once a round, round after round.

    A setting that is far behind another of its own library leaves after three rounds: it cannot
    be that library's best.

    Args:
        calls: by name of the contender.
        library: which library each belongs to.
        device: where they run.
        effort: how long.
    Returns:
        Seconds of each round and contender.
    """
    repeats = {name: _repeats(call, device) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    racing, start = list(calls), time.perf_counter()
    for number in range(effort.most):
        if number >= effort.least and time.perf_counter() - start > effort.seconds:
            break
        if number == _TRIALS:
            racing = [name for name in racing if not _far_behind(name, seconds, library)]
        for name in racing:
            if device == "cpu":
                wait_for_idle_threads()
            seconds[name].append(_of_one(calls[name], repeats[name], device))
    return seconds


def _repeats(call: Callable[[], Any], device: str) -> int:
    """Warm a call up, and return how many are timed at once."""
    seconds = 0.0
    for _ in range(_WARM):
        seconds = timed(call, device)
        if seconds > _LONG:
            break
    return max(1, round(_SHORTEST / max(1e-7, seconds)))


def _of_one(call: Callable[[], Any], repeats: int, device: str) -> float:
    if repeats == 1:
        return timed(call, device)

    def several() -> None:
        for _ in range(repeats):
            call()

    return timed(several, device) / repeats


def _far_behind(name: str, seconds: dict[str, list[float]], library: Mapping[str, str]) -> bool:
    best = min(min(s) for other, s in seconds.items() if library[other] == library[name])
    return min(seconds[name]) > _LEAVES * best


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Return median, quartiles, extremes and number of some times."""
    low, middle, high = quartiles(seconds)
    return {"median": middle, "quartiles": [low, high], "least": min(seconds),
            "most": max(seconds), "rounds": len(seconds)}  # fmt: skip


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    """Return how many times faster we are: the median of the rounds' ratios, and its quartiles.

    Round by round, because what slows the machine down for a while slows both.
    """
    low, middle, high = quartiles([t / o for t, o in zip(theirs, ours, strict=False)])
    return {"median": middle, "quartiles": [low, high]}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the three values that cut sorted ``values`` into quarters."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def timed(call: Callable[[], Any], device: str) -> float:
    """Return the seconds of one call, until its results are there."""
    if device != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3
