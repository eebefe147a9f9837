"""A configuration is checked once, and says what is wrong with it in three lines."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.support import refuses, unchecked
from vitrail.models import Preprocessing, SwinConfig, SwinV2Config


@pytest.mark.parametrize(
    ("fields", "given", "fix"),
    [
        ({"num_heads": (5, 6, 12, 24)}, "num_heads[0]=5", "[1, 2, 3, 4, 6"),
        ({"num_heads": (3, 6, 12)}, "num_heads=(3, 6, 12)", "give 4 numbers"),
        ({"num_heads": (0, 6, 12, 24)}, "num_heads[0]=0", "use one of"),
        ({"depths": (2, 0, 2, 2)}, "depths=(2, 0, 2, 2)", "depths=(2, 2)"),
        ({"depths": ()}, "depths=()", "depths=(2, 2)"),
        ({"window": (0, 7)}, "window=(0, 7)", "window=(1, 7)"),
        ({"window": (-7, 7)}, "window=(-7, 7)", "window=(1, 7)"),
        ({"window": (7, 7, 7)}, "window=(7, 7, 7) for 2 spatial axes", "window=(7, 7)"),
        ({"window": ((7, 7), (7, 7))}, "for 4 stages", "window=(7, 7)"),
        ({"patch": (0, 4)}, "patch=(0, 4)", "patch=(1, 4)"),
        ({"patch": (2, 2, 2, 2), "window": 2, "merge": 2}, "patch=(2, 2, 2, 2)", "(4, 4)"),
        ({"merge": (2,)}, "merge=(2,) for 2 spatial axes", "merge=(2, 2)"),
        ({"patch_overlap": (-1, 1)}, "patch_overlap=(-1, 1)", "patch_overlap=(0, 1)"),
        ({"absolute_position": (0, 3)}, "absolute_position=(0, 3)", "(1, 3)"),
        ({"out_indices": (0, 4)}, "out_indices=(0, 4)", "(0, 1, 2, 3)"),
        ({"out_indices": (2, 1)}, "out_indices=(2, 1)", "(0, 1, 2, 3)"),
        ({"out_indices": ()}, "out_indices=()", "(0, 1, 2, 3)"),
        ({"frozen_stages": 5}, "frozen_stages=5", "frozen_stages=0"),
        ({"in_channels": 0}, "in_channels=0", "in_channels=3"),
        ({"num_classes": -1}, "num_classes=-1", "num_classes=0"),
        ({"mlp_ratio": 0}, "mlp_ratio=0", "mlp_ratio=4.0"),
        ({"drop_path": 1.0}, "drop_path=1.0", "drop_path=0.1"),
        ({"attn_drop": -0.1}, "attn_drop=-0.1", "attn_drop=0.1"),
        ({"global_pool": "max"}, "global_pool='max'", "global_pool='avg'"),
        ({"padding": "reflect"}, "padding='reflect'", "padding='masked'"),
        ({"shift_rule": "sometimes"}, "shift_rule='sometimes'", "shift_rule='axis'"),
        ({"shift_rule": ("axis", "axis")}, "for 4 stages", "shift_rule='axis'"),
        ({"patch_fit": "crop"}, "patch_fit='crop'", "patch_fit='pad'"),
        ({"bias_lookup": "guess"}, "bias_lookup='guess'", "bias_lookup='offset'"),
        ({"patch": ()}, "patch=()", "patch=(4, 4)"),
        ({"depths": 4}, "depths=4", "depths=(2, 2)"),
        ({"depths": (1,) * 17}, "depths=(1, 1", "depths=(2, 2)"),
        ({"out_indices": 3}, "out_indices=3", "(0, 1, 2, 3)"),
        ({"norm_eps": -1.0}, "norm_eps=-1.0", "norm_eps=1e-5"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], given: str, fix: str) -> None:
    from vitrail.models import Swin

    with refuses(given, fix):
        Swin(replace(SwinConfig(), **fields))


@pytest.mark.parametrize(
    ("fields", "given", "fix"),
    [
        ({"num_classes": "3"}, "num_classes='3'", "num_classes=3, a number instead of text"),
        ({"num_classes": True}, "num_classes=True", "num_classes=1000, the default"),
        ({"drop": "0.5"}, "drop='0.5'", "drop=0.5, a number instead of text"),
        ({"window": "x" * 1000}, "window='xxx", "window=(7, 7)"),
        ({"window": ((1,) * 5000,) * 3}, "1, ...)) for 4 stages", "use window=(1, 1"),
        ({"num_heads": (3, 6, 12, "24")}, "num_heads=(3, 6, 12, '24')", "(3, 6, 12, 24)"),
        ({"dim": 2.5}, "dim=2.5", "dim=96"),
        ({"dim": 10**5000}, "dim=a value of type int", "dim=96"),
        ({"depths": (2**31, 2, 2, 2)}, "depths=(2147483648, 2, 2, 2)", "(2, 2, 6, 2)"),
        ({"qkv_bias": 1}, "qkv_bias=1", "qkv_bias=True"),
        ({"qkv_bias": None}, "qkv_bias=None", "qkv_bias=True"),
        ({"mask_value": float("nan")}, "mask_value=nan", "mask_value=None"),
        ({"drop_path": float("inf")}, "drop_path=inf", "drop_path=0.2"),
        ({"shift_rule": ("axis", 3, "axis", "axis")}, "'axis', 3", "shift_rule='axis'"),
    ],
)
def test_a_value_of_another_type_is_refused(fields: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        SwinConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "given", "fix"),
    [
        ({"size": (10**6, 10**6)}, "size=(1000000, 1000000)", "size=(224, 224)"),
        ({"size": ()}, "size=()", "size=(224, 224)"),
        ({"size": 224}, "size=224", "size=(224, 224)"),
        ({"crop": 0.0}, "crop=0.0", "crop=1.0"),
        ({"crop": "all"}, "crop='all'", "crop=0.9"),
        ({"interpolation": "nearest"}, "interpolation='nearest'", "'bicubic'"),
        ({"mean": (0.5,)}, "mean=(0.5,), std=(0.229", "mean=(0.485"),
        ({"std": (0.5, 0.0, 0.5)}, "std=(0.5, 0.0, 0.5)", "std=(0.229"),
        ({"classes": (1, 2)}, "classes=(1, 2)", "classes=None"),
    ],
)
def test_an_input_that_cannot_be_is_refused(fields: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        Preprocessing(**fields)


def test_a_number_means_the_same_along_every_axis() -> None:
    fields: dict[str, Any] = {"patch": [2, 4, 4], "window": 4, "merge": 2}
    with unchecked():
        config = SwinConfig(**fields)
    assert (config.patch, config.window, config.merge) == ((2, 4, 4), (4, 4, 4), (2, 2, 2))
    assert config.axes == 3
    assert config.windows == ((4, 4, 4),) * 4


def test_a_window_for_each_stage() -> None:
    sizes = ((16, 16), (16, 16), (16, 16), (8, 8))
    config = SwinV2Config(window=sizes, pretrained_window=(12, 12))
    assert config.windows == sizes
    assert config.normalisers == ((12, 12),) * 4
    assert SwinV2Config(window=sizes).normalisers == sizes


@pytest.mark.parametrize(
    "config",
    [SwinConfig(out_indices=(1, 3)), SwinV2Config(pretrained_window=((6, 6),) * 4)],
    ids=["V1", "V2"],
)
def test_json_and_back(config: SwinConfig) -> None:
    with unchecked():
        assert type(config)(**json.loads(json.dumps(asdict(config)))) == config
