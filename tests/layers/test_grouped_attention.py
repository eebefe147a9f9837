"""Global, axial and sparse layers: by values and by gradients, they are their pattern."""

import math
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.laws import words
from tests.support import drawn, refuses
from vitrail.layers import (
    GroupedAttention,
    OffsetBias,
    WindowAttention,
)
from vitrail.patterns import Axial, Global, Grid, Pattern, SparseFixed, SparseStrided, Window
from vitrail.shapes import Size

Layer = GroupedAttention


class Laid(NamedTuple):
    """The name of a pattern with its number, and a grid to lay it on."""

    name: str
    number: int
    spatial: Size

    @property
    def pattern(self) -> Pattern:
        """The pattern; not made while hypothesis draws, where the shape checker would disturb."""
        block = self.number or None
        return {
            "global": Global(),
            "grid": Grid((2 + self.number % 2, 3, 2)[: len(self.spatial)]),
            "axial": Axial(self.number % len(self.spatial)),
            "fixed": SparseFixed(block),
            "local": SparseStrided(block, "local"),
            "residue": SparseStrided(block, "residue"),
            "window": Window((3,) * len(self.spatial), (1,) * len(self.spatial)),
        }[self.name]


NAMES = ("global", "grid", "axial", "fixed", "local", "residue", "window")


@st.composite
def laid(draw: st.DrawFn) -> Laid:
    """Draw a pattern, and a grid of one, two or three axes, of one token or more."""
    count = draw(st.integers(1, 3))
    spatial = tuple(draw(st.integers(1, {1: 20, 2: 7, 3: 4}[count])) for _ in range(count))
    return Laid(draw(st.sampled_from(NAMES)), draw(st.integers(0, 6)), spatial)


def layer_of(pattern: Pattern, axes: int | None = None, **options: Any) -> Layer:
    """Return the layer of a pattern in float64, with drawn weights; a bias if ``axes`` is given."""
    bias = None if axes is None else OffsetBias(axes, 2, hidden=4)
    kind = WindowAttention if isinstance(pattern, Window) else GroupedAttention
    return drawn(kind(4, 2, pattern, bias=bias, **options)).double().eval()  # type: ignore[arg-type]


def tokens(spatial: Size, dim: int = 4, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, *spatial, dim, generator=generator, dtype=torch.float64)


def dense(layer: Layer, x: Tensor) -> Tensor:
    """Return what ``layer`` must return, from the words of its pattern."""
    spatial = tuple(x.shape[1:-1])
    q, k, v = (
        part.unflatten(-1, (2, -1)).transpose(1, 2)
        for part in layer.qkv(x.flatten(1, -2)).chunk(3, dim=-1)
    )
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if isinstance(layer.bias, OffsetBias):
        place = torch.cartesian_prod(*(torch.arange(n) for n in spatial)).view(-1, len(spatial))
        offset = (place[:, None] - place[None, :]).double()
        if isinstance(layer.pattern, Grid):
            offset = offset / torch.tensor(layer.pattern.fit(spatial))
        near = offset.sign() * (1 + offset.abs()).log() / math.log(8)
        scores = scores + (16 * layer.bias.mlp(near).sigmoid() - 8).permute(2, 0, 1)
    grid = (spatial[0] - layer.pattern.prefix,) if layer.pattern.prefix else spatial
    scores = scores.masked_fill(~words.allowed(layer.pattern, grid), -math.inf)
    return layer.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2)).unflatten(1, spatial)


@given(laid(), st.booleans())
@settings(max_examples=60)
def test_a_layer_equals_dense_attention_under_its_pattern(case: Laid, bias: bool) -> None:
    if case.name in ("grid", "window") and not bias:
        return  # theirs is a table
    layer = layer_of(case.pattern, len(case.spatial) if bias else None)
    x = tokens(case.spatial)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), dense(layer, x), rtol=1e-9, atol=1e-9)


@given(laid())
@settings(max_examples=25)
def test_gradients_are_zero_exactly_where_the_pattern_says_so(case: Laid) -> None:
    layer = layer_of(case.pattern, len(case.spatial))
    x = tokens(case.spatial, batch=1).requires_grad_()
    out = layer(x)
    facts = (out @ torch.linspace(0.5, 1.5, 4, dtype=out.dtype)).flatten()
    each = torch.eye(len(facts), dtype=out.dtype)
    (gradient,) = torch.autograd.grad(facts, x, each, is_grads_batched=True)
    seen = gradient.flatten(1, -2).norm(dim=-1) > 0
    assert torch.equal(seen, words.allowed(case.pattern, case.spatial))


@given(laid())
@settings(max_examples=25)
def test_groups_and_keys_come_in_the_pattern_s_order(case: Laid) -> None:
    """What a hook on ``attend`` sees: each query, key and label where ``groups`` says it is."""
    layer = layer_of(case.pattern, len(case.spatial))
    with torch.no_grad():
        # The projections say which token it is, and nothing else.
        layer.qkv.weight.zero_()
        layer.qkv.bias.zero_()
        layer.qkv.weight[:, 0] = 1
    x = torch.zeros(1, math.prod(case.spatial), 4, dtype=torch.float64)
    x[0, :, 0] = torch.arange(x.shape[1])
    seen: dict[str, Any] = {}

    def hook(_: object, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        seen.update(zip(("q", "k", "v"), args, strict=True), **kwargs)

    layer.attend.register_forward_pre_hook(hook, with_kwargs=True)
    layer(x.view(1, *case.spatial, 4))
    groups = case.pattern.groups(case.spatial)
    for name, index in (("q", groups.q_index), ("k", groups.k_index), ("v", groups.k_index)):
        found = seen[name][0, :, 0, :, 0]
        assert found.shape == index.shape
        assert torch.equal(found[index >= 0].long(), index[index >= 0])
    products = seen["q"].shape[1] * seen["q"].shape[3] * seen["k"].shape[3]
    assert products == case.pattern.scores(case.spatial)
    q, k = seen["region"] or [label[None] for label in groups.labels]
    q_region, k_region = groups.labels
    assert torch.equal(
        q[0, ..., :, None] == k[0, ..., None, :], q_region[..., :, None] == k_region[..., None, :]
    )


@pytest.mark.parametrize("name", NAMES)
def test_equal_axes_are_distinguished(name: str) -> None:
    layer, x = layer_of(Laid(name, 0, (4, 4)).pattern, 2), tokens((4, 4))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), dense(layer, x), rtol=1e-9, atol=1e-9)


def test_prefix_tokens_are_tokens_of_the_list() -> None:
    layer = layer_of(Global(prefix=2))
    x = tokens((2 + 15,))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), dense(layer, x), rtol=1e-9, atol=1e-9)


def test_prefix_tokens_have_no_offset() -> None:
    with refuses("prefix=1", "bias=None"):
        GroupedAttention(4, 2, Global(prefix=1), bias=OffsetBias(2, 2))


def test_a_line_of_an_axis_that_is_not_there_is_refused() -> None:
    with refuses("axis=2", "axis=0"):
        layer_of(Axial(2))(tokens((3, 4)))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right(name: str) -> None:
    layer = layer_of(Laid(name, 0, (2, 3)).pattern, 2)
    assert torch.autograd.gradcheck(layer, (tokens((2, 3), batch=1).requires_grad_(),))


@pytest.mark.parametrize("name", NAMES)
def test_options_reach_their_places(name: str) -> None:
    pattern = Laid(name, 0, (4, 5)).pattern
    x = tokens((4, 5))
    assert layer_of(pattern, 2, qkv_bias=False).qkv.bias is None
    drops: tuple[dict[str, Any], ...] = ({"attn_drop": 0.5}, {"proj_drop": 0.5})
    for options in drops:
        layer = layer_of(pattern, 2, **options)
        assert torch.equal(layer(x), layer(x))
        layer.train()
        assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_labels_do_not_turn_into_nan(name: str) -> None:
    """Groups that are mostly padding, in every type, forward and backward."""
    layer = layer_of(Laid(name, 5, (1, 6)).pattern, 2).to(torch.bfloat16)
    x = tokens((1, 6)).to(torch.bfloat16).requires_grad_()
    layer(x).float().square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
