"""Attention to a reduced grid: what `allowed` says, by values and by gradients, in every rank."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tests.support import drawn, refuses
from vitrail.layers import DepthwiseMlp, ReductionAttention
from vitrail.patterns import Global, Pooled, Reduced
from vitrail.shapes import Size

Who = Reduced | Pooled | Global


def layer_of(pattern: Who, dim: int = 4, num_heads: int = 2, **options: Any) -> ReductionAttention:
    return drawn(ReductionAttention(dim, num_heads, pattern, **options)).double().eval()


def tokens(spatial: Size, batch: int = 2, dim: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, *spatial, dim, generator=generator, dtype=torch.float64)


def cells_by_hand(layer: ReductionAttention, x: Tensor, pattern: Who, spatial: Size) -> Tensor:
    """Return the pooled keys' inputs, cell by cell, from nothing but the boxes of the pattern."""
    groups = pattern.groups_with_boxes(spatial)
    assert groups.k_box is not None
    assert layer.sr is not None
    assert layer.norm is not None
    cells = []
    for box in groups.k_box[0].tolist():
        spans = [slice(a, b) for a, b in zip(box[::2], box[1::2], strict=True)]
        part = x[:, *spans].movedim(-1, 1)
        if isinstance(pattern, Pooled):
            cell = layer.sr.weight.flatten(1) @ part.flatten(2).mean(-1)[..., None]
        else:
            assert isinstance(pattern, Reduced)
            weight = layer.sr.weight[:, :, *(slice(0, b.stop - b.start) for b in spans)]
            cell = weight.flatten(1) @ part.flatten(1)[..., None]
        cells.append(cell[..., 0] + layer.sr.bias)
    out = layer.norm(torch.stack(cells, 1))
    return F.gelu(out) if isinstance(pattern, Pooled) else out


def by_hand(layer: ReductionAttention, x: Tensor, pattern: Who) -> Tensor:
    """Write the layer once more, dense, from what `allowed` says."""
    spatial = tuple(x.shape[1:-1])
    grid = (x.shape[1] - pattern.prefix,) if pattern.prefix else spatial
    flat = x.flatten(1, -2)
    allowed = pattern.allowed(grid)
    pooled = allowed.shape[1] - flat.shape[1]
    keys = flat if layer.sr is None else cells_by_hand(layer, x, pattern, spatial)
    allowed = allowed[:, -pooled:] if pooled else allowed
    k, v = (
        part.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)
        for part in layer.kv(keys).chunk(2, dim=-1)
    )
    q = layer.q(flat).unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~allowed, -math.inf)
    out = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return layer.proj(out).unflatten(1, spatial)


def influence(layer: ReductionAttention, x: Tensor) -> Tensor:
    """Return ``[outputs, inputs]``: how strongly the output of a token answers to each input."""
    x = x.detach().requires_grad_()
    out = layer(x)
    facts = (out @ torch.linspace(0.5, 1.5, out.shape[-1], dtype=out.dtype)).flatten()
    each = torch.eye(len(facts), dtype=out.dtype)
    (gradient,) = torch.autograd.grad(facts, x, each, is_grads_batched=True)
    return gradient.flatten(1, -2).norm(dim=-1)


def tokens_seen(pattern: Who, spatial: Size) -> Tensor:
    """Return ``[queries, tokens]``: a token is seen through the cells whose box it lies in."""
    count = math.prod(spatial)
    allowed, groups = pattern.allowed(spatial), pattern.groups_with_boxes(spatial)
    if groups.k_box is None:
        return allowed
    # A token also shapes its own query, which matters where there are keys to choose from.
    several = len(groups.k_box[0].unique(dim=0)) > 1
    seen = torch.eye(count, dtype=torch.bool) & several
    place = torch.cartesian_prod(*(torch.arange(n) for n in spatial)).view(-1, len(spatial))
    for cell, box in enumerate(groups.k_box[0]):
        low, high = box[::2], box[1::2]
        inside = ((place >= low) & (place < high)).all(-1)
        seen |= allowed[:, count + cell, None] & inside
    return seen


@st.composite
def cases(draw: st.DrawFn) -> tuple[bool, Size, Size]:
    axes = draw(st.integers(1, 3))
    longest = {1: 14, 2: 7, 3: 4}[axes]
    size = tuple(draw(st.integers(1, 4)) for _ in range(axes))
    spatial = tuple(draw(st.integers(1, longest)) for _ in range(axes))
    return draw(st.booleans()), size, spatial


@given(cases())
@settings(max_examples=40)
def test_values_and_gradients_are_what_the_pattern_allows(case: tuple[bool, Size, Size]) -> None:
    """Axes shorter than a reduction, and tokens left over at the end of an axis, among them."""
    pooled, size, spatial = case
    pattern = Pooled(size) if pooled else Reduced(size)
    layer, x = layer_of(pattern), tokens(spatial)
    if pooled or max(size) > 1:
        torch.testing.assert_close(layer(x), by_hand(layer, x, pattern))
    seen = influence(layer, x[:1]) > 1e-12
    assert torch.equal(seen, tokens_seen(pattern, spatial))


@pytest.mark.parametrize("spatial", [(9,), (4, 5), (2, 3, 2)])
def test_nothing_reduced_is_standard_attention(spatial: Size) -> None:
    layer, x = layer_of(Global()), tokens(spatial)
    assert layer.sr is None
    assert layer.norm is None
    torch.testing.assert_close(layer(x), by_hand(layer, x, Global()))
    one = ReductionAttention(4, 2, Reduced((1,) * len(spatial))).double().eval()
    one.load_state_dict(layer.state_dict())
    assert torch.equal(one(x), layer(x))


def test_prefix_tokens_are_queries_and_keys() -> None:
    pattern = Global(prefix=2)
    layer, x = layer_of(pattern), tokens((2 + 7,))
    torch.testing.assert_close(layer(x), by_hand(layer, x, pattern))
    assert (influence(layer, x[:1]) > 0).all()


def test_prefix_tokens_beside_a_reduction_are_refused() -> None:
    with refuses("prefix=1 beside reduction=(2, 2)", "use prefix=0"):
        ReductionAttention(4, 2, Reduced((2, 2), prefix=1))


@pytest.mark.parametrize("spatial", [(1, 1), (3, 20), (8, 8), (17, 9)])
def test_the_keys_are_never_none(spatial: Size) -> None:
    layer = layer_of(Reduced((8, 8)))
    cells = layer.reduce(tokens(spatial))
    assert cells.shape[1:-1] == tuple(max(1, n // 8) for n in spatial)
    assert layer(tokens(spatial)).isfinite().all()


def test_attention_is_called_in_the_order_of_the_pattern() -> None:
    pattern = Reduced((2, 3))
    layer = layer_of(pattern)
    shapes: list[tuple[int, ...]] = []
    layer.attend.register_forward_pre_hook(lambda _, qkv: shapes.extend(t.shape for t in qkv))
    layer(tokens((5, 7)))
    groups = pattern.groups_with_boxes((5, 7))
    q, k = groups.q_index.shape[1], groups.k_index.shape[1]
    assert shapes == [(2, 1, 2, q, 2), (2, 1, 2, k, 2), (2, 1, 2, k, 2)]
    assert pattern.scores((5, 7)) == q * k


def test_dropout_works_in_training_only() -> None:
    drops: tuple[dict[str, Any], ...] = ({"attn_drop": 0.5}, {"proj_drop": 0.5})
    for options in drops:
        layer, x = layer_of(Reduced((2, 2)), **options), tokens((5, 6))
        assert torch.equal(layer(x), layer(x))
        layer.train()
        assert not torch.equal(layer(x), layer(x))


def test_without_a_bias_of_queries_keys_and_values() -> None:
    layer = ReductionAttention(4, 2, Reduced((2, 2)), qkv_bias=False, norm_eps=0.1)
    assert layer.q.bias is None
    assert layer.kv.bias is None
    assert layer.norm is not None and layer.norm.eps == 0.1


@pytest.mark.parametrize("spatial", [(6,), (4, 5), (2, 3, 4)])
def test_the_perceptron_looks_at_neighbours_of_its_channel(spatial: Size) -> None:
    mlp = drawn(DepthwiseMlp(4, 6, len(spatial), relu=True)).double().eval()
    x = tokens(spatial)
    hidden = mlp.fc1(x).relu()
    taps = mlp.dwconv.weight[:, 0].movedim(0, -1)  # one number an offset and channel
    padded = F.pad(hidden, (0, 0, *(1, 1) * len(spatial)))
    around = torch.zeros_like(hidden) + mlp.dwconv.bias
    for offset in torch.cartesian_prod(*(torch.arange(3),) * len(spatial)).view(-1, len(spatial)):
        window = [slice(int(o), int(o) + n) for o, n in zip(offset, spatial, strict=True)]
        around = around + padded[:, *window] * taps[*offset]
    torch.testing.assert_close(mlp(x), mlp.fc2(F.gelu(around)))


def test_the_perceptron_drops_and_rectifies_on_request() -> None:
    x = tokens((4, 4))
    plain, relu = (drawn(DepthwiseMlp(4, 6, 2, relu=r)).double() for r in (False, True))
    assert not torch.allclose(plain(x), relu(x))
    dropping = drawn(DepthwiseMlp(4, 6, 2, drop=0.5)).double()
    assert not torch.equal(dropping(x), dropping(x))
    assert torch.equal(dropping.eval()(x), plain(x))
