"""Swin V2 against timm, torchvision and transformers: true widths and windows."""

import pytest

timm = pytest.importorskip("timm.models.swin_transformer_v2")
torchvision = pytest.importorskip("torchvision.models.swin_transformer")
transformers = pytest.importorskip("transformers")

TINY = {"depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "embed_dim": 96}
BASE = {"depths": (2, 2, 2, 2), "num_heads": (4, 8, 16, 32), "embed_dim": 128}
SHORT = {**TINY, "depths": (2, 2, 2, 2)}


def from_timm(size, window=8, pretrained=(0, 0, 0, 0), **variant):
    return timm.SwinTransformerV2(
        img_size=size, window_size=window, pretrained_window_sizes=pretrained, num_classes=10,
        **variant,
    )  # fmt: skip


def from_torchvision(window=8, **variant):
    depths, heads, dim = variant["depths"], variant["num_heads"], variant["embed_dim"]
    return torchvision.SwinTransformer(
        [4, 4], dim, list(depths), list(heads), [window, window], num_classes=10,
        block=torchvision.SwinTransformerBlockV2, downsample_layer=torchvision.PatchMergingV2,
    )  # fmt: skip


def from_transformers(size=256, window=8, pretrained=(0, 0, 0, 0), **variant):
    config = transformers.Swinv2Config(
        image_size=size, window_size=window, pretrained_window_sizes=pretrained, num_labels=10,
        **variant,
    )  # fmt: skip
    return transformers.Swinv2ForImageClassification(config)


@pytest.mark.parametrize(
    ("size", "window", "pretrained", "variant"),
    [
        pytest.param((256, 256), 8, (0, 0, 0, 0), TINY, id="tiny"),
        pytest.param((256, 512), 8, (0, 0, 0, 0), SHORT, id="tiny-wide"),
        # At 256 pixels stage 4 has 8 x 8 tokens: timm shrinks its window to 8.
        pytest.param((256, 256), 16, (0, 0, 0, 0), BASE, id="base-w16"),
        pytest.param((384, 384), 24, (12, 12, 12, 6), SHORT, id="tiny-w24-from-12"),
    ],
)
def test_timm(twins, size, window, pretrained, variant):
    pair = twins(lambda: from_timm(size, window, pretrained, **variant))
    pair.check(*size)


@pytest.fixture(scope="module")
def torchvision_tiny(twins):
    return twins(lambda: from_torchvision(**TINY))


@pytest.mark.parametrize("size", [(256, 256), (256, 512), (203, 299), (65, 130)])
def test_torchvision(torchvision_tiny, size):
    torchvision_tiny.check(*size)


@pytest.fixture(scope="module")
def transformers_tiny(twins):
    return twins(lambda: from_transformers(**TINY))


# It decides shift and window for the size it is built for, and keeps them at any other: at 301
# by 262 its last stage still does not shift.
@pytest.mark.parametrize("size", [(256, 256), (512, 256), (203, 246), (301, 262)])
def test_transformers(transformers_tiny, size):
    transformers_tiny.check(*size)


def test_transformers_with_window_16_and_a_smaller_pretraining(twins):
    twins(lambda: from_transformers(256, 16, (12, 12, 12, 6), **BASE)).check(256, 250)
