"""Biases by relative position, and the table by absolute position."""

import copy

import pytest
import torch

from tests.support import drawn, refuses
from vitrail.layers import AbsolutePosition, ContinuousBias, RelativeBias
from vitrail.ops.relative import offsets, relative_index

Bias = RelativeBias | ContinuousBias


@pytest.fixture(params=[RelativeBias, ContinuousBias])
def bias(request: pytest.FixtureRequest) -> Bias:
    return drawn(request.param((3, 4), 2))


def test_pairs_of_one_offset_share_a_bias(bias: Bias) -> None:
    found = bias((3, 4))
    assert found.shape == (2, 12, 12)
    seen = {}
    for offset, value in zip(
        offsets((3, 4)).flatten(0, 1).tolist(), found.flatten(1).T.tolist(), strict=True
    ):
        assert seen.setdefault(tuple(offset), value) == value
    assert len({tuple(value) for value in seen.values()}) == len(seen) == 5 * 7


@pytest.mark.parametrize("window", [(1, 1), (2, 4), (3, 2)])
def test_a_smaller_window_has_the_bias_of_the_same_offsets(
    bias: Bias, window: tuple[int, int]
) -> None:
    full = {
        tuple(offset): value
        for offset, value in zip(
            offsets((3, 4)).flatten(0, 1).tolist(), bias((3, 4)).flatten(1).T.tolist(), strict=True
        )
    }
    found = bias(window).flatten(1).T.tolist()
    for offset, value in zip(offsets(window).flatten(0, 1).tolist(), found, strict=True):
        assert full[tuple(offset)] == value


def test_the_sliced_lookup_is_the_corner_of_the_full_bias() -> None:
    bias = drawn(RelativeBias((3, 4), 2, lookup="sliced"))
    assert torch.equal(bias((2, 3)), bias((3, 4))[:, :6, :6])
    assert not torch.equal(bias((2, 3)), drawn(RelativeBias((3, 4), 2))((2, 3)))


def test_a_continuous_bias_lies_between_0_and_16(bias: Bias) -> None:
    if isinstance(bias, ContinuousBias):
        with torch.no_grad():
            for parameter in bias.parameters():
                parameter.mul_(50)
        found = bias((3, 4))
        assert found.min() >= 0
        assert found.max() <= 16
        assert found.max() - found.min() > 1


def test_a_normaliser_stretches_coordinates() -> None:
    plain, stretched = ContinuousBias((4, 4), 2), ContinuousBias((4, 4), 2, normaliser=(8, 8))
    assert plain.coordinates.max() == pytest.approx(torch.log2(torch.tensor(9.0)).item() / 3)
    assert stretched.coordinates.max() < plain.coordinates.max()


def test_buffers_are_made_anew_and_are_no_part_of_a_checkpoint(bias: Bias) -> None:
    assert not {"index", "coordinates"} & set(bias.state_dict())
    with torch.device("meta"):
        ghost = type(bias)((3, 4), 2)
    assert ghost.index.is_meta
    ghost = ghost.to_empty(device="cpu")
    ghost.load_state_dict(bias.state_dict())
    assert torch.equal(ghost.index, relative_index((3, 4)))
    assert torch.equal(ghost((3, 4)), bias((3, 4)))


def test_the_index_stays_whole_numbers_in_half_precision(bias: Bias) -> None:
    half = copy.deepcopy(bias).half()
    assert half.index.dtype == torch.int64
    assert half((3, 4)).dtype == torch.float16
    torch.testing.assert_close(half((3, 4)).float(), bias((3, 4)), rtol=0.02, atol=0.02)


def test_what_cannot_be_is_refused() -> None:
    with refuses("bias_lookup='guess'", "bias_lookup='offset'"):
        RelativeBias((3, 4), 2, lookup="guess")  # type: ignore[arg-type]


def test_absolute_positions_are_added_and_interpolated() -> None:
    layer = drawn(AbsolutePosition((3, 5), 4))
    x = torch.randn(2, 3, 5, 4)
    assert torch.equal(layer(x), x + layer.table)
    larger = torch.zeros(1, 6, 10, 4)
    resized = torch.nn.functional.interpolate(layer.table.movedim(-1, 1), (6, 10), mode="bicubic")
    torch.testing.assert_close(layer(larger), resized.movedim(1, -1))
