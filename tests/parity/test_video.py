"""Video Swin against torchvision's swin3d: true widths and windows."""

import pytest

torchvision = pytest.importorskip("torchvision.models.video.swin_transformer")


@pytest.fixture(scope="module")
def tiny(twins):
    return twins(
        lambda: torchvision.SwinTransformer3d(
            [2, 4, 4], 96, [2, 2, 2, 2], [3, 6, 12, 24], [8, 7, 7], num_classes=10
        )
    )


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((16, 112, 112), id="a multiple of the window but in time"),
        pytest.param((32, 112, 56), id="shifted in time"),
        # Windows shrink along every axis: the bias is looked up by a corner of its index.
        pytest.param((8, 56, 56), id="shrunk windows"),
        pytest.param((19, 75, 62), id="neither patch nor window divides"),
    ],
)
def test_swin3d(tiny, size):
    tiny.check(*size)


def test_swin3d_at_its_native_size(tiny):
    # In float32 only: 50,000 tokens in float64 take half a minute.
    tiny.check(32, 224, 224, double=False)


def test_the_lookup_of_shrunk_windows_is_theirs(tiny):
    assert tiny.ours.config.bias_lookup == "sliced"
    assert tiny.ours.config.shift_rule == "clamp"
