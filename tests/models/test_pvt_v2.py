"""PVT v2's own parts; what both versions share is tested in test_pvt.py."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import vitrail
from tests.pyramids import PYRAMIDS, pyramid_input, small_pyramid
from tests.support import refuses
from vitrail.layers import DepthwiseMlp, PatchEmbed, ReductionAttention
from vitrail.models import PVTV2
from vitrail.models.pvt_v2 import PVT_V2_B0
from vitrail.patterns import Global, Pooled, Reduced


def patterns_of(model: nn.Module) -> set[object]:
    return {m.pattern for m in model.modules() if isinstance(m, ReductionAttention)}


def test_patterns_are_those_of_the_config() -> None:
    assert patterns_of(small_pyramid("v2 2-D")) == {Reduced((3, 2)), Reduced((1, 2))}
    with torch.device("meta"):
        assert Global() in patterns_of(vitrail.create_model("pvt_v2_b0"))
        assert patterns_of(vitrail.create_model("pvt_v2_b2_li")) == {Pooled((7, 7))}


def test_only_the_linear_variant_rectifies() -> None:
    for kind, expected in (("v2 2-D", nn.Identity), ("linear 2-D", nn.ReLU)):
        mlps = [m for m in small_pyramid(kind).modules() if isinstance(m, DepthwiseMlp)]
        assert len(mlps) == 4
        assert all(type(m.relu) is expected for m in mlps)


def test_patches_overlap() -> None:
    with torch.device("meta"):
        model = vitrail.create_model("pvt_v2_b0")
    convolutions = [m.proj for m in model.modules() if isinstance(m, PatchEmbed)]
    assert [c.kernel_size for c in convolutions] == [(7, 7), *[(3, 3)] * 3]
    assert [c.stride for c in convolutions] == [(4, 4), *[(2, 2)] * 3]
    assert [c.padding for c in convolutions] == [(3, 3), *[(1, 1)] * 3]


def test_every_stage_ends_with_its_norm() -> None:
    model, x = small_pyramid("v2 2-D"), pyramid_input("v2 2-D")
    assert model.norm is None
    assert torch.equal(model.features(x)[-1], model.forward_features(x))
    assert model.layer_index("stages.1.norm.weight") == 4
    assert model.layer_index("stages.1.merge.proj.weight") == 3
    eps = {n: m.eps for n, m in model.named_modules() if isinstance(m, nn.LayerNorm)}
    assert eps["stages.1.norm"] == eps["stages.1.blocks.0.norm1"] == 1e-6
    assert eps["stages.1.merge.norm"] == eps["stages.0.blocks.0.attn.norm"] == 1e-5


def test_initialisation_is_the_paper_s() -> None:
    torch.manual_seed(0)
    model = PVTV2(PVT_V2_B0)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            expected = pytest.approx(math.sqrt(2 / fan_out), rel=0.15)
            assert module.weight.std().item() == expected, name
            assert module.bias is not None and not module.bias.any(), name
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15), name


@pytest.mark.parametrize(
    ("fields", "given", "fix"),
    [
        ({"pooled": (0, 7)}, "pooled=(0, 7)", "pooled=(1, 7)"),
        ({"patch_kernel": (7,)}, "patch_kernel=(7,)", "patch_kernel=(7, 7)"),
        ({"merge_kernel": 0}, "merge_kernel=0", "merge_kernel=(1, 1)"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        replace(PYRAMIDS["v2 2-D"], **fields)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("b0", 3.7), ("b1", 14.0), ("b2_li", 22.6), ("b2", 25.4), ("b3", 45.2), ("b4", 62.6),
     ("b5", 82.0)],
)  # fmt: skip
def test_parameters_are_those_published(name: str, parameters: float) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(f"pvt_v2_{name}")
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 1) == parameters
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        theirs = timm.create_model(f"pvt_v2_{name}")
    assert count == sum(parameter.numel() for parameter in theirs.parameters())
