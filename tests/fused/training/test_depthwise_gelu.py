"""A look around and its GELU in a training step: values and gradients against float64."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tests.pyramids import pyramid_input, small_pyramid
from tests.support import drawn, refuses
from vitrail.fused import build_for_training, fuse, support, train_fused, with_same_parameters
from vitrail.fused.inference.blocks import FusedBlock
from vitrail.fused.training import depthwise_gelu as module
from vitrail.fused.training.depthwise_gelu import depthwise_gelu
from vitrail.fused.training.layers import TrainingDepthwiseMlp
from vitrail.layers import DepthwiseMlp, PreNormBlock
from vitrail.shapes import Size

pytestmark = [
    pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler"),
    pytest.mark.usefixtures("poison"),
]

# Of each tensor's norm; in the narrow types gradients before the GELU are rounded too.
TOLERANCE = {torch.float32: 5e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# A line, a token, more channels than are taken at a time, axes of one and of two.
SHAPES = [
    (1, 9, 33), (2, 1, 1, 16), (2, 7, 13, 150), (1, 40, 40, 200), (1, 30, 30, 330), (3, 2, 1, 5),
    (2, 3, 4, 5, 17), (1, 1, 4, 3, 32),
]  # fmt: skip


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
    found, wanted = depthwise_gelu(ours[0], ours[1], ours[2], relu), plain(*exact, relu=relu)
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
    depthwise_gelu(*ours, False).backward(rise)
    for place, (tensor, wanted) in enumerate(zip(ours, whole, strict=True)):
        assert (tensor.grad is None) == (place == frozen)
        if tensor.grad is not None:
            assert torch.equal(tensor.grad, wanted)


def test_without_bias_and_of_any_layout() -> None:
    x, weight, _ = tensors((2, 6, 5, 24))

    def turned(one: Tensor) -> Tensor:
        return one.detach().transpose(1, 2).contiguous().transpose(1, 2)

    rise = turned(torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    for one in (x, turned(x).requires_grad_()):
        found, wanted = depthwise_gelu(one, weight, None, False), plain(one, weight, None, False)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        ours = torch.autograd.grad(found, [one, weight], rise)
        for a, b in zip(ours, torch.autograd.grad(wanted, [one, weight], rise), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float64])
def test_gradients_are_of_the_type_of_the_parameters(stored: torch.dtype) -> None:
    x, weight, bias = tensors((2, 6, 5, 24))
    narrow = [t.detach().to(stored).requires_grad_() for t in (weight, bias)]
    exact = [t.detach().double().requires_grad_() for t in narrow]
    depthwise_gelu(x, narrow[0], narrow[1], False).square().sum().backward()
    plain(x.double(), exact[0], exact[1], False).square().sum().backward()
    for ours, wanted in zip(narrow, exact, strict=True):
        assert ours.grad is not None
        assert wanted.grad is not None
        assert ours.grad.dtype == stored
        assert (ours.grad.double() - wanted.grad).norm() < 5e-3 * wanted.grad.norm()


def test_a_second_backward_pass_is_refused() -> None:
    x, weight, bias = tensors((1, 3, 4, 5))
    y = depthwise_gelu(x, weight, bias, False).sum()
    (first,) = torch.autograd.grad(y, x, create_graph=True)
    with pytest.raises(RuntimeError, match="autograd"):
        first.sum().backward()


def test_products_are_counted() -> None:
    x, weight, bias = tensors((2, 3, 4, 5))
    with FlopCounterMode(display=False) as ours:
        y = depthwise_gelu(x, weight, bias, False)
    with FlopCounterMode(display=False) as theirs:
        plain(x, weight, bias, False)
    assert ours.get_total_flops() == theirs.get_total_flops() == 2 * 9 * x.numel()
    with FlopCounterMode(display=False) as ours:  # torch counts as if channels met, going back
        y.sum().backward()
    assert ours.get_total_flops() == 4 * 9 * x.numel()


def test_what_is_no_number_reaches_its_neighbours_alone() -> None:
    for relu in (True, False):
        x, weight, bias = tensors((1, 5, 7, 4))
        with torch.no_grad():
            x[0, 1, 3, 2] = torch.nan
        y = depthwise_gelu(x, weight, bias, relu)
        near = y.isnan().nonzero()
        assert {tuple(place) for place in near.tolist()} == {
            (0, h, w, 2) for h in (0, 1, 2) for w in (2, 3, 4)
        }
        assert depthwise_gelu(x[:, 3:], weight, bias, relu).isfinite().all()
        (d_x,) = torch.autograd.grad(depthwise_gelu(x, weight, bias, relu).sum(), x)
        assert d_x[0, 1, 3, 2].isnan()
        assert d_x[..., [0, 1, 3]].isfinite().all()
        assert d_x[0, 4].isfinite().all()


def test_no_members() -> None:
    x, weight, bias = tensors((0, 5, 7, 4))
    depthwise_gelu(x, weight, bias, False).sum().backward()
    assert x.grad is not None
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # opcheck's own
@pytest.mark.parametrize("relu", [True, False])
def test_the_operations_keep_to_what_torch_requires(relu: bool) -> None:
    given = (*tensors((2, 3, 4, 5)), relu)
    torch.library.opcheck(torch.ops.vitrail.depthwise_gelu.default, given)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        x, weight, bias, *_ = (mode.from_tensor(t) for t in given[:3])  # type: ignore[arg-type]
        for needs in ([True, True, True], [False, True, False]):
            found = module.depthwise_gelu_backward(x, x, weight, bias, relu, needs)
            wanted = [t.shape if w else (0,) for t, w in zip(given, needs, strict=False)]  # type: ignore[union-attr]
            assert [f.shape for f in found] == wanted


def test_what_does_not_fit_is_refused() -> None:
    x, weight, bias = tensors((2, 3, 4, 5))
    for one in (x[0], x[..., :4], x[:, None]):
        with refuses(str(tuple(one.shape)), "own layers"):
            depthwise_gelu(one, weight, bias, False)
    with refuses("(5, 1, 3, 5)", "own layers"):
        depthwise_gelu(x, F.pad(weight, (1, 1)), bias, False)
    with refuses("(1,)", "own layers"):
        depthwise_gelu(x, weight, bias[:1], False)
    with refuses("float64", "own layers"):
        depthwise_gelu(x.double(), weight, bias, False)


@pytest.mark.parametrize("kind", ["v2 1-D", "v2 2-D", "v2 3-D", "linear 2-D"])
def test_models_take_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = small_pyramid(kind, drop_path=0.0).train(), pyramid_input(kind)
    fast = with_same_parameters(model)
    train_fused(fast)
    layers = [m for m in fast.modules() if isinstance(m, TrainingDepthwiseMlp)]
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
    assert isinstance(parent[0], TrainingDepthwiseMlp)
    x = torch.randn(3, 5, 6, 6)
    torch.manual_seed(0)
    found = parent(x)
    torch.manual_seed(0)
    torch.testing.assert_close(found, layer(x), atol=1e-5, rtol=1e-5)


OTHERS: dict[str, nn.Module] = {
    "kernel": nn.Conv2d(12, 12, 1, groups=12),
    "dilation": nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=12),
    "groups": nn.Conv2d(12, 12, 3, padding=1, groups=4),
    "border": nn.Conv2d(12, 12, 3, padding=1, groups=12, padding_mode="circular"),
    "own": nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12)),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("trained", [True, False])
def test_another_convolution_is_left_alone(other: str, trained: bool) -> None:
    layer = DepthwiseMlp(8, 12, 2)
    layer.dwconv = OTHERS[other]  # type: ignore[assignment]
    blocks = nn.Sequential(PreNormBlock(8, nn.Identity(), layer))
    drawn(blocks).eval()
    made = copy.deepcopy(blocks)
    train_fused(made) if trained else fuse(made)
    x = torch.randn(3, 5, 6, 8)
    with torch.no_grad():
        torch.testing.assert_close(made(x), blocks(x), atol=1e-5, rtol=1e-5)
    assert not any(isinstance(m, TrainingDepthwiseMlp | FusedBlock) for m in made.modules())


@pytest.mark.parametrize(("part", "other"), [("relu", nn.Tanh()), ("act", nn.SiLU())])
def test_another_rectifier_is_left_alone(part: str, other: nn.Module) -> None:
    layer = drawn(DepthwiseMlp(6, 12, 2))
    setattr(layer, part, other)
    made = nn.Sequential(copy.deepcopy(layer))
    train_fused(made)
    x = torch.randn(3, 5, 6, 6)
    torch.testing.assert_close(made(x), layer(x), atol=1e-5, rtol=1e-5)


def trained_perceptron() -> tuple[DepthwiseMlp, nn.Module]:
    layer = drawn(DepthwiseMlp(6, 12, 2))
    made = nn.Sequential(with_same_parameters(layer))
    train_fused(made)
    return layer, made


def test_under_autocast_and_checkpointed() -> None:
    layer, made = trained_perceptron()
    x = torch.randn(3, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    (wanted,) = torch.autograd.grad(layer(x).square().sum(), layer.dwconv.weight)
    found = []
    for run in (made, lambda x: checkpoint(made, x, use_reentrant=False)):
        with torch.autocast("cpu", torch.bfloat16):
            y = run(x)
        assert y.dtype == torch.bfloat16
        found += torch.autograd.grad(y.float().square().sum(), layer.dwconv.weight)
    assert torch.equal(*found)
    assert (found[0] - wanted).norm() < 0.03 * wanted.norm()


@pytest.mark.compile
def test_it_compiles_in_one_graph() -> None:
    _, made = trained_perceptron()
    x = torch.randn(3, 5, 6, 6)
    found = torch.compile(made, fullgraph=True)(x)
    torch.testing.assert_close(found, made(x), atol=1e-5, rtol=1e-5)
    ours, theirs = (
        torch.autograd.grad(y.square().sum(), [*made.parameters()]) for y in (found, made(x))
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_it_is_built_before_a_training_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(module.build, "library", built.append)
    build_for_training()
    assert module.SOURCE in built
