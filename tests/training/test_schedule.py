import math
from itertools import pairwise

import pytest

from vitrail.training.schedule import learning_rate


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
