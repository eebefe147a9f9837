"""MaxViT against timm and torchvision: true widths, and small ones at more sizes."""

from typing import Any

import pytest
import torch

from vitrail import create_model, from_model
from vitrail.models.maxvit import MAXVIT_T, MaxViT, MaxViTConfig
from vitrail.weights import load, to_format

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision.models.maxvit")

SMALL: dict[str, Any] = {"dims": (32, 64), "depths": (2, 2), "num_heads": (1, 2), "stem_dim": 24,
                         "num_classes": 10}  # fmt: skip


def from_timm(name="maxvit_tiny_tf_224", **options):
    """Return a model of two stages, or, with no options, the published one."""
    small = {"embed_dim": (32, 64), "depths": (2, 2), "block_type": ("M", "M"), "stem_width": 24,
             "head_hidden_size": 64, "num_classes": 10}  # fmt: skip
    return timm.create_model(name, **({**small, **options} if options else {}))


def from_torchvision(side=56, channels=(32, 64), stem=32, **options):
    return torchvision.MaxVit(
        input_size=(side, side), stem_channels=stem, partition_size=7, block_layers=[2, 2],
        block_channels=list(channels), head_dim=32, stochastic_depth_prob=0.1, num_classes=10,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(56, 56), (56, 112), (168, 56), (53, 55), (109, 56)])
def test_timm(twins, size):
    """Multiples of the windows at every stage, and lengths that convolutions round up to one."""
    twins(lambda: from_timm(img_size=224)).check(*size)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"img_size": (256, 256)}, (64, 64)),
        ({"transformer_window_size": (3, 5), "transformer_grid_size": (5, 3)}, (120, 120)),
        ({"in_chans": 1, "num_classes": 0}, (56, 56)),
    ],
)
def test_timm_s_variants(twins, options, size):
    twins(lambda: from_timm(**options)).check(*size)


def test_timm_s_head_on_every_token(draw):
    peer = draw(from_timm(global_pool="").double()).eval()
    ours, x = from_model(peer), torch.randn(1, 3, 56, 56, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x).movedim(-1, 1), peer(x), rtol=1e-9, atol=1e-9)


def test_timm_as_published(twins):
    pair = twins(lambda: from_timm("maxvit_tiny_tf_224"))
    assert pair.ours.name == "maxvit_tiny"
    pair.check(224, 224)


@pytest.mark.parametrize("name", ["small", "base"])
def test_wider_models_of_timm_are_recognised_by_name(name):
    """Their parts are those of the tiny model; here, their numbers."""
    with torch.device("meta"):
        peer, ours = from_timm(f"maxvit_{name}_tf_224"), create_model(f"maxvit_{name}")
        assert from_model(peer).name == f"maxvit_{name}"
    written, theirs = to_format(ours, "timm"), peer.state_dict()
    assert {k: v.shape for k, v in written.items()} == {k: v.shape for k, v in theirs.items()}


def test_timm_s_features_only(draw):
    peer = draw(from_timm(features_only=True, out_indices=(1, 2)).double()).eval()
    ours = from_model(peer)
    assert ours.out_indices == (0, 1)
    x = torch.randn(1, 3, 56, 112, dtype=torch.float64)
    with torch.inference_mode():
        for mine, theirs in zip(ours.features(x, channels_first=True), peer(x), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"stem": 24}, {"side": 112}, {"channels": (32, 32)}])
@pytest.mark.parametrize("short", [0, 1])
def test_torchvision(twins, options, short):
    side = options.get("side", 56) - short
    twins(lambda: from_torchvision(**options)).check(side, side)


def test_torchvision_as_published(twins):
    pair = twins(torchvision.maxvit_t)
    assert pair.ours.config.scale == "dim"
    pair.check(224, 224)


CASES: dict[str, tuple[Any, MaxViTConfig]] = {
    "timm": (lambda: from_timm(img_size=224), MaxViTConfig(**SMALL)),
    "torchvision": (
        lambda: from_torchvision(stem=24),
        MaxViTConfig(**SMALL, **{f: getattr(MAXVIT_T, f) for f in (
            "act", "conv_padding", "shortcut_pool", "shortcut_proj", "stem_bias", "head_bias",
            "scale")}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_both_directions_of_state_dicts(draw, worst, name):
    build, config = CASES[name]
    peer, ours = draw(build().double()).eval(), MaxViT(config).double().eval()
    report = load(ours, peer.state_dict())
    assert not report.entries
    assert set(report.loaded) == set(ours.state_dict())
    x = torch.randn(1, 3, 56, 56, dtype=torch.float64)
    assert worst(ours, peer, x) < 1e-9
    draw(ours, seed=1)
    assert worst(ours, peer, x) > 1e-3
    peer.load_state_dict(to_format(ours, name), strict=True)
    assert worst(ours, peer, x) < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_a_name_takes_what_a_format_s_models_do_from_it(draw, worst, name):
    """Both are tiny models; which of them follows from the weights."""
    build, _ = CASES[name]
    peer = draw(build().double()).eval()
    ours = create_model("maxvit_tiny", **SMALL, weights=peer.state_dict()).double()
    load(ours, peer.state_dict())
    x = torch.randn(1, 3, 56, 56, dtype=torch.float64)
    assert worst(ours, peer, x) < 1e-9
