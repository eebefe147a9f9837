"""The recipes run: on a few of the real samples, for one epoch."""

import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

import vitrail
from tests.conftest import ROOT

SAMPLES = 8  # as many as the largest batch


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in names:
            new.writestr(name, old.read(name))


def _few_nuclei(whole: Path, few: Path, part: str) -> None:
    with (whole / f"{part}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:SAMPLES]
    with (few / f"{part}.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    names = [f"{folder}/{row['id']}.png" for row in rows for folder in ("images", "labels")]
    _copy(whole / f"{part}.zip", few / f"{part}.zip", names)


def _few_volumes(whole: Path, few: Path, part: str) -> None:
    with zipfile.ZipFile(whole / f"{part}.zip") as archive:
        images = sorted(n for n in archive.namelist() if n.startswith("images/"))[:SAMPLES]
    names = [name.replace("images", folder) for name in images for folder in ("images", "labels")]
    _copy(whole / f"{part}.zip", few / f"{part}.zip", names)


def _few_photographs(whole: Path, few: Path, part: str) -> None:
    listed = json.loads((whole / f"{part}.json").read_text())
    listed["images"] = listed["images"][:SAMPLES]
    kept = {image["id"] for image in listed["images"]}
    listed["annotations"] = [one for one in listed["annotations"] if one["image_id"] in kept]
    (few / f"{part}.json").write_text(json.dumps(listed))
    names = [image["file_name"] for image in listed["images"]]
    _copy(whole / f"{part}.zip", few / f"{part}.zip", names)


FEW = {"nuclei": _few_nuclei, "hippocampus": _few_volumes, "blood_cells": _few_photographs}


def test_every_recipe_is_tried() -> None:
    assert {path.stem for path in (ROOT / "recipes").glob("*.py")} == FEW.keys()


@pytest.mark.parametrize("recipe", FEW)
def test_it_trains_a_model_that_can_be_used(recipe: str, data_dir: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        FEW[recipe](data_dir / recipe, tmp_path, part)
    script = ROOT / "recipes" / f"{recipe}.py"
    words = [str(script), str(tmp_path), "-o", str(tmp_path / "run"), "--epochs", "1"]
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    best = tmp_path / "run" / "best.safetensors"
    assert ran.stdout.splitlines()[-1] == str(best)
    model = vitrail.load(best)
    bundled = vitrail.load(f"bundled:{recipe}")
    assert model.config == bundled.config, "the recipe is no longer that of the bundled weights"
    assert model.head_facts == bundled.head_facts
