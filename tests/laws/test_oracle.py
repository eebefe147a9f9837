"""A layer agrees with dense attention under its pattern's mask, in any rank, on any grid."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import oracle
from tests.support import Case, attention_layer, cases


@given(cases(padding=("masked",)), st.booleans())
def test_a_layer_equals_dense_attention(case: Case, cosine: bool) -> None:
    layer = attention_layer(case.pattern, cosine=cosine)
    x = case.tokens()
    with torch.no_grad():
        # float32 coordinates of V2's bias are the only numbers that are not float64.
        torch.testing.assert_close(layer(x), oracle.attend(layer, x), rtol=1e-6, atol=1e-6)


@given(cases(padding=("visible",), rules=("axis",)), st.booleans())
def test_visible_padding_is_a_map_that_ends_in_zeros(case: Case, cosine: bool) -> None:
    layer = attention_layer(case.pattern, cosine=cosine)
    x = case.tokens()
    padding = [0, 0]
    for n, m in zip(reversed(case.spatial), reversed(case.size), strict=True):
        padding += [0, -n % m]
    with torch.no_grad():
        padded = oracle.attend(layer, torch.nn.functional.pad(x, padding))
        expected = padded[(slice(None), *(slice(n) for n in case.spatial))]
        torch.testing.assert_close(layer(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("spatial", [(1, 1), (2, 9), (7, 7), (8, 7), (13, 6)])
def test_a_published_window(cosine: bool, spatial: tuple[int, int]) -> None:
    case = Case(spatial, (7, 7), (3, 3))
    layer = attention_layer(case.pattern, cosine=cosine, dim=8)
    x = case.tokens(dim=8)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), oracle.attend(layer, x), rtol=1e-6, atol=1e-6)
