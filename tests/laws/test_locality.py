"""What a token may see, and nothing else, reaches its output; windows move with the map."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.laws import words
from tests.support import Case, attention_layer, cases
from vitrail.layers import WindowAttention


def influence(layer: WindowAttention, x: Tensor) -> Tensor:
    """Return ``[outputs, inputs]``: how strongly the output of a token answers to each input."""
    x = x.detach().requires_grad_()
    out = layer(x)
    # One weight a channel, so that effects do not cancel.
    weights = torch.linspace(0.5, 1.5, out.shape[-1], dtype=out.dtype)
    numbers = (out @ weights).flatten()
    each = torch.eye(len(numbers), dtype=out.dtype)
    (gradient,) = torch.autograd.grad(numbers, x, each, is_grads_batched=True)
    return gradient.flatten(1, -2).norm(dim=-1)


@given(cases(padding=("masked", "visible")), st.booleans())
@settings(max_examples=40)
def test_gradients_are_zero_exactly_where_the_pattern_says_so(case: Case, cosine: bool) -> None:
    layer = attention_layer(case.pattern, cosine=cosine)
    seen = influence(layer, case.tokens(batch=1)) > 0
    assert torch.equal(seen, words.allowed(case.pattern, case.spatial))


@pytest.mark.parametrize("length", [15, 16, 20, 25])
def test_opposite_edges_never_meet(length: int) -> None:
    """The sizes at which a map that is rolled before it is padded lets them (window 7, shift 3)."""
    case = Case((length,), (7,), (3,))
    seen = influence(attention_layer(case.pattern), case.tokens(batch=1)) > 0
    first, last = torch.arange(length) < 3, torch.arange(length) >= length - 3
    assert not seen[first][:, last].any()
    assert not seen[last][:, first].any()
    assert seen.any(dim=1).all()


def test_samples_of_a_batch_do_not_meet() -> None:
    case = Case((5, 9), (3, 4), (1, 2))
    layer, x = attention_layer(case.pattern), case.tokens(batch=3)
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[1], layer(x[1:2])[0])


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3),
    st.booleans(),
)
def test_windows_move_with_the_map(axes: list[tuple[int, int]], cosine: bool) -> None:
    """Roll a map by one window: what full windows answer moves with it, in every rank."""
    size = tuple(m for m, _ in axes)
    shift = tuple(min(s, m - 1) for m, s in axes)
    case = Case(tuple(3 * m for m in size), size, shift)
    layer, x = attention_layer(case.pattern, cosine=cosine), case.tokens()
    dims = tuple(range(1, len(size) + 1))
    with torch.no_grad():
        stays, moves = layer(x), layer(x.roll(size, dims))
    # Two windows an axis are full before and after; a shift leaves one and two halves.
    full = tuple(slice(s, s + m) for m, s in zip(size, shift, strict=True))
    moved = tuple(slice(s + m, s + 2 * m) for m, s in zip(size, shift, strict=True))
    torch.testing.assert_close(moves[:, *moved], stays[:, *full])
