"""What a library's models do comes with their weights: outputs are the same at every size."""

import logging
from typing import Any

import pytest
import torch

from vitrail import create_model
from vitrail.weights import convert, from_model, load, load_model, to_format
from vitrail.weights.formats import FORMATS

SMALL: dict[str, Any] = {"dim": 24, "depths": (2, 2), "num_heads": (3, 6), "window": (4, 4)}
VISIBLE = {"padding": "visible", "mask_value": -100.0}
# Sizes that patch, window or merge do not divide; one window covers an axis of the last's map.
ODD = ((33, 250), (61, 45), (29, 61))

# Written down from the libraries' sources (FACTS 1.1 to 1.5), not from the formats' own records.
EXPECTED: dict[tuple[str, str], dict[str, Any]] = {
    ("official", "swin"): {"mask_value": -100.0, "shift_rule": "shortest"},
    ("timm-old", "swin"): {"mask_value": -100.0, "shift_rule": "shortest"},
    ("timm", "swin"): VISIBLE,
    ("torchvision", "swin"): VISIBLE | {"patch_fit": "floor"},
    ("transformers", "swin"): VISIBLE | {"shift_rule": "shortest"},
    ("transformers-old", "swin"): VISIBLE | {"shift_rule": "shortest"},
    ("mmdet", "swin"): VISIBLE | {"shift_rule": "always"},
    ("mmpretrain", "swin"): VISIBLE | {"shift_rule": "shortest"},
    ("official", "swin_v2"): {"mask_value": -100.0, "shift_rule": "shortest"},
    ("timm-old", "swin_v2"): {"mask_value": -100.0, "shift_rule": "shortest"},
    ("timm", "swin_v2"): VISIBLE,
    ("torchvision", "swin_v2"): VISIBLE | {"patch_fit": "floor"},
    ("transformers", "swin_v2"): VISIBLE,
    ("transformers-old", "swin_v2"): VISIBLE,
    ("mmpretrain", "swin_v2"): VISIBLE | {"shift_rule": "shortest"},
    ("torchvision", "video"): VISIBLE | {"shift_rule": "clamp", "bias_lookup": "sliced"},
    ("video-official", "video"): VISIBLE | {"shift_rule": "clamp", "bias_lookup": "sliced"},
    ("official", "pvt"): {"patch_fit": "floor"},
    ("transformers", "pvt"): {"patch_fit": "floor", "embed_norm_eps": 1e-6},
    ("official", "pvt_v2"): {},
    ("timm", "pvt_v2"): {},
    ("transformers", "pvt_v2"): {"embed_norm_eps": 1e-6},
    ("official", "mit"): {},
    ("transformers", "mit"): {"embed_norm_eps": 1e-5, "norm_eps": 1e-5},
    ("transformers-old", "mit"): {"embed_norm_eps": 1e-5, "norm_eps": 1e-5},
    ("timm", "vit"): {"position_resize": "antialiased"},
    ("torchvision", "vit"): {"patch_fit": "floor"},
    ("official", "focal"): {"halo": "rolled", "padding": "visible", "patch_fit": "floor"},
    ("official", "focal_fast"): {"patch_fit": "floor"},
}


def test_every_format_s_behaviour_is_written_down():
    others = {key: known for key, known in FORMATS.items() if "vitrail" not in key}
    # What differs between the peers' MaxViTs and Hieras is tested with their parity.
    apart = ("maxvit", "hiera")
    found = {key: dict(known.fields) for key, known in others.items() if key[1] not in apart}
    assert found == EXPECTED
    bare = {key: known.behaviour(bare=True) for key, known in FORMATS.items()}
    for name in ("official", "transformers", "mmdet"):
        assert bare[name, "swin"] == VISIBLE | {"shift_rule": "always"}
    assert bare["torchvision", "swin"] == EXPECTED["torchvision", "swin"]


def torchvision_peer():
    from torchvision.models.swin_transformer import SwinTransformer

    return SwinTransformer([4, 4], 24, [2, 2], [3, 6], [4, 4], num_classes=5)


def transformers_peer():
    import transformers

    config = transformers.SwinConfig(
        embed_dim=24,
        image_size=64,
        id2label=dict.fromkeys(range(5), "a"),
        depths=[2, 2],
        num_heads=[3, 6],
        window_size=4,
    )
    return transformers.SwinForImageClassification(config)


@pytest.mark.parametrize("size", ODD)
@pytest.mark.parametrize("name", ["torchvision", "transformers"])
def test_weights_by_every_route_give_the_library_s_outputs(draw, tmp_path, name, size):
    pytest.importorskip(name)
    peer = torchvision_peer() if name == "torchvision" else transformers_peer()
    draw(peer).eval().double()
    state, x = peer.state_dict(), torch.randn(2, 3, *size, dtype=torch.float64)
    torch.save(state, tmp_path / "w.pth")
    convert(tmp_path / "w.pth", tmp_path / "w.safetensors", "vitrail")
    routes = {
        "by name": create_model("swin_tiny", weights=state, **SMALL),
        "by file": load_model(tmp_path / "w.pth"),
        "converted": load_model(tmp_path / "w.safetensors"),
        "live": from_model(peer),
    }
    with torch.inference_mode():
        answer = peer(x)
        wanted = getattr(answer, "logits", answer)
        for route, model in routes.items():
            found = model.double()(x)
            assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-9), route


def test_a_choice_overrules_the_weights_also_where_it_is_the_default():
    state = to_format(create_model("swin_tiny", **SMALL), "torchvision")
    config = create_model("swin_tiny", weights=state, **SMALL).config
    assert (config.padding, config.patch_fit, config.mask_value) == ("visible", "floor", -100.0)
    chosen = {"padding": "masked", "patch_fit": "pad", "mask_value": None}
    config = create_model("swin_tiny", weights=state, **SMALL, **chosen).config
    assert {name: getattr(config, name) for name in chosen} == chosen


def test_a_detector_s_backbone_shifts_at_every_size(build):
    fields = {"out_indices": (0, 1), "feature_norms": True}
    for name in ("official", "transformers", "mmdet"):
        config = load_model(to_format(build(**fields), name)).config
        assert config.shift_rule == "always"
        assert config.padding == "visible"


def test_our_own_file_of_a_focal_transformer_brings_its_halo(build, tmp_path):
    source = build("focal")
    convert(to_format(source, "official"), tmp_path / "w.safetensors", "vitrail")
    config = load_model(tmp_path / "w.safetensors").config
    assert (config.halo, config.padding, config.patch_fit) == ("rolled", "visible", "floor")


def test_loading_into_a_model_that_differs_warns_of_the_fields(build, caplog):
    state = to_format(build(), "torchvision")
    with caplog.at_level(logging.WARNING, "vitrail"):
        report = load(build(), state)
    for text in (caplog.text, str(report)):
        assert "padding='visible', mask_value=-100.0, patch_fit='floor'" in text
        assert "this one padding='masked', mask_value=None, patch_fit='pad'" in text
        assert "create_model(name, weights=...)" in text
    caplog.clear()
    load(build(**VISIBLE, patch_fit="floor"), state)
    assert not caplog.text


def test_a_conversion_notes_what_the_target_s_models_do_otherwise(build, tmp_path):
    source = to_format(build(), "timm")
    done = convert(source, tmp_path / "w.pth", "torchvision")
    assert any("torchvision models have patch_fit='floor'" in note for note in done.notes)
    done = convert(source, tmp_path / "w.pth", "timm")
    assert not any("models have" in note for note in done.notes)


def test_a_named_conversion_keeps_the_behaviour(tmp_path):
    state = to_format(create_model("pvt_v2_b0"), "transformers")
    convert(state, tmp_path / "w.safetensors", "vitrail", model="pvt_v2_b0")
    assert load_model(tmp_path / "w.safetensors").config.embed_norm_eps == 1e-6
