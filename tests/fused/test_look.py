"""A look around and its GELU in a training step: values and gradients against float64."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

from tests.pyramids import pyramid_input, small_pyramid
from tests.support import drawn, refuses
from vitrail.fused import kernel, look, train_fused, with_same_parameters
from vitrail.fused.look import look_around
from vitrail.fused.trained import TrainedDepthwiseMlp
from vitrail.layers import DepthwiseMlp
from vitrail.shapes import Size

pytestmark = pytest.mark.skipif(kernel.why_not() is not None, reason="no C++ compiler")

# Of each tensor's norm; in the narrow types gradients before the GELU are rounded too.
TOLERANCE = {torch.float32: 5e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# A line, a token, more channels than are taken at a time, axes of one and of two.
SHAPES = [
    (1, 9, 33), (2, 1, 1, 16), (2, 7, 13, 150), (1, 40, 40, 200), (3, 2, 1, 5), (2, 3, 4, 5, 17),
    (1, 1, 4, 3, 32),
]  # fmt: skip


@pytest.fixture(autouse=True)
def poison():
    """Fill new memory with numbers that are none, so that a gap shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def tensors(shape: Size, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    axes, channels = len(shape) - 2, shape[-1]
    x = torch.randn(shape, generator=generator).to(dtype)
    weight = torch.randn(channels, 1, *(3,) * axes, generator=generator) / 3 ** (axes / 2)
    return [t.requires_grad_() for t in (x, weight, torch.randn(channels, generator=generator))]


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    x = (x.relu() if relu else x).movedim(-1, 1)
    y = CONVOLUTIONS[x.ndim - 2](x, weight, bias, padding=1, groups=len(weight))
    return F.gelu(y.movedim(1, -1))


def agree(shape: Size, dtype: torch.dtype, relu: bool) -> list[Tensor]:
    """Compare, and return ours."""
    ours = tensors(shape, dtype)
    exact = [t.detach().double().requires_grad_() for t in ours]
    found, wanted = look_around(ours[0], ours[1], ours[2], relu), plain(*exact, relu=relu)
    rise = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    found.backward(rise)
    wanted.backward(rise.double())
    every = [(found, wanted), *((a.grad, b.grad) for a, b in zip(ours, exact, strict=True))]
    for a, b in every:
        assert a is not None
        assert b is not None
        assert a.shape == b.shape
        error = (a.double() - b).norm() / b.norm()
        assert error < TOLERANCE[dtype]
    assert (found.dtype, ours[0].grad.dtype) == (dtype, dtype)  # type: ignore[union-attr]
    assert ours[1].grad.dtype == torch.float32  # type: ignore[union-attr]
    return [a.detach() for a, _ in every if a is not None]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(shape: Size, relu: bool, dtype: torch.dtype) -> None:
    agree(shape, dtype, relu)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(agree((3, 12, 11, 150), torch.bfloat16, False))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for one in found[1:] for a, b in zip(found[0], one, strict=True))


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_nothing_and_the_rest_what_it_got(frozen: int) -> None:
    whole = agree((2, 5, 6, 20), torch.float32, False)[1:]
    ours = tensors((2, 5, 6, 20))
    ours[frozen].requires_grad_(False)
    rise = torch.randn(2, 5, 6, 20, generator=torch.Generator().manual_seed(1))
    look_around(*ours, False).backward(rise)
    for place, (tensor, wanted) in enumerate(zip(ours, whole, strict=True)):
        assert (tensor.grad is None) == (place == frozen)
        if tensor.grad is not None:
            assert torch.equal(tensor.grad, wanted)


def test_without_bias_and_of_any_layout() -> None:
    x, weight, _ = tensors((2, 6, 5, 24))
    turned = x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    for one in (x, turned):
        y = look_around(one, weight, None, False)
        torch.testing.assert_close(y, plain(one, weight, None, False), atol=1e-5, rtol=1e-5)
        y.sum().backward()
    torch.testing.assert_close(turned.grad, x.grad)


def test_what_is_no_number_reaches_its_neighbours_alone() -> None:
    for relu in (True, False):
        x, weight, bias = tensors((1, 5, 7, 4))
        with torch.no_grad():
            x[0, 1, 3, 2] = torch.nan
        y = look_around(x, weight, bias, relu)
        near = y.isnan().nonzero()
        assert {tuple(place) for place in near.tolist()} == {
            (0, h, w, 2) for h in (0, 1, 2) for w in (2, 3, 4)
        }
        assert look_around(x[:, 3:], weight, bias, relu).isfinite().all()


def test_no_members() -> None:
    x, weight, bias = tensors((0, 5, 7, 4))
    look_around(x, weight, bias, False).sum().backward()
    assert x.grad is not None
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck's own
@pytest.mark.parametrize("relu", [True, False])
def test_the_operations_keep_to_what_torch_asks_of_one(relu: bool) -> None:
    given = (*tensors((2, 3, 4, 5)), relu)
    torch.library.opcheck(torch.ops.vitrail.look_around.default, given)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        x, weight, bias, *_ = (mode.from_tensor(t) for t in given[:3])  # type: ignore[arg-type]
        found = look.look_around_backward(x, x, weight, bias, relu)
    assert [f.shape for f in found] == [x.shape, weight.shape, bias.shape]


def test_what_does_not_fit_is_refused() -> None:
    x, weight, bias = tensors((2, 3, 4, 5))
    for one in (x[0], x[..., :4], x[:, None]):
        with refuses(str(tuple(one.shape)), "own layers"):
            look_around(one, weight, bias, False)
    with refuses("(5, 1, 3, 5)", "own layers"):
        look_around(x, F.pad(weight, (1, 1)), bias, False)
    with refuses("float64", "own layers"):
        look_around(x.double(), weight, bias, False)


@pytest.mark.parametrize("kind", ["v2 1-D", "v2 2-D", "v2 3-D", "linear 2-D"])
def test_models_take_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = small_pyramid(kind, drop_path=0.0).train(), pyramid_input(kind)
    fast = with_same_parameters(model)
    train_fused(fast)
    layers = [m for m in fast.modules() if isinstance(m, TrainedDepthwiseMlp)]
    assert len(layers) == 4
    found = fast(x)
    found.square().sum().backward()
    ours = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    wanted = model(x)
    wanted.square().sum().backward()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    for name, parameter in model.named_parameters():
        gradient = ours[name]
        assert gradient is not None
        assert parameter.grad is not None
        assert (gradient - parameter.grad).norm() < 1e-4 * parameter.grad.norm() + 1e-6
    called = []
    monkeypatch.setattr(nn.GELU, "forward", lambda self, x: called.append(x) or F.gelu(x))
    fast(x)
    assert len(called) == (4 if kind == "linear 2-D" else 0)  # those of its pooled keys


def test_dropout_stands_where_it_stood() -> None:
    layer = drawn(DepthwiseMlp(6, 12, 2, drop=0.5)).train()
    parent = nn.Sequential(copy.deepcopy(layer))
    train_fused(parent)
    assert isinstance(parent[0], TrainedDepthwiseMlp)
    x = torch.randn(3, 5, 6, 6)
    torch.manual_seed(0)
    found = parent(x)
    torch.manual_seed(0)
    torch.testing.assert_close(found, layer(x), atol=1e-5, rtol=1e-5)


def test_another_convolution_is_left_alone() -> None:
    layer = drawn(DepthwiseMlp(6, 12, 2)).train()
    layer.dwconv = drawn(nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=12))
    parent = nn.Sequential(copy.deepcopy(layer))
    train_fused(parent)
    x = torch.randn(3, 5, 6, 6)
    torch.testing.assert_close(parent(x), layer(x), atol=1e-5, rtol=1e-5)
