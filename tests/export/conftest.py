"""One ONNX file for the tests of what is made from it: writing it takes longer than they do."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import small, unchecked
from vitrail.export import ExportReport, export_onnx
from vitrail.export.agreement import Order
from vitrail.models import Backbone


class Written(NamedTuple):
    """A model, and the file that was written of it."""

    model: Backbone
    path: Path
    report: ExportReport


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A model with a shift, padding and a range of sizes as an ONNX file."""
    model, path = small("2-D", depths=(2,), num_heads=(2,)), tmp_path_factory.mktemp("x") / "m.onnx"
    with unchecked():  # which tracing cannot go through, in a pass that has the checker
        return Written(model, path, export_onnx(model, path, (16, 24)))


@pytest.fixture
def at_once(written: Written, monkeypatch: pytest.MonkeyPatch) -> Callable[[Order, Path], None]:
    """Let that file stand for what would be written again."""

    def copy(order: Order, path: Path) -> None:
        assert order.model is written.model
        shutil.copy(written.path, path)

    for module in ("onnx", "openvino"):
        monkeypatch.setattr(f"vitrail.export.{module}.write_onnx", copy)
    return copy
