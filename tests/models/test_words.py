"""Fields in the words of timm, torchvision and transformers, and values of the wrong type."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitrail
from tests.support import refuses, small, unchecked
from vitrail.models import PVTConfig, SwinConfig, ViTConfig
from vitrail.weights import load_model


@pytest.mark.parametrize(
    ("name", "given", "fix"),
    [
        ("swin_tiny", {"pretrained": True}, "use weights='imagenet1k'"),
        ("swin_tiny", {"pretrained": False}, "leave it out: without weights"),
        ("swin_tiny", {"checkpoint_path": "x.pth"}, "use weights='imagenet1k'"),
        ("swin_tiny", {"img_size": 256}, "takes inputs of any size"),
        ("swin_tiny", {"image_size": 256}, "takes inputs of any size"),
        ("swin_tiny", {"features_only": True}, "use out_indices=(0, 1, 2, 3)"),
        ("vit_tiny", {"features_only": True}, "use out_indices=(0,)"),
        ("swin_tiny", {"features_only": False}, "model.features(x)"),
        ("swin_tiny", {"drop_rate": 0.1}, "use drop=0.1"),
        ("swin_tiny", {"drop_path_rate": 0.1}, "use drop_path=0.1"),
        ("swin_tiny", {"stochastic_depth_prob": 0.1}, "use drop_path=0.1"),
        ("pvt_tiny", {"attention_probs_dropout_prob": 0.1}, "use attn_drop=0.1"),
        ("swin_tiny", {"in_chans": 1}, "use in_channels=1"),
        ("swin_tiny", {"num_labels": 2}, "use num_classes=2"),
        ("swin_tiny", {"embed_dim": 64}, "use dim=64"),
        ("pvt_v2_b0", {"embed_dims": (8, 8, 8, 8)}, "use dims=(8, 8, 8, 8)"),
        ("swin_tiny", {"window_size": 8}, "use window=8"),
        ("focal_tiny", {"window_size": 8}, "use windows=8"),
        ("vit_tiny", {"patch_size": 32}, "use patch=32"),
        ("pvt_tiny", {"sr_ratios": (8, 4, 2, 1)}, "use reductions=(8, 4, 2, 1)"),
        ("vit_tiny", {"window_size": 8}, "leave it out"),
        ("swin_tiny", {"windw": 7}, "did you mean 'window'?"),
    ],
    ids=str,
)
def test_a_word_of_the_field_is_answered_with_ours(
    name: str, given: dict[str, Any], fix: str
) -> None:
    (word, value), *_ = given.items()
    with refuses(f"{word}={value!r} for {name}", fix):
        vitrail.create_model(name, **given)


@pytest.mark.parametrize("name", ["dims", "mlp_ratios", "reductions"])
def test_one_value_for_several_stages_is_named(name: str) -> None:
    with refuses(f"{name}=4 for 4 stages", "give 4 numbers"):
        PVTConfig(**{name: 4})  # type: ignore[arg-type]
    with refuses("depths=3", "depths=(2, 2)"):
        PVTConfig(depths=3)  # type: ignore[arg-type]


def test_numpy_s_numbers_are_numbers() -> None:
    numbers: dict[str, Any] = {
        "num_classes": np.int64(3), "window": np.int32(5), "drop": np.float32(0.5),
        "depths": [np.int8(1)] * 4,
    }  # fmt: skip
    with unchecked():
        config = SwinConfig(**numbers)
        assert ViTConfig(drop=0, mlp_ratio=2).mlp_ratio == 2, "a whole number is a number"
    assert config == SwinConfig(num_classes=3, window=(5, 5), drop=0.5, depths=(1, 1, 1, 1))
    assert type(config.num_classes) is int and type(config.drop) is float


def test_a_word_is_answered_wherever_a_model_is_made(tmp_path: Path) -> None:
    model = small("2-D")
    model.save_pretrained(tmp_path)
    with refuses("drop_path_rate=0.5 for Swin", "use drop_path=0.5"):
        type(model).from_pretrained(tmp_path, drop_path_rate=0.5)
    with refuses("features_only=True for ", "use out_indices=(0, 1)"):
        load_model(tmp_path, features_only=True)
    with refuses("img_size=64 for swin_nano", "any size"):
        vitrail.cost("swin_nano", 64, img_size=64)
