"""The Python of a page runs, and makes the model that was explored."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import vitrail
from vitrail.explain import digest
from vitrail.explorer.recipe import model_source, photo_source
from vitrail.models import Backbone, Swin, SwinConfig


def run(source: str, **names: Any) -> dict[str, Any]:
    exec(compile(source, "recipe", "exec"), names)
    return names


def test_the_bundled_model() -> None:
    model = vitrail.create_model("swin_nano", weights="bundled")
    source = model_source(model, "bundled")
    assert source == "import vitrail\nmodel = vitrail.create_model('swin_nano', weights='bundled')"
    assert digest(run(source)["model"]) == digest(model)


def test_random_numbers_are_the_same_again() -> None:
    torch.manual_seed(0)
    model = vitrail.create_model("swin_nano", window=(2, 2)).eval()
    source = model_source(model, "none: random numbers, seed 0")
    assert "window=(2, 2)" in source
    again = run(source)["model"]
    assert again.config == model.config
    assert digest(again) == digest(model)


def test_a_model_as_given_has_its_config() -> None:
    model = vitrail.create_model("swin_nano", num_classes=3)
    source = model_source(model, None)
    assert "load its weights" in source
    again: Backbone = run(source)["model"]
    assert again.config == model.config
    assert not again.training


def test_a_file_of_weights_is_named() -> None:
    model = vitrail.create_model("swin_nano")
    source = model_source(model, "mine.safetensors")
    assert source.endswith("create_model('swin_nano', weights='mine.safetensors')")


def test_a_model_that_the_catalog_lacks() -> None:
    config = SwinConfig(dim=8, depths=(1,), num_heads=(2,), num_classes=3)
    made = run(model_source(Swin(config), None), config=config)["model"]
    assert isinstance(made, Swin)
    assert made.config == config


def test_a_timm_model_is_made_and_converted() -> None:
    timm = pytest.importorskip("timm", reason="pip install '.[peers]'")
    peer = timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), embed_dim=24)
    source = model_source(Swin(replace(SwinConfig(), dim=24)), None, peer)
    assert "timm.create_model('swin_tiny_patch4_window7_224" in source
    assert source.endswith("model = vitrail.from_model(original)")
    compile(source, "recipe", "exec")
    assert "pretrained=True" not in source and "Random weights" in source
    with torch.no_grad():
        peer.norm.weight[0] = 1.5
    assert "pretrained=True" in model_source(Swin(SwinConfig()), None, peer)


def test_a_timm_model_is_made_for_its_size() -> None:
    timm = pytest.importorskip("timm", reason="pip install '.[peers]'")
    peer = timm.create_model("swin_tiny_patch4_window7_224", img_size=256, depths=(1, 1),
                             embed_dim=12, num_heads=(1, 2))  # fmt: skip
    assert "img_size=(256, 256)" in model_source(Swin(SwinConfig()), None, peer)


@pytest.mark.parametrize("name", ["a.jpg", 'it\'s "mine"\\n.png', "</script>"])
def test_the_photo_is_text(name: str) -> None:
    assert run(photo_source(name))["photo"] == name
