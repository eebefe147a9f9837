"""What a model of segmentation gives, in the manifest and by the command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

import vitrail
from tests.explorer.test_manifest import SCHEMA
from tests.segmenters import segmenter
from tests.support import refuses
from vitrail.cli.main import run
from vitrail.explain import capture, class_at, gradcam
from vitrail.explorer import Report, costs, explore
from vitrail.explorer.photo import whole_at_most
from vitrail.models import TaskModel
from vitrail.weights import save

PHOTO = np.random.default_rng(0).integers(0, 256, (21, 33, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> TaskModel:
    """A model of three classes."""
    return segmenter()


@pytest.fixture(scope="module")
def report(model: TaskModel) -> Report:
    """A report on a photo at its own size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "SIZES", (16, 32))
        patch.setattr(costs, "WINDOWS", (4,))
        return explore(model, PHOTO)


def test_the_mask_is_that_of_predict(model: TaskModel, report: Report) -> None:
    outcome = report.manifest["outcome"]
    assert outcome["kind"] == "mask"
    mask = report.arrays.get(outcome["mask"])
    found = vitrail.predict(model, PHOTO)
    assert (mask == found.labels).all()  # type: ignore[attr-defined]
    rows = [(row["label"], row["share"]) for row in outcome["classes"]]
    told = [(row["class"], row["share"]) for row in found.as_dict()["classes"]]
    assert rows == told and len({n for n in mask.ravel()}) > 1
    sure = report.arrays.get(outcome["certainty"])
    assert sure.shape == mask.shape and sure.min() >= 255 // 3
    assert report.manifest["answer"] == [] and report.manifest["faithfulness"] is None
    assert report.manifest["model"]["classes"] == 3
    assert "its own mean subtracted" in report.manifest["model"]["transform"][-1]


def test_the_manifest_is_of_the_form(report: Report) -> None:
    for error in Draft202012Validator(SCHEMA).iter_errors(json.loads(json.dumps(report.manifest))):
        pytest.fail(f"{error.json_path}: {error.message}")
    checks = {row["id"]: row for row in report.manifest["checks"]}
    assert checks["watching"]["passed"] and checks["watching"]["value"] == 0


def test_classes_that_are_found_have_maps_and_pixels_have_theirs_on_demand(
    model: TaskModel, report: Report
) -> None:
    covers = {row["class"]: row["share"] for row in report.manifest["outcome"]["classes"]}
    stored = [row["class"] for row in report.manifest["maps"] if row["method"] == "gradcam"]
    assert stored == sorted((c for c in (1, 2) if covers[c]), key=lambda c: -covers[c])
    (image,) = (report.arrays.maps.image,)  # type: ignore[attr-defined]
    expected = gradcam(model, image, class_at(1, (4, 30)))
    found = report.arrays.get("map/gradcam/1/4/30").astype(np.float32)
    np.testing.assert_allclose(found, (expected / expected.max()).numpy(), atol=1e-3)
    for name in ("map/gradcam/3/0/0", "map/gradcam/1/21/0", "map/rollout/0/0/0"):
        with pytest.raises(KeyError):
            report.arrays.get(name)


def test_the_size_is_the_photos_own_up_to_a_limit() -> None:
    assert whole_at_most((21, 33), 512) == (21, 33)
    assert whole_at_most((1000, 2000), 512) == (256, 512)
    assert whole_at_most((1, 9000), 512) == (1, 512)


def test_the_digest_is_of_the_head_too(model: TaskModel) -> None:
    other = segmenter(seed=1)
    other.backbone.load_state_dict(model.backbone.state_dict())
    x = torch.zeros(3, 8, 8)
    assert capture(model, x).model.sha256 != capture(other, x).model.sha256


def test_other_tasks_and_volumes_are_refused() -> None:
    with refuses("a model for task depth", "model.backbone"):
        explore(segmenter(task="depth"), PHOTO)
    with refuses("3 spatial axes", "swin_nano"):
        explore(segmenter(kind="3-D"), PHOTO)


def test_the_command_takes_the_file_of_a_training(model: TaskModel, tmp_path: Path, capsys) -> None:
    save(model, tmp_path / "cells.safetensors")
    Image.fromarray(PHOTO).save(tmp_path / "cells.png")
    words: list[Any] = ["explore", tmp_path / "cells.png", "-w", tmp_path / "cells.safetensors"]
    assert run([*map(str, words), "-o", str(tmp_path / "r.html"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["size"] == [21, 33] and said["top"] == []
    shares = {row["class"]: row["share"] for row in said["mask"]}
    assert sum(shares.values()) == pytest.approx(1) and len(shares) == 3
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "vitrail.load('cells.safetensors')" in page
    assert run([*map(str, words), "-o", str(tmp_path / "r.html")]) == 0
    assert "house" in capsys.readouterr().out
