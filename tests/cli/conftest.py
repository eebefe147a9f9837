"""Reports that a command writes in the test's own process: whole, but quickly."""

import pytest

from vitrail.explorer import costs, maps


@pytest.fixture(autouse=True)
def quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs at small sizes only, and maps without their scores: both have tests of their own."""
    monkeypatch.setattr(costs, "SIZES", (16, 32))
    monkeypatch.setattr(costs, "WINDOWS", (4,))
    monkeypatch.setattr(maps, "OPERATIONS", 0)
