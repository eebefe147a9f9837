"""A layer that attends in place is the layer that cuts, gathers and puts together again."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.laws import test_focal
from tests.layers import test_reduction_attention
from tests.layers.test_grouped_attention import Laid, laid, layer_of, tokens
from tests.mechanisms import MECHANISMS
from tests.pyramids import small_pyramid
from tests.support import Case, attention_layer, cases, odd_input, small
from vitrail.analysis import cost
from vitrail.attention import attend_groups
from vitrail.attention.arrange import Heads
from vitrail.layers import Attend, GroupedAttention
from vitrail.models import Backbone
from vitrail.patterns import Focal, Global, Pooled, Reduced, Window


def composed_and_in_place(layer: nn.Module, x: Tensor) -> list[tuple[Tensor, ...]]:
    """Return what a layer or model makes of ``x``, and its gradients, both ways."""
    answers = []
    for backend in (None, "plain"):
        for module in layer.modules():
            if isinstance(module, Attend):
                module.backend = backend
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        wanted = [leaf, *(p for p in layer.parameters() if p.requires_grad)]
        found = torch.autograd.grad(out.sin().sum(), wanted, materialize_grads=True)
        answers.append((out.detach(), *found))
    return answers


def assert_same(layer: nn.Module, x: Tensor) -> None:
    composed, in_place = composed_and_in_place(layer, x)
    for found, expected in zip(in_place, composed, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@given(cases(), st.booleans(), st.sampled_from([-math.inf, -100.0]), st.booleans())
@settings(max_examples=25)
def test_windows(case: Case, cosine: bool, mask_value: float, bias: bool) -> None:
    options: dict[str, Any] = {"mask_value": mask_value, "qkv_bias": bias}
    assert_same(attention_layer(case.pattern, cosine=cosine, **options), case.tokens())


@given(laid(), st.booleans())
@settings(max_examples=20)
def test_lines_and_blocks(case: Laid, bias: bool) -> None:
    if case.name == "window":
        return
    layer = layer_of(case.pattern, len(case.spatial) if bias else None)
    assert_same(layer, tokens(case.spatial))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["visible padding", *test_focal.PATTERNS])
def test_focal_windows(name: str, bias: bool) -> None:
    visible = Focal((4, 3), (2, 2), ((3, 3),), padding="visible")
    pattern = test_focal.PATTERNS.get(name, visible)
    for spatial in ((1, 1, 1), (7, 5, 3)):
        x = test_focal.tokens(spatial[: len(pattern.window)])
        assert_same(test_focal.layer_of(pattern, qkv_bias=bias), x)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("pattern", "axes"),
    [
        (Reduced((2,)), 1),
        (Reduced((2, 3)), 2),
        (Reduced((2, 1, 2)), 3),
        (Pooled((2, 2)), 2),
        (Global(), 2),
        (Global(3), 1),
    ],
    ids=str,
)
def test_a_coarser_grid(pattern: Reduced | Pooled | Global, axes: int, bias: bool) -> None:
    layer = test_reduction_attention.layer_of(pattern, qkv_bias=bias)
    for spatial in ((4, 1, 1), (7, 5, 3), (31, 17, 2)):  # the tokens of one group, and of more
        assert_same(layer, tokens(spatial[:axes]))


@pytest.mark.parametrize("name", MECHANISMS)
def test_whole_models(name: str) -> None:
    model = MECHANISMS[name]().double()
    x = odd_input("2-D", batch=1, dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        for module in model.modules():
            if isinstance(module, Attend):
                module.backend = "plain"
        torch.testing.assert_close(model(x), expected, rtol=1e-8, atol=1e-9)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Say which way each layer goes."""
    seen: list[str] = []

    def noted(name: str, right: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **options: Any) -> Tensor:
            seen.append(name)
            return right(*args, **options)

        return call

    monkeypatch.setattr("vitrail.attention.dispatch.attend_groups", noted("placed", attend_groups))
    monkeypatch.setattr(Attend, "forward", noted("composed", Attend.forward))
    return seen


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "window": lambda: attention_layer(Window((3, 4), (1, 2)), attn_drop=0.5),
    "cosine": lambda: attention_layer(Window((3, 4), (1, 2)), cosine=True, attn_drop=0.5),
    "axial": lambda: layer_of(Laid("axial", 0, (5, 6)).pattern, 2, attn_drop=0.5),
    "fixed": lambda: layer_of(Laid("fixed", 0, (5, 6)).pattern, attn_drop=0.5),
    "focal": lambda: test_focal.layer_of(test_focal.PATTERNS["exact"], attn_drop=0.5),
    "reduced": lambda: test_reduction_attention.layer_of(Reduced((2, 3)), attn_drop=0.5),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_composes_unless_a_kernel_is_named_and_may(name: str, calls: list[str]) -> None:
    layer: Any = LAYERS[name]()
    x = tokens((5, 6))
    layer(x)
    layer.attend.backend = "plain"
    layer(x)
    assert calls == ["composed", "placed"]
    handle = layer.attend.register_forward_pre_hook(lambda *_: None)
    layer(x)  # who watches sees all
    handle.remove()
    layer.train()(x)  # weights are dropped
    layer.eval().attend.backend = "cpp"
    layer(x)  # the kernel has no float64
    assert calls[2:] == ["composed"] * 3


def test_global_attention_has_nothing_to_gain(calls: list[str]) -> None:
    layer = layer_of(Laid("global", 0, (5, 6)).pattern)
    assert isinstance(layer, GroupedAttention)
    layer.attend.backend = "plain"
    layer(tokens((5, 6)))
    assert calls == ["composed"]


def test_a_problem_has_the_type_that_the_projection_returns() -> None:
    attend, x = Attend(), torch.zeros(1, 4, 4, 8)
    given = Window((2, 2), (0, 0)).groups((4, 4)), Heads(2, 4)
    assert attend.problem(x, *given).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert attend.problem(x, *given).dtype == torch.bfloat16
        assert attend.problem(x.double(), *given).dtype == torch.float64
    assert attend.problem(x.to("meta"), *given).device == "meta"


@pytest.mark.parametrize("kind", ["2-D", "V2"])
def test_it_costs_what_the_composition_costs_where_nothing_is_padded(kind: str) -> None:
    model = small(kind)
    size = (24, 32) if kind == "2-D" else (32, 24)
    for module in model.modules():
        if isinstance(module, Attend):
            module.backend = "plain"
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *size))
    assert "vitrail.grouped_attention" in str(counter.get_flop_counts())
    assert counter.get_total_flops() == cost(model, size, training=False).flops.total


def test_padding_is_not_projected() -> None:
    layer = attention_layer(Window((4, 4), (2, 2)))
    counts = []
    for backend in (None, "plain"):
        layer.attend.backend = backend
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            layer(tokens((5, 5), batch=1))
        counts.append(counter.get_total_flops())
    tokens_without, padded = 25, 64
    projections = 2 * 3 * 16  # queries, keys and values of four channels
    assert counts[0] - counts[1] == (padded - tokens_without) * projections


@pytest.mark.compile
@pytest.mark.parametrize(
    "make",
    [
        lambda: small("V2", depths=(2,), num_heads=(2,), drop_path=0.0),
        lambda: small_pyramid("v2 2-D", reductions=((3, 2), (1, 1)), drop_path=0.0),
    ],
    ids=["Swin V2", "PVT v2"],
)
def test_one_graph_without_breaks_that_keeps_no_weights(make: Callable[[], Backbone]) -> None:
    torch._dynamo.reset()
    model = make().train()
    x = odd_input("V2")
    expected = composed_and_in_place(model, x)[1]
    model.set_grad_checkpointing()
    fast = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    leaf = x.clone().requires_grad_()
    out = fast(leaf)
    found = torch.autograd.grad(out.sin().sum(), [leaf, *model.parameters()])
    for one, other in zip((out, *found), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.compile
def test_an_exported_graph_keeps_to_torch_s_operations() -> None:
    model = small("1-D", depths=(2,), num_heads=(2,))
    for module in model.modules():
        if isinstance(module, Attend):
            module.backend = "plain"
    program = torch.export.export(model, (odd_input("1-D"),))
    assert "vitrail" not in str(program.graph)
    torch.testing.assert_close(program.module()(odd_input("1-D")), model(odd_input("1-D")))
