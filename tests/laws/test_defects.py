"""What public implementations get wrong: ours is right, and a test says so when it is not.

Each law below is run twice: as the library is, and with the defect put in, where it must fail.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.laws import mutations, oracle, words
from tests.laws.test_locality import influence
from tests.support import Case, attention_layer, small, unchecked
from vitrail.attention import reference
from vitrail.layers import Mlp, PatchMerging, PreNormBlock

Law = Callable[[], None]


def only_what_the_pattern_allows_is_seen() -> None:
    for case in (
        Case((15,), (7,), (3,)),
        Case((10, 7), (4, 4), (2, 2)),
        Case((9, 6), (4, 3), (2, 1)),
        Case((5, 3, 4), (2, 3, 2), (1, 1, 1)),
    ):
        seen = influence(attention_layer(case.pattern), case.tokens(batch=1)) > 0
        assert torch.equal(seen, words.allowed(case.pattern, case.spatial)), case


def padding_is_not_there() -> None:
    """The amount of padding, which the window's rule for short axes decides, changes nothing."""
    for spatial in ((2, 3), (1, 9)):
        case = Case(spatial, (4, 4), (2, 2))
        layer, x = attention_layer(case.pattern), case.tokens()
        clamped = attention_layer(case._replace(rule="clamp").pattern)
        torch.testing.assert_close(layer(x), clamped(x))


def axes_keep_their_places() -> None:
    """A picture and its mirror image across the diagonal, with windows and weights mirrored."""
    model = small("2-D", window=(3, 4), patch=(2, 2))
    mirrored = small("2-D", window=(4, 3), patch=(2, 2))
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("bias.table"):
            state[name] = value.view(5, 7, -1).transpose(0, 1).flatten(0, 1)
        elif name == "embed.proj.weight":
            state[name] = value.transpose(2, 3)
        elif ".merge." in name:  # the second and the third of four neighbours change places
            parts = value.unflatten(-1, (4, -1))
            state[name] = parts[..., [0, 2, 1, 3], :].flatten(-2)
    mirrored.load_state_dict(state)
    x = torch.randn(2, 3, 26, 36)
    torch.testing.assert_close(mirrored(x.mT), model(x), rtol=1e-4, atol=1e-5)


def sizes_of_the_thread_are_right() -> None:
    """Maps of 15, 16, 20 and 25 tokens: rows of opposite edges fall into one window of timm's."""
    for length in (15, 16, 20, 25):
        case = Case((length,), (7,), (3,))
        layer, x = attention_layer(case.pattern), case.tokens()
        torch.testing.assert_close(layer(x), oracle.attend(layer, x))


def a_shrunken_window_knows_where_its_tokens_lie() -> None:
    for spatial in ((3, 7), (7, 3), (2, 2)):
        case = Case(spatial, (5, 5), (2, 2), rule="clamp")
        layer, x = attention_layer(case.pattern), case.tokens()
        torch.testing.assert_close(layer(x), oracle.attend(layer, x))


def the_last_input_is_forgotten() -> None:
    for rule in ("axis", "clamp", "shortest"):
        case = Case((10, 9), (4, 3), (2, 1), rule=rule)
        layer, x = attention_layer(case.pattern), case.tokens()
        before = layer(x)
        layer(x[:, :2, :2])
        assert torch.equal(layer(x), before)


def the_batch_is_that_of_the_input() -> None:
    case = Case((5, 6), (3, 4), (1, 2))
    layer, x = attention_layer(case.pattern), case.tokens(batch=3)
    layer(x[:1])
    assert layer(x).shape == x.shape


def a_window_of_one_token_has_a_finite_bias() -> None:
    case = Case((4, 6), (1, 3), (0, 1))
    layer, x = attention_layer(case.pattern, cosine=True), case.tokens()
    out = layer(x)
    assert out.isfinite().all()
    torch.testing.assert_close(out, oracle.attend(layer, x), rtol=1e-6, atol=1e-6)


def the_mask_is_added_once() -> None:
    q, k, v = torch.randn(3, 1, 1, 1, 4, 8, dtype=torch.float64)
    region = torch.tensor([[[0, 0, 1, 1]]])
    hidden = region[0, 0][:, None] != region[0, 0][None, :]
    expected = (q @ k.mT - 3.0 * hidden).softmax(-1) @ v
    found = reference.attend(q, k, v, scale=1.0, region=(region, region), mask_value=-3.0)
    torch.testing.assert_close(found, expected)


def neighbours_merge_first_axis_fastest() -> None:
    """Official order: (row, column) = (0, 0), (1, 0), (0, 1), (1, 1)."""
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    layer = PatchMerging(4, 8, (2, 2)).double()
    padded = torch.nn.functional.pad(x, (0, 0, 0, 1, 0, 1))
    corners = [padded[:, row::2, column::2] for column, row in itertools.product((0, 1), repeat=2)]
    expected = layer.reduction(layer.norm(torch.cat(corners, dim=-1)))
    torch.testing.assert_close(layer(x), expected)


def every_branch_of_a_block_can_be_dropped() -> None:
    case = Case((4, 4), (2, 2), (0, 0))
    block = PreNormBlock(4, attention_layer(case.pattern), Mlp(4, 8), drop_path=0.999999).double()
    x = case.tokens(batch=16)
    torch.manual_seed(0)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)


DEFECTS: list[tuple[Law, Callable[[], Any]]] = [
    (only_what_the_pattern_allows_is_seen, mutations.roll_before_padding),
    (only_what_the_pattern_allows_is_seen, mutations.no_shift_mask),
    (only_what_the_pattern_allows_is_seen, mutations.mask_of_the_unpadded_map),
    (only_what_the_pattern_allows_is_seen, mutations.swapped_axes),
    (padding_is_not_there, mutations.visible_padding),
    (a_shrunken_window_knows_where_its_tokens_lie, mutations.sliced_bias_index),
    (the_last_input_is_forgotten, mutations.window_remembered),
    (the_batch_is_that_of_the_input, mutations.hard_coded_batch),
    (a_window_of_one_token_has_a_finite_bias, mutations.window_of_one_divides_by_zero),
    (the_mask_is_added_once, mutations.mask_added_twice),
    (neighbours_merge_first_axis_fastest, mutations.merge_in_another_order),
    (neighbours_merge_first_axis_fastest, mutations.merge_with_a_neighbour_twice),
    (every_branch_of_a_block_can_be_dropped, mutations.drop_path_on_attention_only),
    (axes_keep_their_places, mutations.swapped_axes),
    (sizes_of_the_thread_are_right, mutations.roll_before_padding),
]
LAWS = list(dict.fromkeys(law for law, _ in DEFECTS))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_law_holds(law: Law) -> None:
    law()


@pytest.mark.parametrize(("law", "defect"), DEFECTS, ids=lambda part: part.__name__)
def test_the_law_fails_with_the_defect(law: Law, defect: Callable[[], Any]) -> None:
    with defect(), unchecked(), pytest.raises(AssertionError):
        law()
