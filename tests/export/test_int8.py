"""8-bit files: what is quantised, what is not, and how far they are from the model."""

import json
import os
from pathlib import Path

import onnx
import openvino
import pytest
import torch
from torch import Tensor

from tests.export.conftest import Written
from tests.support import refuses
from vitrail.export import export_int8, int8, open_export
from vitrail.export.agreement import Runner

pytestmark = [pytest.mark.compile, pytest.mark.usefixtures("at_once")]


def images(count: int = 12) -> list[Tensor]:
    return list(torch.randn(count, 3, 16, 24, generator=torch.Generator().manual_seed(0)))


def test_layers_with_weights_are_integers_in_onnx(written: Written, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    report = export_int8(written.model, path, images(), (16, 24))
    assert report.inputs == 12
    assert report.file_bytes == (written.path.stat().st_size, path.stat().st_size)
    assert 0 < report.error < 0.1
    assert report.same is not None and report.same > 0.8
    assert report.whole.difference <= 1e-4
    assert report.batch == 10
    assert report.seconds is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    model = onnx.load(path)
    made_by = {name: node for node in model.graph.node for name in node.output}
    layers = [n for n in model.graph.node if n.op_type in ("MatMul", "Gemm", "Conv")]
    quantised = [made_by[n.input[1]].op_type == "DequantizeLinear"
                 for n in layers if n.input[1] in made_by]  # fmt: skip
    # A patch embedding, four layers a block, a head; and two products of attention a block.
    assert (quantised.count(True), quantised.count(False)) == (1 + 2 * 4 + 1, 2 * 2)
    said = {p.key: json.loads(p.value) for p in model.metadata_props if "vitrail" in p.key}
    assert said["vitrail.mean"] == list(written.model.preprocessing.mean)


def test_an_int8_file_serves_other_sizes(written: Written, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_int8(written.model, path, images(), (16, 24))
    x = torch.randn(3, 3, 21, 31)
    with torch.no_grad():
        expected = written.model(x)
    (found,) = open_export(path)(x)
    assert 0 < (found - expected).norm() < 0.1 * expected.norm()


def test_openvino_s_weights_are_integers(written: Written, tmp_path: Path) -> None:
    path, before = tmp_path / "m.xml", dict(os.environ)
    report = export_int8(written.model, path, images(), (16, 24))
    assert dict(os.environ) == before
    assert 0 < report.error < 0.2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    graph = openvino.Core().read_model(path)
    constants = [op for op in graph.get_ops() if op.get_type_name() == "Constant"]
    integers = [op for op in constants if op.get_element_type() == openvino.Type.i8]
    assert len(integers) >= 9


def test_what_cannot_be_calibrated_is_refused(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    with refuses("no images", "--calibrate"):
        export_int8(written.model, path, [], (16, 24))
    with refuses("images of 2 sizes", "vitrail.transform"):
        export_int8(written.model, path, [torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)], (16, 24))
    with refuses("shape (1, 16, 24)", "vitrail.transform"):
        export_int8(written.model, path, [torch.zeros(1, 16, 24)], (16, 24))
    with refuses("shape (3, 16, 24)", "vitrail.transform"):
        export_int8(written.model, path, [torch.zeros(3, 16, 24)], (16, 25), dynamic=False)
    with refuses("shape (3, 16)", "vitrail.transform"):
        export_int8(written.model, path, [torch.zeros(3, 16)], (16, 24))
    with refuses("m.pt2", "m.onnx"):
        export_int8(written.model, tmp_path / "m.pt2", images())
    path.write_text("the last good one")
    monkeypatch.setattr("vitrail.export.int8.LARGEST_ERROR", -1.0)
    with refuses("outputs change by", "more images"):
        export_int8(written.model, path, images(), (16, 24))
    assert path.read_text() == "the last good one"
    assert len(list(tmp_path.iterdir())) == 1


def test_both_files_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], []

    def runner(name: str, seconds: float) -> Runner:
        def run(x: Tensor) -> list[Tensor]:
            calls.append(name)
            clock[0] += seconds
            return [x]

        return run

    monkeypatch.setattr(int8.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(int8, "wait_for_idle_threads", lambda: calls.append("wait"))
    found = int8._seconds(runner("float", 0.75), runner("int8", 0.5), torch.zeros(1))
    assert found == (0.75, 0.5)
    # One each to warm up; the fifth second ends it.
    assert calls == ["float", "int8"] + ["wait", "float", "wait", "int8"] * 4
    calls.clear()
    assert int8._seconds(runner("float", 9.0), runner("int8", 9.0), torch.zeros(1)) == (9, 9)
    assert calls.count("float") == calls.count("int8") == 2
