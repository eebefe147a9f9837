"""What tests of commands share: quick reports in their own process, and photos to predict."""

from pathlib import Path

import pytest
from PIL import Image

from tests.tasks.pairs import pair
from vitrail.explorer import costs, maps


@pytest.fixture(autouse=True)
def quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs at small sizes only, and maps without their scores: both have tests of their own."""
    monkeypatch.setattr(costs, "SIZES", (16, 32))
    monkeypatch.setattr(costs, "WINDOWS", (4,))
    monkeypatch.setattr(maps, "OPERATIONS", 0)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Two pictures of 33 x 47 with two objects each."""
    found = []
    for number in range(2):
        path = tmp_path / f"photo{number}.png"
        Image.fromarray(pair(number, (33, 47))[0]).save(path)
        found.append(str(path))
    return found
