"""PVT v2 against timm and transformers: true widths, pooled keys, sizes that nothing divides."""

import pytest
import torch

from vitrail.models import PVTV2, PVTV2Config
from vitrail.weights import load, to_format

timm = pytest.importorskip("timm.models.pvt_v2")
transformers = pytest.importorskip("transformers")

SMALL = {"dims": (12, 20, 24, 36), "heads": (1, 2, 3, 4), "depths": (1, 2, 1, 2),
         "ratios": (3, 2, 4, 2)}  # fmt: skip
B0 = {"dims": (32, 64, 160, 256), "heads": (1, 2, 5, 8), "depths": (2, 2, 2, 2),
      "ratios": (8, 8, 4, 4)}  # fmt: skip
B1 = {**B0, "dims": (64, 128, 320, 512), "depths": (1, 1, 1, 1)}
SIZES = [(64, 96), (75, 93), (131, 66)]


def from_timm(dims, heads, depths, ratios, **options):
    return timm.PyramidVisionTransformerV2(
        embed_dims=dims, num_heads=heads, depths=depths, mlp_ratios=ratios, num_classes=10,
        **options,
    )  # fmt: skip


def from_transformers(dims, heads, depths, ratios, **options):
    config = transformers.PvtV2Config(
        hidden_sizes=dims, num_attention_heads=heads, depths=depths, mlp_ratios=ratios,
        num_labels=10, **options,
    )  # fmt: skip
    return transformers.PvtV2ForImageClassification(config)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("linear", [False, True])
def test_timm(twins, linear, size):
    twins(lambda: from_timm(**SMALL, linear=linear)).check(*size)


@pytest.mark.parametrize(("variant", "linear"), [(B0, False), (B1, True)])
def test_timm_in_true_widths(twins, variant, linear):
    twins(lambda: from_timm(**variant, linear=linear)).check(96, 64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("linear", [False, True])
def test_transformers(twins, linear, size):
    twins(lambda: from_transformers(**SMALL, linear_attention=linear)).check(*size)


def test_transformers_in_true_widths_with_its_own_eps(twins):
    twins(lambda: from_transformers(**B0, layer_norm_eps=1e-3)).check(64, 75)


def ours(linear):
    return PVTV2(PVTV2Config(
        dims=SMALL["dims"], num_heads=SMALL["heads"], depths=SMALL["depths"], num_classes=10,
        mlp_ratios=(3.0, 2.0, 4.0, 2.0), pooled=(7, 7) if linear else None,
    )).double().eval()  # fmt: skip


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("name", ["timm", "transformers"])
def test_both_directions_of_state_dicts(draw, worst, name, linear):
    if name == "timm":
        peer = from_timm(**SMALL, linear=linear)
    else:
        peer = from_transformers(**SMALL, linear_attention=linear)
        # Its one eps is 1e-6; the official code's in embeddings and reduced keys is 1e-5.
        for key, module in peer.named_modules():
            if key.endswith(("patch_embedding.layer_norm", "attention.layer_norm")):
                module.eps = 1e-5
    draw(peer.double()).eval()
    model = ours(linear)
    report = load(model, peer.state_dict())
    assert not report.entries
    assert set(report.loaded) == set(model.state_dict())
    x = torch.randn(1, 3, 75, 93, dtype=torch.float64)
    assert worst(model, peer, x) < 1e-9
    draw(model, seed=1)
    assert worst(model, peer, x) > 1e-2
    peer.load_state_dict(to_format(model, name), strict=True)
    assert worst(model, peer, x) < 1e-9


@pytest.mark.parametrize("linear", [False, True])
def test_timm_s_converter_reads_our_official_files(draw, worst, linear):
    model = draw(ours(linear))
    peer = from_timm(**SMALL, linear=linear).double().eval()
    converted = timm.checkpoint_filter_fn(to_format(model, "official"), peer)
    peer.load_state_dict(converted, strict=True)
    x = torch.randn(1, 3, 64, 75, dtype=torch.float64)
    assert worst(model, peer, x) < 1e-9
