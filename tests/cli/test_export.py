"""`vitrail export`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import small
from vitrail.cli.main import run
from vitrail.weights import save

pytestmark = pytest.mark.compile


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save(small("1-D", depths=(1,), num_heads=(2,)), path)
    return path


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".xml"])
def test_a_checkpoint_becomes_a_file(
    suffix: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_suffix(suffix)
    assert run(["export", str(checkpoint), "-o", str(out), "--size", "40", "--static"]) == 0
    first, inputs, difference, photos = capsys.readouterr().out.splitlines()
    assert str(out) in first
    assert inputs == "inputs: 40, one at a time"
    assert difference.startswith("largest difference from the model: ")
    assert photos == "photos among them: none (the model takes no colour images)"
    assert out.stat().st_size > 1000


def test_json_states_the_range_and_the_difference(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_suffix(".pt2")
    assert run(["export", str(checkpoint), "-o", str(out), "--size", "40", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(out)
    assert said["weights"] == str(checkpoint)
    assert (said["smallest"], said["largest"]) == ([1], [2**20])
    assert said["batch"] == [1, 1024]
    assert 0 <= said["difference"] <= 1e-4
    assert [2, 40] in said["checked"] or [1, 40] in said["checked"]
    module = torch.export.load(out).module()
    assert module(torch.randn(3, 3, 77)).shape == (3, 5)


@pytest.mark.parametrize(
    ("words", "given", "fix"),
    [
        (["swin_nano", "-o", "model.bin"], "-o model.bin", "use -o model.onnx"),
        (["swin_nanno", "-w", "none", "-o", "model.onnx"], "swin_nanno", "'swin_nano'"),
        (["swin_tiny", "-o", "model.onnx"], "swin_tiny without weights", "--weights imagenet1k"),
        (["swin_tny", "-o", "model.onnx"], "swin_tny", "'swin_tiny'"),
        (["swin_nano", "-w", "none", "-o", "model.pt2", "--size", "0"], "--size 0", "--size"),
        (["swin_nano", "-w", "none", "-o", "no/model.pt2"], "no/model.pt2", "mkdir -p no"),
        (["swin_nano", "-o", "."], "-o .", "-o model.onnx"),
        (["swin_nano", "-o", ".."], "-o ..", "-o model.onnx"),
        (["missing.pth", "-o", "m" * 300 + ".onnx"], "cannot be written", "another folder"),
        (["swin_nano", "-o", "model.onnx", "--int8"], "images to calibrate", "--calibrate"),
        (["swin_nano", "-o", "m.onnx", "--calibrate", "x.zip"], "without --int8", "add --int8"),
        (["swin_nano", "-o", "m.pt2", "--int8", "--calibrate", "x.zip"], "--int8", "m.onnx"),
        (["swin_nano", "-o", "m.onnx", "--int8", "--calibrate", "x.zip"], "x.zip", "path"),
        (["swin_nano", "-o", "m.onnx", "--photo", "x.png"], "x.png", "path"),
        (
            ["swin1d_tiny", "-w", "none", "-o", "m.onnx", "--int8", "--calibrate", "x.zip"],
            "1 axes",
            "export_int8",
        ),
    ],
)
def test_what_cannot_be_is_three_lines(
    words: list[str],
    given: str,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["export", *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["given", "allowed", "fix"]
    assert given in said[0]
    assert fix in said[2]
    assert not list(tmp_path.iterdir())


def test_int8_shows_accuracy_before_and_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, data, out = tmp_path / "small.safetensors", tmp_path / "data", tmp_path / "m.onnx"
    model = small("2-D", depths=(1,), num_heads=(2,), drop_path=0.0)
    save(model, checkpoint)
    noise = np.random.default_rng(0)
    for kind in range(5):
        (data / str(kind)).mkdir(parents=True)
        for number in range(3):
            pixels = noise.integers(0, 256, (16, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data / str(kind) / f"{number}.png")
    words = ["export", str(checkpoint), "-o", str(out), "--size", "16x24", "--static", "--int8"]
    words += ["--calibrate", str(data), "--images", "10", "--test", str(data), "--json"]
    assert run(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["int8"]["calibrated_on"] == 10
    assert said["int8"]["bytes_after"] == out.stat().st_size
    assert said["int8"]["batch"] == 1
    assert min(said["int8"][f"seconds_{when}"] for when in ("before", "after")) > 0
    before, after = said["accuracy"]["before"], said["accuracy"]["after"]
    assert said["accuracy"]["images"] == before["images"] == after["images"] == 15
    # The files' own answers, not the model's twice: close, and not the same.
    assert 0 < abs(before["loss"] - after["loss"]) < 0.1 * before["loss"]
