"""Masked padding is not there: its amount and its content never change a result or a gradient."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.support import Case, attention_layer, cases, drawn, odd_input, small
from vitrail.attention import BACKENDS, attend


@given(cases(padding=("masked",), rules=("axis",)), st.booleans())
def test_padding_up_to_a_window_equals_clamping_the_window(case: Case, cosine: bool) -> None:
    padded = attention_layer(case.pattern, cosine=cosine)
    clamped = attention_layer(case._replace(rule="clamp").pattern, cosine=cosine)
    x = case.tokens()
    with torch.no_grad():
        torch.testing.assert_close(padded(x), clamped(x))


@pytest.mark.parametrize("backend", BACKENDS)
@given(tokens=st.integers(1, 5), more=st.integers(1, 4), mask_value=st.sampled_from([None, -100.0]))
def test_more_padding_changes_nothing(
    backend: str, tokens: int, more: int, mask_value: float | None
) -> None:
    generator = torch.Generator().manual_seed(tokens)
    q, k, v = torch.randn(3, 2, 3, 2, tokens + more, 4, generator=generator)
    bias = torch.randn(2, tokens + more, tokens + more, generator=generator)
    labels = torch.zeros(1, 3, tokens + more, dtype=torch.int32)
    labels[..., tokens:] = -1
    options = {} if mask_value is None else {"mask_value": mask_value}
    with_padding = attend(
        q, k, v, scale=0.5, bias=bias, region=(labels, labels), backend=backend, **options
    )
    q, k, v = (part[..., :tokens, :] for part in (q, k, v))
    without = attend(q, k, v, scale=0.5, bias=bias[:, :tokens, :tokens], backend=backend)
    torch.testing.assert_close(with_padding[..., :tokens, :], without, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_finite_where_a_whole_window_is_padding(backend: str) -> None:
    parts = [torch.randn(2, 3, 2, 4, 4, requires_grad=True) for _ in range(3)]
    bias = torch.randn(2, 4, 4, requires_grad=backend == "reference")
    labels = torch.zeros(1, 3, 4, dtype=torch.int32)
    labels[:, 1] = -1
    out = attend(*parts, scale=0.5, bias=bias, region=(labels, labels), backend=backend)
    out[:, [0, 2]].square().sum().backward()
    for part in parts:
        assert part.grad is not None
        assert part.grad.isfinite().all()
        assert part.grad[:, [0, 2]].any()
        assert not part.grad[:, 1].any()
    if bias.requires_grad:
        assert bias.grad is not None
        assert bias.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["1-D", "2-D", "3-D", "V2"])
def test_gradients_of_tiny_maps_are_finite(kind: str) -> None:
    """Maps of one token: nearly every place of every window is padding."""
    model = small(kind).train()
    axes = model.config.axes
    for lengths in itertools.islice(itertools.product((1, 5), repeat=axes), 3):
        model.zero_grad()
        model(torch.randn(2, 3, *lengths)).square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_what_the_patch_pads_is_zeros_at_the_end() -> None:
    model = small("2-D")
    x = odd_input("2-D")
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(F.pad(x, (0, 1, 0, 1))))


def test_the_order_of_padded_axes_does_not_matter() -> None:
    """A map and its mirror image across the diagonal, with windows and biases mirrored too."""
    case = Case((5, 7), (3, 4), (1, 2))
    layer = drawn(attention_layer(case.pattern))
    mirrored = attention_layer(Case((7, 5), (4, 3), (2, 1)).pattern)
    state = layer.state_dict()
    state["bias.table"] = state["bias.table"].view(5, 7, -1).transpose(0, 1).flatten(0, 1)
    mirrored.load_state_dict(state)
    x = case.tokens()
    with torch.no_grad():
        torch.testing.assert_close(mirrored(x.transpose(1, 2)), layer(x).transpose(1, 2))
