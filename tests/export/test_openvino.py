"""OpenVINO's files agree with the model, and are whole or absent though they are two."""

import json
from pathlib import Path

import openvino
import pytest
import torch

from tests.export.conftest import Written
from tests.support import refuses
from vitrail.export import export_openvino, open_export
from vitrail.weights.save import checked_target

pytestmark = [pytest.mark.compile, pytest.mark.usefixtures("at_once")]


def test_openvino_agrees_at_other_sizes_and_on_photos(written: Written, tmp_path: Path) -> None:
    model, path = written.model, tmp_path / "m.xml"
    report = export_openvino(model, path, (16, 24))
    assert report.photos == ("chelsea.png", "coffee.png", "rocket.jpg")
    assert len(report.checked) >= 7
    assert report.difference <= 1e-4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", hints)
    ours = open_export(path)
    for shape in ((1, 3, 7, 9), (3, 3, 33, 20), (2, 3, 1, 1)):
        x = torch.randn(shape)
        with torch.no_grad():
            expected = model(x)
        torch.testing.assert_close(torch.from_numpy(compiled(x.numpy())[0]), expected)
        (first,) = ours(x)
        ours(torch.zeros(shape))  # what was given stays as it was
        torch.testing.assert_close(first, expected)


def test_the_file_says_what_its_input_is(written: Written, tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    report = export_openvino(written.model, path, (16, 24))
    graph = openvino.Core().read_model(path)
    said = {key: json.loads(value.astype(str)) for key, value in graph.rt_info["vitrail"].items()}
    assert said["smallest"] == list(report.smallest)
    assert said["mean"] == list(written.model.preprocessing.mean)


def test_weights_are_not_rounded_to_16_bits(written: Written, tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    export_openvino(written.model, path, (16, 24))
    parameters = sum(p.numel() for p in written.model.parameters())
    assert path.with_suffix(".bin").stat().st_size >= 4 * parameters


def test_two_files_stay_together_when_the_new_ones_disagree(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.xml"
    path.write_text("the last good one")
    path.with_suffix(".bin").write_text("its weights")
    monkeypatch.setattr("vitrail.export.agreement.TOLERANCE", -1.0)
    with refuses("differs by", "--static"):
        export_openvino(written.model, path, (16, 24))
    assert path.read_text() == "the last good one"
    assert path.with_suffix(".bin").read_text() == "its weights"
    assert len(list(tmp_path.iterdir())) == 2
    with refuses("m.bin", "m.xml"):
        export_openvino(written.model, tmp_path / "m.bin")


def test_a_file_that_is_not_its_weights_is_left_alone(written: Written, tmp_path: Path) -> None:
    weights = tmp_path / "pytorch_model.bin"
    weights.write_text("somebody's checkpoint")
    with refuses("pytorch_model.bin", "pytorch_model-export.xml"):
        export_openvino(written.model, weights.with_suffix(".xml"), (16, 24))
    assert weights.read_text() == "somebody's checkpoint"
    assert list(tmp_path.iterdir()) == [weights]
    (tmp_path / "m.xml").write_text("the last good one")
    with refuses("belongs to m.xml", "m-weights.bin"):
        checked_target(tmp_path / "m.bin", (".bin",))
    (tmp_path / "m.bin").mkdir()
    with refuses("m.bin", "m-export.xml"):
        export_openvino(written.model, tmp_path / "m.xml", (16, 24))
    assert (tmp_path / "m.xml").read_text() == "the last good one"
