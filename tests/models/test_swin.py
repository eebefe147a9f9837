"""What a configuration says reaches the layer it is about."""

import math
from typing import Any

import pytest
import torch

from tests.support import CONFIGS, KINDS, odd_input, small
from vitrail.layers import WindowAttention
from vitrail.models import Backbone, SwinV2, SwinV2Config
from vitrail.patterns import Window


def layers_of(model: Backbone) -> list[list[WindowAttention]]:
    """Return the attention layers of each stage."""
    return [
        [module for module in stage.modules() if isinstance(module, WindowAttention)]
        for stage in model.stages
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_block_is_shifted_by_half_a_window(kind: str) -> None:
    model = small(kind, depths=(3, 2))
    size = CONFIGS[kind].windows[0]
    regular, shifted = (0,) * len(size), tuple(m // 2 for m in size)
    expected = [[regular, shifted, regular], [regular, shifted]]
    found = [[layer.pattern for layer in stage] for stage in layers_of(model)]
    assert found == [[Window(size, shift) for shift in stage] for stage in expected]


def test_each_stage_has_its_own_window_and_rule() -> None:
    model = small("2-D", window=((3, 4), (5, 2)), shift_rule=("clamp", "axis"), padding="visible")
    first, second = ([layer.pattern for layer in stage] for stage in layers_of(model))
    assert first[1] == Window((3, 4), (1, 2), "visible", "clamp")
    assert second[1] == Window((5, 2), (2, 1), "visible", "axis")


def test_coordinates_of_each_stage_are_those_of_pre_training() -> None:
    config = SwinV2Config(
        dim=8, depths=(1, 1), num_heads=(2, 2), window=(8, 8), pretrained_window=((6, 6), (3, 3))
    )
    spans = [layer.bias.normaliser for (layer,) in layers_of(SwinV2(config))]  # type: ignore[union-attr]
    assert spans == [(6, 6), (3, 3)]


@pytest.mark.parametrize("kind", ["2-D", "V2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"padding": "visible"},
        {"mask_value": -1.0},
        {"mlp_ratio": 2.0},
        {"qkv_bias": False},
        {"norm_eps": 0.1},
        {"embed_norm": False},
        {"patch_fit": "floor"},
        {"shift_rule": "never"},
        {"patch_overlap": (1, 0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_choice_matters(kind: str, changes: dict[str, Any]) -> None:
    x = odd_input(kind)
    with torch.no_grad():
        assert not torch.allclose(small(kind, **changes)(x), small(kind)(x), rtol=1e-4)


@pytest.mark.parametrize("kind", ["2-D", "V2"])
def test_the_mask_is_minus_infinity_unless_said_otherwise(kind: str) -> None:
    for given, expected in ((None, -math.inf), (-100.0, -100.0)):
        for stage in layers_of(small(kind, mask_value=given)):
            assert all(layer.attend.mask_value == expected for layer in stage)


def test_the_lookup_of_a_bias_matters_where_windows_shrink() -> None:
    changes: dict[str, Any] = {"window": (5, 5), "shift_rule": "clamp"}
    x = torch.randn(1, 3, 20, 6)
    with torch.no_grad():
        offset, sliced = (
            small("2-D", bias_lookup=lookup, **changes)(x) for lookup in ("offset", "sliced")
        )
    assert not torch.allclose(offset, sliced, rtol=1e-4)


def test_dropping_reaches_its_places() -> None:
    model = small("2-D", drop=0.1, attn_drop=0.2, drop_path=0.3)
    assert model.position_drop.p == 0.1
    (first, last) = (layers_of(model)[0][0], layers_of(model)[-1][-1])
    assert (first.proj_drop.p, first.attend.dropout) == (0.1, 0.2)
    assert (last.proj_drop.p, last.attend.dropout) == (0.1, 0.2)
    blocks = [block for stage in model.stages for block in stage.blocks]  # type: ignore[union-attr]
    assert all(block.mlp.drop.p == 0.1 for block in blocks)
