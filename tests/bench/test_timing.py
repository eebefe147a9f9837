"""Turns, medians and ratios."""

from collections.abc import Callable
from typing import Any

import pytest

from vitrail.bench import timing
from vitrail.bench.timing import Effort, interleave, quartiles, ratio, summary


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a call last as long as it says, and note the order of calls."""
    order: list[str] = []

    def timed(call: Callable[[], Any], device: str) -> float:
        name, seconds = call()
        order.append(name)
        return seconds

    monkeypatch.setattr(timing, "timed", timed)
    monkeypatch.setattr(timing, "wait_for_idle_threads", lambda: order.append("|"))
    return order


def lasting(name: str, *seconds: float) -> Callable[[], tuple[str, float]]:
    left = list(seconds)
    return lambda: (name, left.pop(0) if len(left) > 1 else left[0])


def test_contenders_take_turns(clock: list[str]) -> None:
    calls = {"a": lasting("a", 1.0), "b": lasting("b", 2.0)}
    seconds = interleave(calls, {"a": "A", "b": "B"}, "cpu", Effort(2, 4, 1e3))
    # Warmed up, which shows how often to repeat; then each begins when the last has settled.
    assert "".join(clock) == "aaabbb" + "|a|b" * 4
    assert seconds == {"a": [1.0] * 4, "b": [2.0] * 4}


def test_a_long_call_is_warm_after_its_first(clock: list[str]) -> None:
    calls = {"a": lasting("a", 6.0), "b": lasting("b", 4.0)}
    interleave(calls, {"a": "A", "b": "B"}, "cpu", Effort(1, 1, 0.0))
    assert "".join(clock) == "abbb" + "|a|b"


def test_a_series_ends_with_its_time_but_not_before_the_least(clock: list[str]) -> None:
    seconds = interleave({"a": lasting("a", 1.0)}, {"a": "A"}, "cpu", Effort(3, 9, 0.0))
    assert len(seconds["a"]) == 3


def test_a_setting_far_behind_its_own_library_leaves(clock: list[str]) -> None:
    calls = {n: lasting(n, s) for n, s in (("a", 1.0), ("b", 1.2), ("c", 1.4), ("d", 9.0))}
    library = {"a": "A", "b": "A", "c": "A", "d": "D"}  # d is slow, but D has nothing else
    seconds = interleave(calls, library, "cpu", Effort(6, 6, 1e3))
    assert {name: len(s) for name, s in seconds.items()} == {"a": 6, "b": 6, "c": 3, "d": 6}


def test_short_calls_are_timed_together() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1

    seconds = interleave({"a": call}, {"a": "A"}, "cpu", Effort(1, 1, 0.0))
    assert count > 100 and 0 < seconds["a"][0] < 1e-3


def test_summaries() -> None:
    facts = summary([4.0, 1.0, 3.0, 2.0, 5.0])
    assert facts == {"median": 3, "quartiles": [2, 4], "least": 1, "most": 5, "rounds": 5}
    assert quartiles([7.0]) == (7, 7, 7)


def test_a_ratio_is_taken_round_by_round() -> None:
    ours, theirs = [1.0, 10.0, 1.0], [2.0, 20.0, 4.0]  # the second round was disturbed
    assert ratio(theirs, ours)["median"] == 2
    assert ratio(theirs, ours)["quartiles"] == [2, 3]
