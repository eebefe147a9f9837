"""ViT against timm and torchvision: true widths."""

from typing import Any

import pytest
import torch

from vitrail.models.vit import ViT, ViTConfig
from vitrail.weights import load, to_format

timm = pytest.importorskip("timm.models.vision_transformer")
torchvision = pytest.importorskip("torchvision.models")

SMALL = {"dim": 24, "depth": 3, "heads": 4}
TINY = {"dim": 192, "depth": 12, "heads": 3}


def from_timm(dim, depth, heads, size=(64, 96), patch=16, **options):
    return timm.VisionTransformer(
        img_size=size, patch_size=patch, embed_dim=dim, depth=depth, num_heads=heads,
        num_classes=10, **options,
    )  # fmt: skip


def from_torchvision(dim, depth, heads, size=64, patch=16):
    return torchvision.VisionTransformer(size, patch, depth, heads, dim, 4 * dim, num_classes=10)


@pytest.mark.parametrize(
    ("size", "variant"),
    [
        pytest.param((64, 96), SMALL, id="small"),
        pytest.param((64, 64), {**SMALL, "patch": 8}, id="patch 8"),
        pytest.param((64, 96), {**SMALL, "qkv_bias": False, "mlp_ratio": 3}, id="no biases"),
        pytest.param((32, 48), {**TINY}, id="tiny"),
    ],
)
def test_timm(twins, size, variant):
    twins(lambda: from_timm(size=size, **variant)).check(*size)


def test_timm_pads_what_the_patch_does_not_divide(twins):
    pair = twins(lambda: from_timm(**SMALL, dynamic_img_size=True, dynamic_img_pad=True))
    pair.check(51, 83)
    # timm resizes positions in float32, whatever the model's type.
    pair.check(35, 99, double=False)
    pair.check(120, 200, double=False)


@pytest.mark.parametrize("variant", [SMALL, {**SMALL, "patch": 8}, TINY])
def test_torchvision(twins, variant):
    twins(lambda: from_torchvision(**variant)).check(64, 64)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "timm": (lambda: from_timm(size=(64, 64), **SMALL), {"norm_eps": 1e-6}),
    "torchvision": (lambda: from_torchvision(**SMALL), {"norm_eps": 1e-6}),
}


@pytest.mark.parametrize("name", CASES)
def test_both_directions_of_state_dicts(draw, worst, name):
    build, fields = CASES[name]
    peer = draw(build().double()).eval()
    ours = ViT(ViTConfig(
        dim=24, depths=(3,), num_heads=(4,), positions=(4, 4), num_classes=10, **fields
    )).double().eval()  # fmt: skip
    report = load(ours, peer.state_dict())
    assert not report.entries
    assert set(report.loaded) == set(ours.state_dict())
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert worst(ours, peer, x) < 1e-9
    draw(ours, seed=1)
    assert worst(ours, peer, x) > 1e-3
    peer.load_state_dict(to_format(ours, name), strict=True)
    assert worst(ours, peer, x) < 1e-9
