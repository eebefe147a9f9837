"""Every implementation of attention equals the reference, in values and in gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitrail.attention import BACKENDS, attend, reference

OTHERS = [name for name in BACKENDS if name != "reference"]
# What two ways of rounding may differ by; half precision is compared with float32's answer.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


@pytest.mark.parametrize("backend", OTHERS)
@given(
    windows=st.integers(1, 3),
    heads=st.integers(1, 3),
    queries=st.integers(1, 17),
    keys=st.integers(1, 17),
    head_dim=st.sampled_from([1, 4, 8, 32]),
    dtype=st.sampled_from(list(TOLERANCE)),
    biased=st.sampled_from([None, "one for all", "one for each"]),
    labelled=st.sampled_from([None, "shared", "each"]),
    mask_value=st.sampled_from([-math.inf, -100.0, -1.5]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients(
    backend: str,
    windows: int,
    heads: int,
    queries: int,
    keys: int,
    head_dim: int,
    dtype: torch.dtype,
    biased: str | None,
    labelled: str | None,
    mask_value: float,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    q = draw(2, windows, heads, queries, head_dim)
    k, v = draw(2, 2, windows, heads, keys, head_dim)
    sets = (windows,) if biased == "one for each" else ()
    bias = draw(*sets, heads, queries, keys) if biased else None
    region = None
    if labelled:
        batch = 1 if labelled == "shared" else 2
        k_region = torch.randint(0, 2, (batch, windows, keys), generator=generator)
        # A query's label is that of some key, so that every query sees at least one.
        chosen = torch.randint(0, keys, (batch, windows, queries), generator=generator)
        region = (k_region.gather(-1, chosen), k_region)
    options = {"scale": head_dim**-0.5, "bias": bias, "region": region, "mask_value": mask_value}
    wide = [part.detach().float().clone().requires_grad_() for part in (q, k, v)]
    narrow = [part.detach().clone().requires_grad_() for part in (q, k, v)]
    expected = reference.attend(*wide, **options)
    found = attend(*narrow, **options, backend=backend)
    assert found.dtype == dtype
    weights = torch.randn(found.shape, generator=generator)
    (expected * weights).sum().backward()
    (found * weights.to(dtype)).sum().backward()
    tolerance = TOLERANCE[dtype]
    _close(found, expected.detach(), tolerance)
    for ours, theirs in zip(narrow, wide, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        _close(ours.grad, theirs.grad, 2 * tolerance)


def _close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    scale = max(1.0, expected.abs().max().item())
    assert (found.float() - expected).abs().max().item() <= tolerance * scale


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bias", [True, False])
def test_every_query_of_a_window_of_many_regions(backend: str, bias: bool) -> None:
    q, k, v = torch.randn(3, 1, 1, 2, 6, 8)
    region = torch.tensor([[[0, 0, 1, 1, -1, -1]]])
    added = torch.randn(2, 6, 6) if bias else None
    together = attend(q, k, v, scale=1.0, bias=added, region=(region, region), backend=backend)
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        own = None if added is None else added[:, part, part]
        alone = attend(q[..., part, :], k[..., part, :], v[..., part, :], scale=1.0, bias=own)
        torch.testing.assert_close(together[..., part, :], alone, rtol=1e-5, atol=1e-5)
