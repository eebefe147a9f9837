"""Swin against timm, torchvision and transformers: true widths and windows."""

import pytest

timm = pytest.importorskip("timm.models.swin_transformer")
torchvision = pytest.importorskip("torchvision.models.swin_transformer")
transformers = pytest.importorskip("transformers")

TINY = {"depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "embed_dim": 96}
BASE = {"depths": (2, 2, 2, 2), "num_heads": (4, 8, 16, 32), "embed_dim": 128}
LARGE = {"depths": (2, 2, 2, 2), "num_heads": (6, 12, 24, 48), "embed_dim": 192}
SHORT = {**TINY, "depths": (2, 2, 2, 2)}


def from_timm(size, window=7, **variant):
    return timm.SwinTransformer(img_size=size, window_size=window, num_classes=10, **variant)


def from_torchvision(window=7, **variant):
    depths, heads, dim = variant["depths"], variant["num_heads"], variant["embed_dim"]
    return torchvision.SwinTransformer(
        [4, 4], dim, list(depths), list(heads), [window, window], num_classes=10
    )


def from_transformers(size=224, window=7, **variant):
    config = transformers.SwinConfig(image_size=size, window_size=window, num_labels=10, **variant)
    return transformers.SwinForImageClassification(config)


@pytest.mark.parametrize(
    ("size", "window", "variant"),
    [
        pytest.param((224, 224), 7, TINY, id="tiny"),
        pytest.param((224, 448), 7, SHORT, id="tiny-wide"),
        pytest.param((384, 384), 12, BASE, id="base-384"),
        pytest.param((224, 224), 7, LARGE, id="large"),
        pytest.param((224, 112), 7, SHORT, id="a map shorter than the window"),
    ],
)
def test_timm(twins, size, window, variant):
    pair = twins(lambda: from_timm(size, window, **variant))
    pair.check(*size)


@pytest.fixture(scope="module")
def torchvision_tiny(twins):
    return twins(lambda: from_torchvision(**TINY))


@pytest.mark.parametrize("size", [(224, 224), (448, 224), (203, 246), (65, 130)])
def test_torchvision(torchvision_tiny, size):
    torchvision_tiny.check(*size)


def test_torchvision_base_with_window_12(twins):
    twins(lambda: from_torchvision(12, **BASE)).check(291, 202)


@pytest.fixture(scope="module")
def transformers_tiny(twins):
    return twins(lambda: from_transformers(**TINY))


@pytest.mark.parametrize("size", [(224, 224), (224, 448), (203, 246), (301, 262)])
def test_transformers(transformers_tiny, size):
    transformers_tiny.check(*size)


def test_transformers_with_window_12(twins):
    twins(lambda: from_transformers(384, 12, **SHORT)).check(384, 390)
