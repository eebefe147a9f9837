"""The weights that come with the package are what their card says."""

import json
import re
from pathlib import Path

import pytest
import torch

import vitrail
from tests.conftest import Command
from vitrail.weights.sources import bundled_path


def _card() -> str:
    return bundled_path().with_suffix(".md").read_text()


def test_they_are_small_and_known() -> None:
    model = vitrail.create_model("swin_nano", weights="bundled")
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) <= 2_500_000
    assert bundled_path().stat().st_size <= 5_000_000
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert model.preprocessing.trained
    assert model.preprocessing.classes is not None
    assert "cat" in model.preprocessing.classes
    for name in model.preprocessing.classes:
        assert name in _card()


@pytest.mark.parametrize("size", [32])
def test_the_card_s_accuracy_is_reproduced(size: int, data_dir: Path, command: Command) -> None:
    row = re.search(rf"^\| {size} \|\s*([\d.]+) %", _card(), re.MULTILINE)
    assert row is not None
    test = data_dir / "cifar10" / "test.zip"
    ran = command("evaluate", str(test), "--weights", "bundled", "--size", str(size), "--json")
    assert ran.returncode == 0, ran.stderr
    scores = json.loads(ran.stdout)
    assert scores["images"] == 10_000
    # Another processor rounds differently: a few images of ten thousand may change sides.
    assert abs(100 * scores["top1"] - float(row[1])) <= 0.1
