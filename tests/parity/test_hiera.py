"""Hiera against timm and transformers: true widths, and small ones at more sizes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vitrail import create_model, from_model
from vitrail.errors import UsageError
from vitrail.models import Backbone, Hiera, HieraConfig
from vitrail.weights import load, to_format

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {"dim": 16, "depths": (1, 2, 2, 1), "num_heads": (1, 2, 4, 8),
                         "num_classes": 10, "positions": (16, 16)}  # fmt: skip


def from_timm(name="hiera_tiny_224", **options):
    small = {"embed_dim": 16, "stages": (1, 2, 2, 1), "num_classes": 10}
    return timm.create_model(
        name, **({"img_size": (64, 64), **small, **options} if options else {})
    )


def from_transformers(kind="ForImageClassification", size=(64, 64), **options):
    small = {"embed_dim": 16, "depths": [1, 2, 2, 1], "num_labels": 10}
    config = transformers.HieraConfig(image_size=list(size), **{**small, **options})
    return getattr(transformers, f"Hiera{kind}")(config)


def maps_of(peer: Any, x: Tensor) -> list[Tensor]:
    """Return the map of each stage, channels last, and what the peer answers."""
    if hasattr(peer, "forward_intermediates"):
        maps = peer.forward_intermediates(x, output_fmt="NHWC", intermediates_only=True)
        return [*maps, peer(x)]
    out = peer(x, output_hidden_states=True)
    answer = out.logits if hasattr(out, "logits") else out.pooler_output
    return [*out.reshaped_hidden_states[1:], answer]


def agree(ours: Backbone, peer: Any, *size: int) -> None:
    """Compare maps and answers in float64 to 1e-9."""
    x = torch.randn(1, ours.config.in_channels, *size, dtype=torch.float64)
    with torch.inference_mode():
        theirs, mine = maps_of(peer, x), [*ours.features(x), ours(x)]
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() < 1e-9 * b.abs().max()


@pytest.mark.parametrize(
    "options",
    [
        {"img_size": (64, 64)},
        {"img_size": (32, 96)},
        {"mask_unit_attn": (True, False, False, False)},
        {"mask_unit_attn": (False, True, True, True)},
        {"in_chans": 1, "num_classes": 0, "num_heads": 2},
        {"stages": (2, 3, 1, 1)},
    ],
)
def test_timm(draw, options):
    peer = draw(from_timm(**options).double()).eval()
    agree(from_model(peer), peer, *options.get("img_size", (64, 64)))


def test_larger_mask_units_of_timm_are_no_windows(draw):
    """Its order makes windows of 8 by 8 tokens only; a unit of two is made of distant halves."""
    peer = from_timm(img_size=(64, 128), mask_unit_size=(8, 16))
    with pytest.raises(UsageError, match=r"mask_unit_size=\(8, 16\)") as error:
        from_model(peer)
    assert "mask_unit_size=(8, 8)" in error.value.fix


def test_timm_as_published(draw):
    peer = draw(from_timm().double()).eval()
    ours = from_model(peer)
    assert ours.name == "hiera_tiny"
    agree(ours, peer, 224, 224)


@pytest.mark.parametrize("name", ["small", "base"])
def test_deeper_models_of_timm_are_recognised_by_name(name):
    with torch.device("meta"):
        peer, ours = from_timm(f"hiera_{name}_224"), create_model(f"hiera_{name}")
        assert from_model(peer).name == f"hiera_{name}"
    written, theirs = to_format(ours, "timm"), peer.state_dict()
    assert {k: v.shape for k, v in written.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("kind", ["ForImageClassification", "Model"])
@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_transformers(draw, kind, size):
    peer = draw(from_transformers(kind, size).double()).eval()
    agree(from_model(peer), peer, *size)


def test_transformers_as_published(draw):
    peer = draw(from_transformers(size=(224, 224), depths=[1, 2, 7, 2], embed_dim=96,
                                  num_labels=1000).double()).eval()  # fmt: skip
    ours = from_model(peer)
    assert ours.name == "hiera_tiny"
    agree(ours, peer, 224, 224)


def test_transformers_at_another_size(draw):
    """Positions are interpolated as there; its encoder works at the size it was built for alone."""
    peer = draw(from_transformers().double()).eval()
    ours, x = from_model(peer), torch.randn(1, 3, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        theirs = peer(x, interpolate_pos_encoding=True).logits
        torch.testing.assert_close(ours(x), theirs, rtol=1e-9, atol=1e-9)


def test_transformers_backbone_is_the_model_it_is_made_of(draw):
    """Its own maps are not: it leaves out the step that orders tokens by windows."""
    names = ["stage2", "stage4"]
    peer: Any = draw(from_transformers("Backbone", out_features=names).double()).eval()
    whole: Any = from_transformers("Model").double().eval()
    whole.load_state_dict(peer.state_dict(), strict=False)
    with pytest.warns(UserWarning, match="does not order its tokens by windows"):
        ours = from_model(peer)
    assert ours.out_indices == (1, 3)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        maps = maps_of(whole, x)
        for index, name, mine in zip((1, 3), names, ours(x), strict=True):
            expected = peer.hidden_states_norms[name](maps[index])
            torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(peer(x).feature_maps[0].movedim(1, -1), ours(x)[0])


CASES = {"timm": lambda: from_timm(num_classes=10), "transformers": from_transformers}


@pytest.mark.parametrize("name", CASES)
def test_both_directions_of_state_dicts(draw, name):
    peer, ours = draw(CASES[name]().double()).eval(), Hiera(HieraConfig(**SMALL)).double().eval()
    report = load(ours, peer.state_dict())
    assert not report.entries
    assert set(report.loaded) == set(ours.state_dict())
    agree(ours, peer, 64, 64)
    draw(ours, seed=1)
    peer.load_state_dict(to_format(ours, name), strict=True)
    agree(ours, peer, 64, 64)


def test_official_names_are_those_of_timm_before_it_renamed_the_head(draw):
    ours = draw(Hiera(HieraConfig(**SMALL)))
    written, theirs = to_format(ours, "official"), to_format(ours, "timm")
    renamed = {k.replace("head.fc", "head.projection").replace("head.norm", "norm"): v
               for k, v in theirs.items()}  # fmt: skip
    assert written.keys() == renamed.keys()
    again = Hiera(HieraConfig(**SMALL))
    assert not load(again, written).entries
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True)
    )
