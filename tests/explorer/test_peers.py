"""Models of other libraries are explored as they are: converted, compared, and found to leak."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from tests.explorer.decoding import image_of
from tests.support import drawn, refuses
from vitrail.explorer import explore

timm = pytest.importorskip("timm", reason="pip install '.[peers]'")


def peer(size: int) -> nn.Module:
    made: Any = timm.models.swin_transformer.SwinTransformer(
        img_size=size, embed_dim=12, depths=(2, 2), num_heads=(2, 4), num_classes=7
    )
    return drawn(made).train()


def checks(manifest: Any) -> dict[str, Any]:
    return {check["id"]: check for check in manifest["checks"]}


def test_timm_leaks_into_padding_at_256_and_not_at_224(picture: Image.Image) -> None:
    found = {}
    for size in (224, 256):
        model = peer(size)
        known = pytest.warns(UserWarning, match="timm rolls") if size == 256 else nullcontext()
        with known:
            report = explore(model, picture, scored=False)
        assert model.training, "it is left as it was found"
        assert report.manifest["photo"]["input"] == [size, size]
        adapted = report.manifest["model"]["adapted"]
        assert adapted["from"] == "timm SwinTransformer"
        with torch.no_grad():
            theirs = model.eval()(image_of(report.arrays))[0]
        difference = float((theirs - report.trace.logits).abs().max())
        assert adapted["difference"] == pytest.approx(difference)
        found[size] = checks(report.manifest)
        assert found[size]["output"]["passed"]
        assert found[size]["watching"]["passed"]
    assert found[224]["adapted"]["passed"]
    assert not found[256]["adapted"]["passed"], "timm rolls before it pads; ours does not"
    assert "timm rolls a map" in found[256]["adapted"]["text"]
    assert found[224]["padding"]["value"] == 0
    assert found[224]["padding"]["passed"]
    assert found[256]["padding"]["value"] > 0.01
    assert not found[256]["padding"]["passed"]


def test_preprocessing_is_the_peers_where_it_has_some(picture: Image.Image) -> None:
    model = peer(28)
    steps = explore(model, picture, scored=False).manifest["model"]["transform"]
    assert "ImageNet's were taken" in steps[-1]
    assert any("(0.485, 0.456, 0.406)" in step for step in steps)
    model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "crop_pct": 1.0}  # pyright: ignore
    steps = explore(model, picture, scored=False).manifest["model"]["transform"]
    assert steps[-1].endswith("as the timm model has them")
    assert any("(0.5, 0.5, 0.5)" in step for step in steps)


def test_a_size_that_the_peer_refuses(picture: Image.Image) -> None:
    with refuses("64x48 pixels for a timm SwinTransformer", "vitrail.from_model(model)"):
        explore(peer(28), picture, size=(64, 48), scored=False)


def test_torchvisions_swin_is_explored(picture: Image.Image) -> None:
    torchvision = pytest.importorskip("torchvision", reason="pip install '.[train]'")
    model = drawn(
        torchvision.models.SwinTransformer(
            patch_size=[4, 4],
            embed_dim=12,
            depths=[1, 1],
            num_heads=[2, 4],
            window_size=[4, 4],
            num_classes=5,
        )
    )
    report = explore(model.eval(), picture, size=(40, 36), scored=False)
    assert report.manifest["model"]["adapted"]["from"] == "torchvision SwinTransformer"
    assert checks(report.manifest)["adapted"]["passed"]


@pytest.mark.parametrize("name", ["SwinBackbone", "SwinModel", "PvtV2Backbone"])
def test_models_without_logits_are_compared_by_their_maps(name: str, picture: Image.Image) -> None:
    transformers: Any = pytest.importorskip("transformers", reason="pip install '.[peers]'")
    if name.startswith("Pvt"):
        config = transformers.PvtV2Config(
            image_size=64, hidden_sizes=(8, 8), depths=(1, 1), num_attention_heads=(1, 2),
            num_encoder_blocks=2, mlp_ratios=(2, 2), out_features=["stage1", "stage2"],
        )  # fmt: skip
    else:
        config = transformers.SwinConfig(
            image_size=64, window_size=8, embed_dim=12, depths=(2, 2), num_heads=(2, 4),
            out_features=["stage1", "stage2"],
        )  # fmt: skip
    model = drawn(getattr(transformers, name)(config))
    layers = [m for m in model.modules() if hasattr(m, "shift_size")]
    shifts = [layer.shift_size for layer in layers]
    report = explore(model, picture, scored=False)
    assert report.manifest["model"]["adapted"]["from"] == f"transformers {name}"
    assert checks(report.manifest)["adapted"]["passed"]
    assert [layer.shift_size for layer in layers] == shifts, "it is left as it was found"
