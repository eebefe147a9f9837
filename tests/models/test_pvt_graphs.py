"""Both PVTs in one graph for every size: compiled, as torch.export programs and as ONNX."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
import torch

from tests.pyramids import PYRAMIDS, pyramid_input, small_pyramid
from vitrail.export import export_onnx, export_program, size_range
from vitrail.models import Backbone
from vitrail.shapes import Size

pytestmark = pytest.mark.compile


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def sizes_of(model: Backbone) -> list[Size]:
    """Return sizes from the least up, on both sides of where keys begin to be reduced."""
    smallest, _ = size_range(model)
    more = [(0, 0, 0), (1, 0, 7), (0, 19, 2), (5, 6, 9), (18, 11, 14), (40, 3, 1), (3, 50, 4)]
    return [tuple(n + m for n, m in zip(smallest, row, strict=False)) for row in more]


@pytest.mark.parametrize("kind", ["v1 2-D", "v2 1-D", "linear 2-D", "linear 1-D"])
def test_one_onnx_file_serves_every_size(kind: str, tmp_path: Path) -> None:
    model, path = small_pyramid(kind, depths=(1, 1)), tmp_path / "model.onnx"
    report = export_onnx(model, path, tuple(pyramid_input(kind).shape[2:]))
    # Where the tokens of the last stage see one another, there must be two of them.
    assert report.smallest == ((7,) if kind == "v2 1-D" else (1,) * model.config.axes)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, size in zip(itertools.cycle((1, 2, 3)), sizes_of(model), strict=False):
        x = torch.randn(batch, 3, *size)
        (found,) = session.run(None, {"input": x.numpy()})
        with torch.no_grad():
            expected = model(x)
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["v1 1-D", "v2 2-D"])
def test_one_program_serves_every_size(kind: str) -> None:
    """Also those with a single token or key, where torch likes to assert that there are more."""
    model = small_pyramid(kind, depths=(1, 1))
    program = export_program(model).module()
    for size in sizes_of(model):
        x = torch.randn(2, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(program(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", PYRAMIDS)
def test_one_compiled_graph_without_breaks(kind: str) -> None:
    model = small_pyramid(kind, depths=(1, 1))
    fast = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    x = pyramid_input(kind)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
        x = torch.randn(3, 3, *(n + 13 + 2 * axis for axis, n in enumerate(x.shape[2:])))
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["v1 2-D", "linear 2-D"])
def test_gradients_of_a_compiled_graph(kind: str) -> None:
    model = small_pyramid(kind, depths=(1, 1), drop_path=0.0).train()
    x, gradients = pyramid_input(kind), []
    for call in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad(set_to_none=True)
        call(x).square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)
