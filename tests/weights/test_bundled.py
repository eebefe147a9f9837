"""The weights that come with the package are what their card says."""

import json
import re
from pathlib import Path

import pytest
import torch

import vitrail
from tests.conftest import Command
from vitrail.weights.shipped import HOME, shipped, shipped_path


def _card() -> str:
    return shipped_path().with_suffix(".md").read_text()


def test_they_are_small_and_known() -> None:
    model = vitrail.create_model("swin_nano", weights="bundled")
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) <= 2_500_000
    assert shipped_path().stat().st_size <= 5_000_000
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert model.preprocessing.trained
    assert model.preprocessing.classes is not None
    assert "cat" in model.preprocessing.classes
    for name in model.preprocessing.classes:
        assert name in _card()


def test_each_has_a_card_and_says_what_it_is() -> None:
    rows = shipped()
    assert sum(path.stat().st_size for path in HOME.glob("*")) <= 20_000_000
    for row in rows:
        path = shipped_path(row.weights)
        card = path.with_suffix(".md").read_text()
        assert path.stat().st_size <= 5_000_000
        assert f"{row.parameters / 1e6:.2f} M parameters" in card
        assert row.licence in card
        assert re.findall(r"\d+\.\d+", row.figure)[0] in card


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


@pytest.mark.parametrize(
    ("name", "score"), [("nuclei", "dice"), ("hippocampus", "dice"), ("blood_cells", "map50")]
)
def test_the_figure_of_each_is_reproduced(
    name: str, score: str, data_dir: Path, command: Command
) -> None:
    weights = f"bundled:{name}"
    (figure,) = (row.figure for row in shipped() if row.weights == weights)
    val = data_dir / name / "val.zip"
    ran = command("evaluate", str(val), "--weights", weights, "--json")
    assert ran.returncode == 0, ran.stderr
    assert abs(json.loads(ran.stdout)[score] - float(re.findall(r"\d\.\d+", figure)[0])) <= 0.002
