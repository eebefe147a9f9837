"""The specification of attention, against the formula written with loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vitrail.attention import reference

SHAPE = (2, 3, 2, 4, 5)  # batch, windows, heads, tokens, head_dim


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def labels(batch: int, tokens: int = 4, seed: int = 0) -> Tensor:
    """Return labels of which every window has at least two tokens of each that it has."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.randint(-1, 2, (batch, 3, tokens // 2), generator=generator)
    return torch.cat([half, half], dim=-1)


@given(
    batch=st.sampled_from([1, 2]),
    mask_value=st.sampled_from([-math.inf, -100.0, -1.5]),
    seed=st.integers(0, 99),
)
def test_it_is_the_softmax_of_scores_bias_and_mask(
    batch: int, mask_value: float, seed: int
) -> None:
    q, k, v = drawn(3, *SHAPE, seed=seed)
    bias, region = drawn(2, 4, 4, seed=seed), labels(batch, seed=seed)
    found = reference.attend(
        q, k, v, scale=0.3, bias=bias, region=(region, region), mask_value=mask_value
    )
    for b, w, h, i in (
        (b, w, h, i) for b in (0, 1) for w in (0, 2) for h in (0, 1) for i in (0, 3)
    ):
        mine = region[b % batch, w]
        terms = [
            math.exp(
                0.3 * float(q[b, w, h, i] @ k[b, w, h, j])
                + float(bias[h, i, j])
                + (0.0 if mine[i] == mine[j] else mask_value)
            )
            for j in range(4)
        ]
        expected = sum(t * v[b, w, h, j] for j, t in enumerate(terms)) / sum(terms)
        torch.testing.assert_close(found[b, w, h, i], expected)


def test_probabilities_sum_to_one_and_hide_other_regions() -> None:
    q, k = drawn(2, *SHAPE)
    region = labels(1)
    weights = reference.probabilities(q, k, scale=1.0, region=(region, region))
    torch.testing.assert_close(weights.sum(-1), torch.ones(SHAPE[:-1], dtype=torch.float64))
    hidden = (region[..., :, None] != region[..., None, :])[:, :, None].expand_as(weights)
    assert hidden.any()
    assert not weights[hidden].any()
    assert weights[~hidden].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_computes_in_float32_or_wider(
    dtype: torch.dtype,
) -> None:
    q, k, v = drawn(3, *SHAPE).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    assert reference.probabilities(q, k, scale=1.0).dtype == wide
    assert reference.attend(q, k, v, scale=1.0).dtype == dtype


def test_scores_beyond_float16_keep_finite_values_and_gradients() -> None:
    """What makes float16 training overflow: scores of 10,000 are softened in float32."""
    q, k, v = (part.requires_grad_() for part in (drawn(3, *SHAPE) * 50).half().unbind())
    out = reference.attend(q, k, v, scale=20.0)
    assert out.isfinite().all()
    out.float().sum().backward()
    for part in (q, k, v):
        assert part.grad is not None
        assert part.grad.isfinite().all()


def test_a_bfloat16_bias_is_added_in_float32() -> None:
    q, k = drawn(2, *SHAPE, dtype=torch.float32)
    bias = drawn(2, 4, 4).bfloat16()
    found = reference.probabilities(q, k, scale=1.0, bias=bias)
    assert torch.equal(found, reference.probabilities(q, k, scale=1.0, bias=bias.float()))


@pytest.mark.parametrize("mask_value", [-math.inf, -100.0])
def test_gradcheck(mask_value: float) -> None:
    q, k, v = (part.contiguous().requires_grad_() for part in drawn(3, 1, 2, 2, 4, 3).unbind())
    bias = drawn(2, 4, 4).requires_grad_()
    region = labels(1)[:, :2]

    def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return reference.attend(
            q, k, v, scale=0.5, bias=bias, region=(region, region), mask_value=mask_value
        )

    assert torch.autograd.gradcheck(attend, (q, k, v, bias))


def test_keys_may_be_more_than_queries() -> None:
    q, k, v = drawn(2, 3, 2, 4, 5), drawn(2, 3, 2, 7, 5), drawn(2, 3, 2, 7, 5)
    region = (torch.zeros(1, 3, 4, dtype=torch.int32), torch.ones(1, 3, 7, dtype=torch.int32))
    region[1][..., 2] = 0
    out = reference.attend(q, k, v, scale=1.0, bias=drawn(2, 4, 7), region=region)
    torch.testing.assert_close(out, v[..., 2:3, :].expand_as(out))


@pytest.mark.parametrize("dropout", [0.5, 0.9])
def test_dropout_drops_weights_and_keeps_their_mean(dropout: float) -> None:
    q, k = torch.zeros(2, 1, 2000, 1, 8, 4)
    v = torch.ones(1, 2000, 1, 8, 4)
    out = reference.attend(q, k, v, scale=1.0, dropout=dropout)
    assert out.std() > 0.1
    assert abs(out.mean().item() - 1) < 0.05


def test_a_bias_for_each_window_is_added_to_that_window() -> None:
    q, k, v = torch.randn(3, 2, 3, 2, 4, 5, dtype=torch.float64)
    bias = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    together = reference.attend(q, k, v, scale=0.3, bias=bias)
    for window in range(3):
        part = slice(window, window + 1)
        alone = reference.attend(q[:, part], k[:, part], v[:, part], scale=0.3, bias=bias[window])
        torch.testing.assert_close(together[:, part], alone)
