"""Every Focal Transformer in one graph for many sizes: as torch.export programs and as ONNX."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
import torch

from tests.models.test_focal import KINDS, small
from vitrail.export import export_onnx, export_program, export_pt2, size_range
from vitrail.models import Backbone
from vitrail.shapes import Size

pytestmark = pytest.mark.compile

EXAMPLE = (33, 46)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def shallow(kind: str) -> Backbone:
    """Return a model of two stages of one block, which are traced twice as fast as more."""
    return small(kind, depths=(1, 1))


def sizes_of(model: Backbone) -> list[Size]:
    """Return sizes from the least up: with and without padding, with few and many cells."""
    smallest, _ = size_range(model)
    more = [(0, 0), (1, 7), (0, 19), (5, 6), (18, 11), (40, 3), (23, 50)]
    return [(smallest[0] + down, smallest[1] + right) for down, right in more]


@pytest.mark.parametrize("kind", KINDS)
def test_one_onnx_file_serves_every_size(kind: str, tmp_path: Path) -> None:
    model, path = shallow(kind), tmp_path / "model.onnx"
    report = export_onnx(model, path, EXAMPLE)
    assert (report.smallest, report.largest) == size_range(model)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, size in zip(itertools.cycle((1, 2, 3)), sizes_of(model), strict=False):
        x = torch.randn(batch, 3, *size)
        (found,) = session.run(None, {"input": x.numpy()})
        with torch.no_grad():
            expected = model(x)
        torch.testing.assert_close(
            torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4, msg=f"{batch} {size}"
        )


@pytest.mark.parametrize("kind", ["exact", "rolled", "conv"])
def test_one_program_serves_every_size(kind: str) -> None:
    model = shallow(kind)
    program = export_program(model, EXAMPLE).module()
    for size in sizes_of(model):
        x = torch.randn(2, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(program(x), model(x), rtol=1e-4, atol=1e-4, msg=f"{size}")


def test_the_fast_one_is_a_program_of_one_size(tmp_path: Path) -> None:
    """Of changing sizes torch asserts more than one window an axis: such a program is refused."""
    report = export_pt2(shallow("fast"), tmp_path / "model.pt2", EXAMPLE, dynamic=False)
    assert report.smallest == report.largest == EXAMPLE
