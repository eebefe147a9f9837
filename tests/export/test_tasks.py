"""Models of segmentation in other runtimes: each head in a graph, three of them of many sizes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vitrail
from tests.segmenters import NAMES, SIZE, segmenter
from tests.support import refuses, unchecked
from vitrail.cli.main import run
from vitrail.export import (
    export_int8,
    export_onnx,
    export_program,
    export_pt2,
    open_export,
    size_range,
)
from vitrail.export.agreement import ExportReport
from vitrail.models import TaskModel
from vitrail.tasks import task_of
from vitrail.weights import save

pytestmark = pytest.mark.compile


def assert_agrees(model: TaskModel, path: Path) -> None:
    """At lengths below and above each cell of a map, and of a window."""
    runs = open_export(path)
    for batch, lengths in ((1, (2, 3)), (2, (13, 9)), (3, (7, 26)), (1, (33, 40))):
        x = torch.randn(batch, 3, *lengths)
        with torch.no_grad():
            (found,) = runs(x)
            assert found.shape == (batch, len(NAMES), *lengths)
            torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)


def test_the_least_volume_has_two_tokens_in_every_map() -> None:
    assert size_range(segmenter("unet", "3-D"))[0] == (1, 1, 3)


def test_a_volume_in_one_graph() -> None:
    model = segmenter("semantic_fpn", "3-D")
    program = export_program(model).module()
    for lengths in ((1, 1, 3), (5, 15, 9)):
        x = torch.randn(2, 3, *lengths)
        with torch.no_grad():
            torch.testing.assert_close(program(x), model(x), rtol=1e-4, atol=1e-5)


def test_one_onnx_graph_for_many_sizes(tmp_path: Path) -> None:
    # With "floor" the maps do not cover the input: what is left over repeats the last cell.
    model, path = segmenter("unet", patch_fit="floor"), tmp_path / "m.onnx"
    assert export_onnx(model, path, photos=()).difference <= 1e-4
    assert_agrees(model, path)


def test_a_program_for_torch_alone(tmp_path: Path) -> None:
    model, path = segmenter("upernet"), tmp_path / "m.pt2"
    export_pt2(model, path, photos=())
    assert_agrees(model, path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint, and what the command made of it for OpenVINO."""
    folder = tmp_path_factory.mktemp("segment")
    checkpoint, out = folder / "m.safetensors", folder / "m.xml"
    save(segmenter("semantic_fpn"), checkpoint)
    with unchecked():
        assert run(["export", str(checkpoint), "-o", str(out)]) == 0
    return checkpoint, out


def test_openvino_by_the_command_and_from_a_file(written: tuple[Path, Path]) -> None:
    model = vitrail.load(written[0])
    assert isinstance(model, TaskModel)
    assert_agrees(model, written[1])


def test_a_file_says_its_classes_and_how_its_input_is_made(written: tuple[Path, Path]) -> None:
    import openvino

    info = openvino.Core().read_model(written[1]).rt_info["vitrail"]
    said = {key: json.loads(value.astype(str)) for key, value in info.items()}
    assert said["classes"] == list(NAMES)
    assert said["task"] == "segment"
    assert said["options"]["normalise"] == "image"
    assert said["options"]["values"] == [0, 1, 2]


def test_a_file_gives_the_mask_of_the_model(written: tuple[Path, Path]) -> None:
    """As the docs have it: the photo at its own size, normalised by itself."""
    checkpoint, out = written
    photo = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    x = photo.transpose(2, 0, 1)[None].astype(np.float32) / 255
    x = (x - x.mean()) / max(x.std(), 1e-3)
    (logits,) = open_export(out)(torch.from_numpy(x))
    labels = vitrail.predict(vitrail.load(checkpoint), photo).labels  # type: ignore[attr-defined]
    assert (logits[0].argmax(0).numpy() == labels).mean() > 0.99


def test_integers_of_8_bits(tmp_path: Path) -> None:
    images = list(torch.randn(8, 3, *SIZE, generator=torch.Generator().manual_seed(0)))
    model, path = segmenter("segformer"), tmp_path / "m.onnx"
    report = export_int8(model, path, images, dynamic=False, photos=())
    assert 0 < report.error < 0.1
    runs = open_export(path)
    with torch.no_grad():
        same = [(runs(x[None])[0].argmax(1) == model(x[None]).argmax(1)) for x in images]
    share = torch.stack(same).double().mean().item()
    assert share > 0.8
    assert report.same == pytest.approx(share)


def test_the_command_calibrates_no_model_of_a_task(
    written: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--int8", "--calibrate", str(tmp_path)]
    assert run(["export", str(written[0]), "-o", str(tmp_path / "m.onnx"), *words]) == 2
    said = capsys.readouterr().err
    assert "task segment" in said and "vitrail.export.export_int8" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [export_onnx, export_pt2])
def test_a_model_without_one_tensor_of_outputs_is_refused(
    write: Callable[..., ExportReport], tmp_path: Path
) -> None:
    model = segmenter("semantic_fpn", task="detect")
    suffix = {export_onnx: ".onnx", export_pt2: ".pt2"}[write]
    with refuses("a model for task detect", "model.backbone"):
        write(model, tmp_path / f"m{suffix}")
    assert not list(tmp_path.iterdir())
    assert task_of(segmenter("semantic_fpn")).name == "segment"
