import math
from itertools import pairwise

import pytest

from vitrail.training.schedule import Cycle, Schedule, learning_rate


def rates(total=100, warmup=10, **more) -> list[float]:
    return [learning_rate(s, total=total, warmup=warmup, peak=1.0, **more) for s in range(total)]


def test_warms_up_in_a_line_and_falls_in_a_cosine() -> None:
    found = rates(start=0.1, end=0.0)
    assert found[0] == pytest.approx(0.1)
    assert found[5] == pytest.approx(0.55)
    assert max(found) == found[10] == 1.0
    assert found[55] == pytest.approx(0.5)
    assert found[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert all(a > b for a, b in pairwise(found[10:]))


def test_without_warmup_starts_at_the_peak() -> None:
    assert rates(warmup=0)[0] == 1.0


def test_nothing_but_warmup() -> None:
    found = rates(total=10, warmup=10, start=0.0)
    assert found == pytest.approx([n / 10 for n in range(10)])


def test_ends_at_the_smallest_rate() -> None:
    last = learning_rate(100, total=100, warmup=10, peak=1.0, end=0.25)
    assert last == learning_rate(500, total=100, warmup=10, peak=1.0, end=0.25) == 0.25


def test_an_extended_run_has_a_cycle_of_its_own() -> None:
    """From the rate it has reached up to the highest, then down to the end."""
    whole = Schedule((Cycle(0, 100, 10, 1e-6),), peak=1e-3, end=1e-5)
    longer = whole.extended(100, 200, 50)
    assert longer.total == 200
    for step in range(100):
        assert longer.rate(step) == whole.rate(step)
        assert whole.rate(step) == learning_rate(
            step, total=100, warmup=10, peak=1e-3, start=1e-6, end=1e-5
        )
    rates = [longer.rate(step) for step in range(100, 200)]
    assert rates[0] == pytest.approx(1e-5)  # no jump
    assert rates.index(max(rates)) == 20, "a fifth of the cycle at most warms up"
    assert max(rates) == 1e-3
    assert rates[-1] < 2e-5


def test_a_run_that_is_extended_midway_does_not_jump() -> None:
    schedule = Schedule((Cycle(0, 100, 10, 1e-6),), peak=1e-3, end=1e-5)
    for step, total in ((60, 300), (5, 300), (60, 80)):
        longer = schedule.extended(step, total, 10)
        assert longer.rate(step) == pytest.approx(schedule.rate(step))
        assert longer.rate(step - 1) == schedule.rate(step - 1)
        assert longer.extended(total, 400, 3).rate(step + 3) == longer.rate(step + 3)
