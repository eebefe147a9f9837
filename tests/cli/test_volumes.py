"""`vitrail train`, `evaluate` and `predict` of volumes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tasks.volumes import loaded, nifti, volume, write_volumes
from vitrail import create_model
from vitrail.cli import main
from vitrail.heads import UNetConfig
from vitrail.weights import save

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2, 2)}
QUICK = ["--task", "segment", "--epochs", "1", "-b", "2", "--size", "8", "--device", "cpu"]
QUICK += ["--workers", "0", "--val-part", "0.3", "--lr", "1e-3", "--ema", "0"]
QUICK += ["--precision", "fp32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_volumes(tmp_path_factory.mktemp("data") / "set.zip", 6)


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("run")
    head = UNetConfig(dim=4)
    model = create_model("swin3d_nano", task="segment", head=head, num_classes=3, **TINY)
    save(model, out / "start.safetensors")
    words = ["--model", str(out / "start.safetensors"), "-o", str(out / "run")]
    assert main.run(["train", str(data), *QUICK, *words]) == 0
    return out / "run/best.safetensors"


def test_a_model_is_measured(data, weights, capsys) -> None:
    assert main.run(["evaluate", str(data), "--weights", str(weights), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["images"] == 6
    assert {"class 0", "class 1", "class 2"} >= answer["per_class"].keys()


def test_masks_and_planes_are_written(weights, tmp_path, capsys) -> None:
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    for number in range(2):
        (tmp_path / f"{number}.nii.gz").write_bytes(nifti(volume(number)[0], affine))
    (tmp_path / "cut.nii").write_bytes(nifti(volume(0)[0])[:500])
    words = ["predict", str(tmp_path), "--weights", str(weights), "--json"]
    assert main.run([*words, "-o", str(tmp_path / "../masks")]) == 2
    told = capsys.readouterr()
    assert "truncated NIfTI" in told.err
    answers = json.loads(told.out)["photos"]
    assert [("mask" in answer, "error" in answer) for answer in answers] == [
        (True, False), (True, False), (False, True)]  # fmt: skip
    mask = loaded(tmp_path / "../masks/1.nii.gz")
    assert np.array_equal(mask.affine, affine)
    assert (tmp_path / "../masks/1-overlay.jpg").exists()
    one = ["predict", str(tmp_path / "0.nii.gz"), "--weights", str(weights)]
    assert main.run([*one, "-o", str(tmp_path / "x.nii.gz")]) == 0
    assert "class 0" in capsys.readouterr().out
    assert loaded(tmp_path / "x.nii.gz").shape == (12, 10, 9)
    assert (tmp_path / "x-overlay.jpg").exists()
    assert main.run([*one, "-o", str(tmp_path / "x.png")]) == 2
    assert ".nii.gz" in capsys.readouterr().err


def test_sizes_have_an_axis_each(data, weights, tmp_path, capsys) -> None:
    words = ["train", str(data), "--task", "segment", "--model", str(weights), "--epochs", "1"]
    assert main.run([*words, "-o", str(tmp_path / "run"), "--size", "8x8"]) == 2
    assert "3 whole numbers" in capsys.readouterr().err
    assert main.run([*words, "-o", str(tmp_path / "run"), "--size", "8x8x8x8"]) == 2
    assert main.run(["train", str(data), "--task", "segment", "-o", str(tmp_path / "run")]) == 2
    assert "--model swin3d_nano" in capsys.readouterr().err
