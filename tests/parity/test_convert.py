"""Both directions of conversion, through the peers' own modules and their strict loading."""

import pytest
import torch

from vitrail.models import Backbone, Swin, SwinConfig, SwinV2, SwinV2Config
from vitrail.weights import load, to_format

timm = pytest.importorskip("timm.models")
torchvision = pytest.importorskip("torchvision.models")
video = pytest.importorskip("torchvision.models.video.swin_transformer")
transformers = pytest.importorskip("transformers")

NUMBERS = {"depths": (2, 2, 2, 2), "num_heads": (3, 6, 12, 24)}
LISTS = {name: list(numbers) for name, numbers in NUMBERS.items()}
V2 = {
    "block": torchvision.swin_transformer.SwinTransformerBlockV2,
    "downsample_layer": torchvision.swin_transformer.PatchMergingV2,
}
AS_PEERS = {"dim": 24, "num_classes": 10, "padding": "visible", "mask_value": -100.0, **NUMBERS}
CASES = {
    "timm swin": (
        lambda: timm.swin_transformer.SwinTransformer(embed_dim=24, num_classes=10, **NUMBERS),
        lambda: Swin(SwinConfig(**AS_PEERS)),
        (224, 224),
    ),
    "timm swin v2": (
        lambda: timm.swin_transformer_v2.SwinTransformerV2(
            img_size=256, window_size=8, embed_dim=24, num_classes=10, **NUMBERS
        ),
        lambda: SwinV2(SwinV2Config(**AS_PEERS)),
        (256, 256),
    ),
    "torchvision swin": (
        lambda: torchvision.SwinTransformer(
            [4, 4], 24, window_size=[7, 7], num_classes=10, **LISTS
        ),
        lambda: Swin(SwinConfig(patch_fit="floor", **AS_PEERS)),
        (117, 86),
    ),
    "torchvision swin v2": (
        lambda: torchvision.SwinTransformer(
            [4, 4], 24, window_size=[8, 8], num_classes=10, **V2, **LISTS
        ),
        lambda: SwinV2(SwinV2Config(patch_fit="floor", **AS_PEERS)),
        (117, 86),
    ),
    "torchvision video": (
        lambda: video.SwinTransformer3d(
            [2, 4, 4], 24, window_size=[8, 7, 7], num_classes=10, **LISTS
        ),
        lambda: Swin(
            SwinConfig(
                patch=(2, 4, 4), merge=(1, 2, 2), window=(8, 7, 7), shift_rule="clamp",
                bias_lookup="sliced", **AS_PEERS,
            )
        ),
        (9, 62, 56),
    ),
    "transformers swin": (
        lambda: transformers.SwinForImageClassification(
            transformers.SwinConfig(embed_dim=24, num_labels=10, **NUMBERS)
        ),
        lambda: Swin(SwinConfig(shift_rule="shortest", **AS_PEERS)),
        (203, 206),
    ),
    "transformers swin v2": (
        lambda: transformers.Swinv2ForImageClassification(
            transformers.Swinv2Config(
                image_size=256, window_size=8, embed_dim=24, num_labels=10, **NUMBERS
            )
        ),
        lambda: SwinV2(
            SwinV2Config(shift_rule=("always", "always", "always", "never"), **AS_PEERS)
        ),
        (117, 86),
    ),
}  # fmt: skip


def same(worst, ours: Backbone, peer: torch.nn.Module, size: tuple[int, ...]) -> None:
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    assert worst(ours.eval(), peer.eval(), x) < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_theirs_to_ours(draw, worst, name):
    build_peer, build_ours, size = CASES[name]
    peer, ours = draw(build_peer().double()), build_ours().double()
    report = load(ours, peer.state_dict())
    assert not report.entries
    assert set(report.loaded) == set(ours.state_dict())
    same(worst, ours, peer, size)


@pytest.mark.parametrize("name", CASES)
def test_ours_to_theirs(draw, worst, name):
    build_peer, build_ours, size = CASES[name]
    peer, ours = build_peer().double(), draw(build_ours().double())
    converted = to_format(ours, name.split()[0])
    peer.load_state_dict(converted, strict=True)
    same(worst, ours, peer, size)
