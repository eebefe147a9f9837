"""Receptive field: the support of the gradient, derived from the patterns alone."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.mechanisms import small_hiera, small_maxvit
from tests.support import drawn, refuses, small
from vitrail import create_model
from vitrail.analysis import reach, receptive_field
from vitrail.layers import (
    GroupedAttention,
    PrefixTokens,
)
from vitrail.models import PVT, PVTV2, PVTConfig, PVTV2Config
from vitrail.models.focal import Focal, FocalConfig, FocalFast, FocalFastConfig
from vitrail.patterns import Axial, Global, Groups, SparseFixed, SparseStrided
from vitrail.shapes import Size

_PYRAMID: dict[str, Any] = {
    "dims": (8, 8),
    "depths": (2, 2),
    "num_heads": (2, 2),
    "mlp_ratios": (2.0, 2.0),
    "reductions": ((4, 5), (1, 1)),  # which leave rows and columns over
    "num_classes": 5,
}
_FOCAL: dict[str, Any] = {
    "dim": 8,
    "depths": (2, 2),
    "num_heads": (2, 2),
    "windows": ((4, 2), (3, 3)),
    "patch": (2, 2),
    "conv_embed": True,
    "num_classes": 5,
}
_LEVELS: dict[str, Any] = {
    "margins": ((1, 1), (1, 0)),
    "levels": (((3, 1), (1, 3)), ((3, 1),)),
}


def with_attention(make: Callable[[int, int], nn.Module]) -> nn.Module:
    """Return a small Swin whose blocks attend otherwise; ``make`` takes width and block."""
    model = small("2-D", window=(2, 2))
    for stage in cast(Any, model.stages):
        for number, block in enumerate(stage.blocks):
            block.attn = make(block.norm1.normalized_shape[0], number)
    return drawn(model)


def vit() -> nn.Module:
    """Return one stage of standard attention, behind a prefix token."""
    model: Any = with_attention(lambda dim, _: GroupedAttention(dim, 2, Global(prefix=1)))
    del model.stages[1:]
    model.stages[0].prefix = PrefixTokens(8)
    model.norm = model.head = None  # they were as wide as the second stage
    return model


def pvt(**changes: Any) -> nn.Module:
    return PVT(replace(PVTConfig(**_PYRAMID, positions=((4, 5), (2, 3))), **changes))


def pvt_v2(**changes: Any) -> nn.Module:
    return PVTV2(replace(PVTV2Config(**_PYRAMID), **changes))


MODELS: dict[str, tuple[Callable[[], nn.Module], Size]] = {
    "swin": (lambda: small("2-D"), (21, 31)),
    "maxvit": (small_maxvit, (13, 9)),
    "hiera": (lambda: small_hiera(depths=(2, 2, 2)), (21, 15)),
    # The second stage is the block that pools into it: no other block sees what the next one does.
    "hiera of few blocks": (lambda: small_hiera(depths=(1, 1, 2)), (21, 15)),
    "hiera of windows": (
        lambda: small_hiera(depths=(2, 2, 2), windowed=(True,) * 3, window=(4, 9)),
        (22, 11),
    ),
    "swin floor": (lambda: small("2-D", patch_fit="floor", patch_overlap=(1, 1)), (21, 31)),
    "swin visible padding": (lambda: small("2-D", padding="visible"), (21, 31)),
    "swin 1-D": (lambda: small("1-D"), (43,)),
    "swin 3-D": (lambda: small("3-D"), (5, 15, 9)),
    "swin v2": (lambda: small("V2"), (21, 31)),
    "pvt": (pvt, (29, 43)),
    "pvt v2": (pvt_v2, (33, 45)),
    "pvt v2 far": (lambda: pvt_v2(reductions=((50, 50), (50, 50))), (33, 45)),
    "pvt v2 linear": (lambda: pvt_v2(pooled=(2, 3)), (33, 45)),
    "focal": (lambda: Focal(FocalConfig(**_FOCAL, **_LEVELS)), (37, 58)),
    "focal rolled": (
        lambda: Focal(FocalConfig(**_FOCAL, **_LEVELS, halo="rolled", padding="visible")),
        (37, 58),
    ),
    "focal fast": (lambda: FocalFast(FocalFastConfig(**_FOCAL, count=5)), (37, 58)),
    "axial": (
        lambda: with_attention(lambda dim, i: GroupedAttention(dim, 2, Axial(i % 2))),
        (13, 22),
    ),
    "sparse fixed": (
        lambda: with_attention(lambda dim, _: GroupedAttention(dim, 2, SparseFixed())),
        (13, 22),
    ),
    "sparse strided": (
        lambda: with_attention(
            lambda dim, i: GroupedAttention(
                dim, 2, SparseStrided(None, "residue" if i % 2 else "local")
            )
        ),
        (13, 22),
    ),
    "vit": (vit, (13, 22)),
}


Where = tuple[int, int, Size]  # stage, block, place on the grid


def supports(model: nn.Module, size: Size, wanted: dict[Where, int]) -> dict[Where, Tensor]:
    """Return the input samples at which the gradient of each wanted token is not zero."""
    found = {where: torch.zeros(size, dtype=torch.bool) for where in wanted}
    for seed in (0, 1):  # twice, so that no sample is missed by chance
        drawn(model, seed).double().eval()
        generator = torch.Generator().manual_seed(seed)
        image = torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)
        outputs: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for stage, block in {where[:2] for where in wanted}:
                name = f"stages.{stage}.blocks.{block}"
                keep = partial(_keep, outputs, name)
                hooks.callback(model.get_submodule(name).register_forward_hook(keep).remove)
            model(image.requires_grad_())
        for where, token in wanted.items():
            values = outputs[f"stages.{where[0]}.blocks.{where[1]}"].flatten(1, -2)[0, token]
            # Weighed by chance: what a norm returns can have the same sum for all inputs.
            weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
            total = (values * weights).sum()
            (gradient,) = torch.autograd.grad(total, image, retain_graph=True)
            found[where] |= gradient[0].abs().sum(0) > 0
    return found


def _keep(outputs: dict[str, Tensor], name: str, *call: Any) -> None:
    outputs[name] = call[-1]


def places(grid: Size) -> list[Size]:
    """Return the first, a middle and the last place of a grid."""
    return [(0,) * len(grid), tuple(n // 2 for n in grid), tuple(n - 1 for n in grid)]


def number(place: Size, grid: Size) -> int:
    """Return the row-major number of a place."""
    count = 0
    for p, n in zip(place, grid, strict=True):
        count = count * n + p
    return count


@pytest.mark.parametrize("name", MODELS)
def test_reach_is_the_support_of_the_gradient(name: str) -> None:
    make, size = MODELS[name]
    model = make()
    stages = cast(Any, model).stages
    prefixes = [0 if stage.prefix is None else stage.prefix.count for stage in stages]
    wanted = {
        (stage, block, place): prefixes[stage] + number(place, facts.grid)
        for stage, facts in enumerate(receptive_field(model, size).stages)
        for block in range(min(2, len(stages[stage].blocks)))
        for place in places(facts.grid)
    }
    for where, found in supports(model, size, wanted).items():
        assert torch.equal(reach(model, size, *where), found), where


def test_a_prefix_token_sees_what_the_grid_shows_it() -> None:
    model: Any = vit()
    assert reach(model, (13, 22), 0, 0, 0).all()
    model.stages[0].blocks[0].attn.pattern = Alone(1)
    assert not reach(model, (13, 22), 0, 0, 0).any()
    assert reach(model, (13, 22), 0, 1, 0).all()


class Alone(Global):
    """Prefix tokens see themselves, and the grid's tokens one another."""

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        groups = super().groups(spatial, device)
        region = (groups.q_index >= 1).int()
        return Groups(groups.q_index, groups.k_index, region, region)


def test_published_shapes_of_sight() -> None:
    swin = receptive_field(create_model("swin_tiny"), 224)
    assert [stage.grid for stage in swin.stages] == [(56, 56), (28, 28), (14, 14), (7, 7)]
    # Two blocks, the second shifted: the window, and half a window on every side.
    assert swin.stages[0].extent == (14 * 4, 14 * 4)
    assert swin.global_from == (2, 2)
    pvt = receptive_field(create_model("pvt_tiny"), 224)
    assert pvt.global_from == (0, 0)
    assert [stage.least_share for stage in pvt.stages] == [1.0] * 4


def test_what_no_patch_takes_in_is_beyond_all_tokens_and_still_sight_is_global() -> None:
    model = small("2-D", patch_fit="floor", window=(12, 16))
    field = receptive_field(model, (21, 31))
    assert field.global_from == (0, 0)
    assert field.stages[0].extent == (20, 30)
    assert field.stages[0].least_share == pytest.approx(20 * 30 / (21 * 31))


def test_a_token_that_no_key_stands_for_is_not_seen() -> None:
    """PVT drops what its reduction leaves over: sight spans the input and is not global."""
    model = pvt(reductions=((4, 4), (1, 1)))
    stage = receptive_field(model, (9 * 4, 8 * 4)).stages[0]
    assert stage.grid == (9, 8)
    assert stage.least_share == pytest.approx(8 / 9)


def test_numbers_count_from_the_end_too() -> None:
    model = small("2-D")
    facts = reach(model, (21, 31), -1, -1, (2, 3))
    assert torch.equal(facts, reach(model, (21, 31), 1, 1, (2, 3)))


def test_large_inputs_take_no_square_of_memory() -> None:
    """2**18 tokens would need 64 GiB as a matrix of pairs."""
    field = receptive_field(with_attention(lambda dim, i: GroupedAttention(dim, 2, Axial(i % 2))),
                            (1024, 1024))  # fmt: skip
    assert field.global_from == (0, 1)


@pytest.mark.parametrize(
    ("stage", "block", "position", "given", "fix"),
    [
        (2, 0, (0, 0), "stage=2", "use stage=1"),
        (0, -3, (0, 0), "block=-3", "use block=1"),
        (0, 0, (11, 0), "position=(11, 0)", "use position=(5, 8)"),
        (0, 0, (0,), "position=(0,)", "use position=(5, 8)"),
        (0, 0, 0, "position=0", "use position=(5, 8)"),
    ],
)
def test_what_is_not_there_is_refused(
    stage: int, block: int, position: int | Size, given: str, fix: str
) -> None:
    with refuses(given, fix):
        reach(small("2-D"), (21, 31), stage, block, position)


def test_another_model_is_refused() -> None:
    with refuses("Linear", "create_model"):
        receptive_field(nn.Linear(1, 1), 32)


class Largest(TorchDispatchMode):
    """Notes the numbers of the largest tensor that is made."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.untyped_storage().nbytes() // one.element_size())
        return out


@pytest.mark.parametrize(
    ("name", "size", "extent"),
    [
        ("swin_tiny", 16384, (1288, 1288)),
        ("video_swin_tiny", 4096, (192, 1288, 1288)),
        ("focal_fast_tiny", 4096, (4096, 4096)),
        ("maxvit_tiny", 8192, (8192, 8192)),
        ("pvt_v2_b0", 4097, (4097, 4097)),
    ],
)
def test_large_inputs_take_no_more_memory_than_what_is_seen(
    name: str, size: int, extent: Size
) -> None:
    """As masks of all samples these would take 0.3 GB to 70 GB, and Nearest's distances 20 GB."""
    with torch.device("meta"):
        model = create_model(name)
    with Largest() as made:
        assert receptive_field(model, size).stages[-1].extent == extent
    assert made.numel < 1_500_000
