"""Branches of a training step against float64: values, every gradient, and what stays without."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.support import drawn, odd_input, refuses, small
from vitrail.fused import support, train_fused, with_same_parameters
from vitrail.fused.training.fused_mlp import fused_mlp
from vitrail.fused.training.layers import TrainingBlock, TrainingMlp
from vitrail.models import PVTV2Config, pvt_v2

pytestmark = [
    pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler"),
    pytest.mark.usefixtures("poison"),
]

# Of each tensor's norm. In bfloat16 what is multiplied is rounded, and so is what comes out.
TOLERANCE = {torch.float32: 5e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
# Samples, rows of each, inputs, hidden, outputs: whole tiles and panels, and none; several parts,
# the last with an odd number of rows.
SHAPES = [
    (2, 48, 96, 192, 96), (2, 37, 33, 77, 19), (2, 1, 7, 5, 3), (3, 333, 50, 60, 17),
    (2, 5, 130, 49, 97),
]  # fmt: skip
NAMES = ("x", "weight", "bias", "weight2", "bias2", "norm_weight", "norm_bias", "add")


def tensors(
    shape: tuple[int, ...], two: bool, dtype: torch.dtype, stored: torch.dtype
) -> dict[str, Tensor]:
    samples, rows, inputs, hidden, outputs = shape
    generator = torch.Generator().manual_seed(0)

    def numbers(*lengths: int) -> Tensor:
        return torch.randn(*lengths, generator=generator)

    first = hidden if two else outputs
    made = {
        "x": (1.5 * numbers(samples, rows, inputs) + 0.3).to(dtype),
        "weight": (numbers(first, inputs) / inputs**0.5).to(stored),
        "bias": (0.3 * numbers(first)).to(stored),
        "weight2": (numbers(outputs, hidden) / hidden**0.5).to(stored),
        "bias2": (0.3 * numbers(outputs)).to(stored),
        "norm_weight": (1 + 0.1 * numbers(inputs)).to(stored),
        "norm_bias": (0.3 * numbers(inputs)).to(stored),
        "add": numbers(samples, rows, outputs).to(dtype),
    }
    return {name: x.requires_grad_() for name, x in made.items()}


def ours(t: dict[str, Tensor], two: bool, norm: bool, add: bool, factor: Tensor | None) -> Tensor:
    return fused_mlp(
        t["x"], t["weight"], t["bias"],
        second=(t["weight2"], t["bias2"]) if two else None,
        norm=(t["norm_weight"], t["norm_bias"], 1e-3) if norm else None,
        add=t["add"] if add else None,
        factor=factor,
    )  # fmt: skip


def plain(t: dict[str, Tensor], two: bool, norm: bool, add: bool, factor: Tensor | None) -> Tensor:
    x = t["x"]
    if norm:
        x = F.layer_norm(x, x.shape[-1:], t["norm_weight"], t["norm_bias"], 1e-3)
    x = F.linear(x, t["weight"], t["bias"])
    if two:
        x = F.linear(F.gelu(x), t["weight2"], t["bias2"])
    if factor is not None:
        x = x * factor.to(x)[:, None, None]
    return x + t["add"] if add else x


def same(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert found.shape == wanted.shape
    error = (found.double() - wanted).norm() / wanted.norm().clamp(min=1e-3)
    assert error < tolerance


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for two, norm, extra in itertools.product((True, False), repeat=3):
        stored = dtype if extra else torch.float32
        t = tensors(shape, two, dtype, stored)
        exact = {name: x.detach().double().requires_grad_() for name, x in t.items()}
        factor = torch.tensor([0.0, 1.25, 0.8])[: shape[0]] if extra else None
        y, z = ours(t, two, norm, extra, factor), plain(exact, two, norm, extra, factor)
        assert y.dtype == dtype
        same(y, z, TOLERANCE[dtype])
        y.backward(t["add"].detach())
        z.backward(exact["add"].detach())
        for name in NAMES:
            gradient, wanted = t[name].grad, exact[name].grad
            assert (gradient is None) == (wanted is None)
            if gradient is not None and wanted is not None:
                assert gradient.dtype == t[name].dtype
                same(gradient, wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_give_the_same_bits_each_time(threads: int) -> None:
    t = tensors((2, 500, 48, 96, 48), True, torch.bfloat16, torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        runs = [
            torch.autograd.grad(ours(t, True, True, True, None).square().sum(), [*t.values()])
            for _ in range(2)
        ]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    exact = {name: x.detach().double().requires_grad_() for name, x in t.items()}
    y = plain(exact, True, True, True, None)
    wanted = torch.autograd.grad(y.square().sum(), [*exact.values()])
    for gradient, one in zip(runs[0], wanted, strict=True):
        same(gradient, one, TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize("frozen", NAMES)
def test_what_is_frozen_gets_nothing_and_the_rest_what_it_got(frozen: str) -> None:
    t = tensors((2, 30, 20, 40, 24), True, torch.float32, torch.float32)
    found = torch.autograd.grad(ours(t, True, True, True, None).sum(), [*t.values()])
    all_of_them = dict(zip(t, found, strict=True))
    t[frozen].requires_grad_(False)
    ours(t, True, True, True, None).sum().backward()
    for name, x in t.items():
        if name == frozen:
            assert x.grad is None
        else:
            assert x.grad is not None
            assert torch.equal(x.grad, all_of_them[name])


def test_large_hidden_values_and_what_is_no_number() -> None:
    one = torch.ones(1, 1)
    x = torch.tensor([[-1e4], [-6.0], [6.0], [1e4]], requires_grad=True)
    y = fused_mlp(x, one, second=(one, None))
    torch.testing.assert_close(y.detach(), F.gelu(x).detach(), atol=1e-5, rtol=1e-6)
    (found,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(found, torch.tensor([[0.0], [0], [1], [1]]), atol=1e-5, rtol=0)
    assert fused_mlp(torch.full((1, 1), torch.nan), one, second=(one, None)).isnan().all()


def test_no_rows() -> None:
    t = tensors((2, 0, 8, 16, 4), True, torch.float32, torch.float32)
    ours(t, True, True, True, None).sum().backward()
    assert all(x.grad is not None and not x.grad.any() for x in t.values())


def test_fake_tensors_have_the_shapes_of_real_ones() -> None:
    for two in (True, False):
        t = tensors((2, 6, 8, 16, 4), two, torch.float32, torch.float32)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake: dict[str, Tensor] = {name: mode.from_tensor(x) for name, x in t.items()}
            y = ours(fake, two, True, True, None)
            assert y.shape == (2, 6, 4)
            y.sum().backward()


def test_a_second_backward_pass_is_refused() -> None:
    t = tensors((2, 6, 8, 16, 4), True, torch.float32, torch.float32)
    y = ours(t, True, True, False, None)
    (gradient,) = torch.autograd.grad(y.square().sum(), t["x"], create_graph=True)
    with pytest.raises(RuntimeError, match=r"fused_mlp_backward"):
        gradient.sum().backward()


def test_a_type_it_does_not_serve_is_refused() -> None:
    with refuses("torch.float64", "the model's own layers"):
        fused_mlp(torch.ones(1, 2, dtype=torch.float64), torch.ones(2, 2))


def model_and_copy(kind: str = "2-D", **changes: Any) -> tuple[nn.Module, nn.Module]:
    model = small(kind, **changes)
    made = with_same_parameters(model)
    train_fused(made)
    return model.train(), made.train()


def steps(model: nn.Module, made: Any, x: Tensor, **autocast: Any) -> float:
    """Return how far apart the gradients of both are."""
    found = []
    for one in (model, made):
        torch.manual_seed(7)
        with torch.autocast("cpu", **autocast):
            loss = one(x).float().square().sum()
        found.append(torch.autograd.grad(loss, [*model.parameters()], allow_unused=True))
    flat = [torch.cat([g.flatten() for g in one if g is not None]) for one in found]
    return ((flat[0] - flat[1]).norm() / flat[0].norm()).item()


@pytest.mark.parametrize("kind", ["1-D", "2-D", "3-D"])
def test_models_of_every_rank(kind: str) -> None:
    model, made = model_and_copy(kind, drop_path=0.4)
    assert list(made.state_dict()) == list(model.state_dict())
    assert all(a is b for a, b in zip(model.parameters(), made.parameters(), strict=True))
    assert any(type(module) is TrainingBlock for module in made.modules())
    assert not any(type(module) is TrainingBlock for module in model.modules())
    assert steps(model, made, odd_input(kind), enabled=False) < 1e-5


@pytest.mark.parametrize("padding", ["visible", "masked"])
def test_padding_is_what_it_was(padding: str) -> None:
    model, made = model_and_copy(padding=padding)
    assert steps(model, made, odd_input("2-D"), enabled=False) < 1e-5


def test_an_attention_that_is_watched_composes_behind_its_norm() -> None:
    model, made = model_and_copy(padding="visible")
    seen = []
    for module in made.modules():
        if type(module).__name__ == "Attend":
            module.register_forward_hook(lambda *_: seen.append(1))
    assert steps(model, made, odd_input("2-D"), enabled=False) < 1e-5
    assert seen


def test_autocast_keeps_to_its_type() -> None:
    model, made = model_and_copy()
    x = odd_input("2-D")
    with torch.autocast("cpu", torch.bfloat16):
        assert made(x).dtype == model(x).dtype == torch.bfloat16
    exact = [p.detach().clone() for p in model.parameters()]
    assert steps(model, made, x, dtype=torch.bfloat16) < 0.05
    assert all(torch.equal(a, b) for a, b in zip(exact, model.parameters(), strict=True))


def test_checkpointing_changes_nothing() -> None:
    _, made = model_and_copy(drop_path=0.3)
    block = next(m for m in made.modules() if type(m) is TrainingBlock)
    dim = block.norm1.normalized_shape[0]
    x = torch.randn(2, 8, 8, dim, generator=torch.Generator().manual_seed(3), requires_grad=True)
    found = []
    for run in (block, lambda x: checkpoint(block, x, use_reentrant=False)):
        torch.manual_seed(5)
        found.append(torch.autograd.grad(run(x).square().sum(), [x, *block.parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_dropout_within_a_perceptron_is_left_to_the_layers() -> None:
    made = TrainingMlp(8, 16, drop=0.5)
    x = torch.randn(64, 8)
    assert made.train().served(x) is None
    assert (made(x) == 0).float().mean() > 0.3
    assert made.eval().served(x) is x


def test_other_types_and_layers_compute_as_they_do() -> None:
    _, made = model_and_copy()
    made.double()
    assert made(odd_input("2-D").double()).dtype == torch.float64
    config = PVTV2Config(dims=(8, 16), depths=(1, 1), num_heads=(1, 2), mlp_ratios=(2.0, 2.0),
                         reductions=((4, 4), (2, 2)), num_classes=5)  # fmt: skip
    model = drawn(pvt_v2.PVTV2(config))
    made = with_same_parameters(model)
    train_fused(made)
    assert steps(model, made, torch.randn(2, 3, 40, 33), enabled=False) < 1e-5


def test_under_autocast_a_norm_reads_the_stream_as_it_is() -> None:
    _, made = model_and_copy()
    block = next(m for m in made.modules() if type(m) is TrainingBlock).eval()
    dim = block.norm1.normalized_shape[0]
    x = 50 + torch.randn(2, 8, 8, dim, generator=torch.Generator().manual_seed(3))
    exact = block(x) - x
    with torch.autocast("cpu", torch.bfloat16):
        found = block(x).float() - x
    assert (found - exact).norm() < 0.03 * exact.norm()


def test_numbers_do_not_depend_on_the_default_type() -> None:
    model, made = model_and_copy()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert steps(model, made, odd_input("2-D").float(), enabled=False) < 1e-5
    finally:
        torch.set_default_dtype(before)


def test_a_weight_behind_values_far_below_zero_learns_nothing() -> None:
    x = torch.full((4, 3), -1e4)
    first = torch.eye(3)
    second = torch.ones(2, 3, requires_grad=True)
    fused_mlp(x, first, second=(second, None)).sum().backward()
    assert second.grad is not None
    assert second.grad.abs().max() < 1e-4


@pytest.mark.parametrize(
    ("change", "facts", "fix"),
    [
        ({"x": torch.zeros(2, 4)}, "an input of 4 channels", "what it was made for"),
        ({"second": (torch.zeros(2, 6), None)}, "6 inputs behind 5 outputs", "hidden width"),
        ({"add": torch.zeros(2, 3)}, "a sum with", "outside"),
        ({"factor": torch.zeros(3)}, "factors", "leave them out"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, facts: str, fix: str) -> None:
    given = {"x": torch.zeros(2, 7), "weight": torch.zeros(5, 7), **change}
    with refuses(facts, fix):
        fused_mlp(given.pop("x"), given.pop("weight"), **given)


@pytest.mark.compile
def test_it_compiles_in_one_graph() -> None:
    _, made = model_and_copy()
    x = odd_input("2-D")
    whole = torch.compile(made, fullgraph=True, backend="aot_eager")
    assert steps(made, whole, x, enabled=False) < 1e-6
