"""The names of peers: each is a model that the installed package has, and the same one as ours."""

import math

import pytest
import torch
from torch import nn

import vitrail
from tests.support import refuses
from vitrail.models import CATALOG, canonical_name, entry_of
from vitrail.models.aliases import ALIASES, PEER_NAMES

TORCHVISION = ("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b", "swin3d_t",
               "swin3d_s", "swin3d_b", "vit_b_16", "maxvit_t")  # fmt: skip
HUB = tuple(name for name in ALIASES if "/" in name)
TIMM = tuple(name for name in ALIASES if name not in (*TORCHVISION, *HUB))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def ours(name: str) -> int:
    with torch.device("meta"):
        return count(vitrail.create_model(name))


def test_every_name_stands_for_one_model() -> None:
    assert set(PEER_NAMES) <= set(CATALOG)
    assert len(ALIASES) == sum(len(peers) for peers in PEER_NAMES.values())
    assert all(ALIASES[name] == name for name in set(ALIASES) & set(CATALOG))


@pytest.mark.parametrize("name", TIMM)
def test_timm_s_models_have_as_many_parameters(name: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        theirs = timm.create_model(name)
    assert ours(name) == count(theirs)


@pytest.mark.parametrize("name", [name for name in TORCHVISION if name in ALIASES])
def test_torchvision_s_models_have_as_many_parameters(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        theirs = models.get_model(name)
    expected = count(theirs)
    if name == "maxvit_t":  # without two biases, with one more shortcut: fields that weights bring
        assert ours(name) - expected == (64 + 1000) - (64 * 64 + 64)
        return
    if name.startswith("swin_v2"):  # keys have a bias there, which is kept at zero
        config = entry_of(name).config
        expected -= sum(map(math.prod, zip(config.depths, config.stage_dims, strict=True)))
    assert ours(name) == expected


@pytest.mark.parametrize("name", HUB)
def test_hub_repositories_say_the_size_that_we_take(name: str) -> None:
    known = canonical_name(name)
    words = name.partition("/")[2].replace("_", "-").split("-")
    size = next(w for w in words if w in ("tiny", "small", "base", "medium", "large")
                or w in ("b0", "b1", "b2", "b3", "b4", "b5"))  # fmt: skip
    assert size in known.split("_")
    windows = [w for w in words if w.startswith("window")]
    if windows:
        config = entry_of(name).config
        side = int(windows[0].removeprefix("window").partition("to")[2] or windows[0][6:])
        assert config.windows[0] == (side, side)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("swin_tiny_patch4_window7_224", "swin_tiny"),
        ("swin_tiny_patch4_window7_224.ms_in22k_ft_in1k", "swin_tiny"),
        ("timm/swin_tiny_patch4_window7_224.ms_in1k", "swin_tiny"),
        ("hf-hub:timm/swin_tiny_patch4_window7_224.ms_in1k", "swin_tiny"),
        ("swin_t", "swin_tiny"),
        ("microsoft/swin-tiny-patch4-window7-224", "swin_tiny"),
        ("pvt_v2_b2.in1k", "pvt_v2_b2"),
        ("vit_b_16", "vit_base"),
    ],
)
def test_a_model_is_known_by_its_peers_names(given: str, name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(given)
    assert model.name == name
    assert model.config == CATALOG[name].config


def test_what_is_close_to_a_peer_s_name_is_answered_with_its_model() -> None:
    with refuses("swin_tiny_patch4_window8_224", "use 'swin_tiny'"):
        vitrail.create_model("swin_tiny_patch4_window8_224")
    with refuses("vit_base_patch16_384", "use 'vit_base'"):
        vitrail.create_model("vit_base_patch16_384")
    assert vitrail.cost("swin_t", 64) == vitrail.cost("swin_tiny", 64)
