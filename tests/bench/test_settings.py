"""Settings of one model are timed in turns, and what cannot be used says why."""

import pytest
import torch

from tests.support import small
from vitrail.bench import settings
from vitrail.bench.settings import measure
from vitrail.bench.timing import Effort


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """Let each setting take the seconds that are noted here."""
    facts: dict[str, list[float]] = {}

    def interleave(calls: dict, library: dict, device: str, effort: Effort) -> dict:
        assert list(calls) == list(library) and device == "cpu" and effort.seconds == 3
        for call in calls.values():
            call()
        return {name: facts[name] for name in calls}

    monkeypatch.setattr(settings, "interleave", interleave)
    return facts


def test_ratios_are_taken_round_by_round(seconds: dict[str, list[float]]) -> None:
    seconds |= {"eager": [2.0, 20.0, 4.0], "optimised": [1.0, 10.0, 1.0]}
    model = small("2-D")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = {"settings": ("eager", "optimised"), "seconds": 3.0}
    first, second = measure(model, [(21, 31)], [2], dtype=torch.bfloat16, **given)
    assert (first.size, first.batch, first.setting) == ((21, 31), 2, "eager")
    assert (first.seconds, first.speedup, first.rounds) == (4.0, None, 3)
    if second.obstacle is None:
        assert (second.seconds, second.speedup) == (1.0, 2.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_a_compiler_eager_is_timed(
    seconds: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    seconds |= {"eager": [1.0]}
    rows = list(measure(small("1-D"), [(20,), (43,)], [1], seconds=3.0))
    assert [row.setting for row in rows] == 2 * ["eager", "compiled", "optimised"]
    assert all("no C++ compiler" in str(row.obstacle) for row in rows if row.setting != "eager")
