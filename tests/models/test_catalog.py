"""Every published configuration, with the sizes that its authors publish."""

import pytest
import torch

import vitrail
from tests.support import unchecked
from vitrail.errors import UsageError
from vitrail.models import CATALOG, entry_of

# torchvision's exact counts.
_PARAMETERS = {"swin_tiny": 28_288_354, "swin_small": 49_606_258, "swin_base": 87_768_224}


def _count(name: str) -> int:
    with torch.device("meta"):
        model = vitrail.create_model(name)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", list(_PARAMETERS))
def test_parameters_are_those_published(name: str) -> None:
    assert _count(name) == _PARAMETERS[name]


def test_video_swin_has_torchvision_s_parameters() -> None:
    video = pytest.importorskip("torchvision.models.video")
    with torch.device("meta"):
        peers = {
            "video_swin_tiny": video.swin3d_t(),
            "video_swin_small": video.swin3d_s(),
            "video_swin_base": video.swin3d_b(),
        }
    for name, peer in peers.items():
        assert _count(name) == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("swin_large", "swin_large_patch4_window7_224"),
        ("swin_base_384", "swin_base_patch4_window12_384"),
        ("swin_large_384", "swin_large_patch4_window12_384"),
        ("swin_v2_tiny", "swinv2_tiny_window8_256"),
        ("swin_v2_tiny_w16", "swinv2_tiny_window16_256"),
        ("swin_v2_small", "swinv2_small_window8_256"),
        ("swin_v2_base_w16", "swinv2_base_window16_256"),
        ("swin_v2_base_w12_192", "swinv2_base_window12_192"),
        ("swin_v2_large_w24_384", "swinv2_large_window12to24_192to384"),
    ],
)
def test_parameters_are_timm_s(name: str, peer: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        theirs = timm.create_model(peer)
    assert _count(name) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("name", list(CATALOG))
def test_every_name_builds_for_other_classes_and_channels(name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name, num_classes=7, in_channels=5)
    assert model.name == name
    assert model.num_classes == 7
    first = next(p for p in model.embed.parameters() if p.ndim > 1)  # the stem's convolution
    assert first.shape[1] == 5
    assert len(model.preprocessing.size) == model.config.axes


@pytest.mark.parametrize(
    ("name", "samples"),
    [("swin_nano", (20, 33)), ("swin1d_tiny", (101,)), ("video_swin_tiny", (3, 17, 40))],
)
def test_a_model_of_each_rank_runs(name: str, samples: tuple[int, ...]) -> None:
    model = vitrail.create_model(name, num_classes=4).eval()
    with torch.inference_mode():
        logits = model(torch.randn(2, 3, *samples))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()


def test_window_14_works() -> None:
    with unchecked():
        model = vitrail.create_model("swin_tiny", window=14, depths=(2, 2, 2, 2)).eval()
    assert model.config.windows == ((14, 14),) * 4
    assert model(torch.randn(1, 3, 96, 120)).isfinite().all()


def test_swin_nano_is_small() -> None:
    assert _count("swin_nano") <= 2_500_000


def test_an_unknown_name_shows_the_closest_and_not_all() -> None:
    with pytest.raises(UsageError) as error:
        entry_of("swin_tny")
    assert error.value.given == "model 'swin_tny'"
    start, _, near = error.value.allowed.partition(", the closest ")
    assert start == f"one of {len(CATALOG)} names"
    assert near.split(", ")[0] == "swin_tiny" and 2 <= len(near.split(", ")) <= 4
    assert set(near.split(", ")) <= set(CATALOG)
    assert error.value.fix.startswith("use 'swin_tiny'") and "`vitrail list`" in error.value.fix


def test_a_name_that_is_close_to_none_gets_the_way_to_see_all() -> None:
    with pytest.raises(UsageError) as error:
        entry_of("??")
    assert error.value.allowed == f"one of {len(CATALOG)} names"
    assert "vitrail.list_models()" in error.value.fix
