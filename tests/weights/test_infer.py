import dataclasses

import pytest
import torch

from vitrail.errors import UsageError
from vitrail.models import CATALOG, SwinConfig, SwinV2Config
from vitrail.weights import rules, to_format
from vitrail.weights.buffers import normalisers_of, windows_of
from vitrail.weights.detect import detect
from vitrail.weights.infer import infer_config, name_of
from vitrail.weights.windows import window_of_rows

STRUCTURE = ("in_channels", "num_classes", "dim", "depths", "num_heads", "windows", "patch",
             "merge", "mlp_ratio", "qkv_bias", "embed_norm", "absolute_position", "out_indices",
             "feature_norms")  # fmt: skip


def reading_of(model, name):
    found = detect(to_format(model, name))
    return rules.read(found.state, found.rules())


def same_structure(a, b):
    return {k: getattr(a, k) for k in STRUCTURE} == {k: getattr(b, k) for k in STRUCTURE}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"window": (4, 4), "depths": (1, 3), "num_heads": (2, 8), "mlp_ratio": 2.0},
        {"window": ((7, 7), (3, 3)), "in_channels": 1, "num_classes": 0},
        {"qkv_bias": False, "embed_norm": False, "patch": (2, 2)},
        {"absolute_position": (8, 8)},
        {"out_indices": (0, 1), "feature_norms": True, "num_classes": 0},
    ],
)
@pytest.mark.parametrize("name", ["timm", "official"])
def test_a_configuration_is_implied_by_shapes(build, name, fields):
    model = build(**fields)
    if name == "timm" and "out_indices" in fields:
        pytest.skip("timm has no norm per stage")
    assert same_structure(infer_config(reading_of(model, name)), model.config)


def test_a_video_s_configuration_is_implied_by_shapes(build):
    for window in ((2, 7, 7), (8, 7, 7), (3, 4, 5)):
        model = build("video", window=window)
        assert same_structure(infer_config(reading_of(model, "torchvision")), model.config)


@pytest.mark.parametrize("window", [(8, 8), (4, 6), ((8, 8), (4, 4)), ((7, 3), (1, 1))])
@pytest.mark.parametrize("name", ["official", "torchvision", "mmpretrain"])
def test_buffers_show_swin_v2_s_window(build, name, window):
    model = build("swin_v2", window=window)
    config = infer_config(reading_of(model, name))
    assert same_structure(config, model.config)
    assert isinstance(config, SwinV2Config)
    assert config.pretrained_window is None


def test_buffers_show_the_window_of_pre_training(build):
    model = build("swin_v2", window=((16, 16), (8, 8)), pretrained_window=((12, 12), (6, 6)))
    config = infer_config(reading_of(model, "official"))
    assert isinstance(config, SwinV2Config)
    assert config.windows == ((16, 16), (8, 8))
    assert config.pretrained_window == ((12, 12), (6, 6))


@pytest.mark.parametrize("name", ["timm", "transformers"])
def test_a_swin_v2_without_buffers_needs_its_window(build, name):
    reading = reading_of(build("swin_v2", window=(8, 4)), name)
    with pytest.raises(UsageError, match="does not show the window") as error:
        infer_config(reading)
    assert "window=8" in error.value.fix
    assert "swin_v2_tiny_w16" in error.value.fix
    assert infer_config(reading, window=8).windows == ((8, 8), (8, 8))
    assert infer_config(reading, window=((8, 4), (4, 4))).windows == ((8, 4), (4, 4))


def test_unequal_sides_are_recognised_by_the_index_or_by_the_caller(build):
    model = build(window=(3, 7))
    assert infer_config(reading_of(model, "official")).window == (3, 7)
    bare = reading_of(model, "timm")
    with pytest.raises(UsageError, match="65 rows in stage 0") as error:
        infer_config(bare)
    assert "window=" in error.value.fix
    assert infer_config(bare, window=(3, 7)).window == (3, 7)
    assert infer_config(bare, window=(7, 3)).window == (7, 3)
    with pytest.raises(UsageError, match=r"65 rows in stage 0, with window=\(4, 4\)"):
        infer_config(bare, window=4)


@pytest.mark.parametrize(
    ("rows", "axes", "window"),
    [(13, 1, (7,)), (12, 1, None), (169, 2, (7, 7)), (529, 2, (12, 12)), (64, 2, None),
     (65, 2, None), (15 * 169, 3, (8, 7, 7)), (3 * 169, 3, (2, 7, 7)), (9 * 25, 3, (5, 3, 3)),
     (105, 3, None)],
)  # fmt: skip
def test_the_rows_of_a_table_show_its_window_where_they_can(rows, axes, window):
    found = window_of_rows(rows, axes)
    if rows == 9 * 25:  # 9 x 5 x 5 and 25 x 3 x 3 alike
        assert found is None
    else:
        assert found == window


def test_the_catalog_s_models_are_known_by_their_structure():
    for name, entry in CATALOG.items():
        found = name_of(dataclasses.replace(entry.config, num_classes=3, drop_path=0.0))
        assert found is not None
        known = CATALOG[found].config
        for field in ("stage_dims", "depths", "windows", "pooled", "conv_embed", "mechanism"):
            assert getattr(known, field, None) == getattr(entry.config, field, None), name
    assert name_of(SwinConfig(dim=48)) is None
    assert name_of(SwinV2Config(window=(7, 7))) is None


@pytest.mark.parametrize("key", ["embed.proj", "stages.0.blocks.0.attn.qkv",
                                 "stages.1.blocks.0.attn.bias.table"])  # fmt: skip
def test_missing_parts_are_named(build, key):
    state = {k: v for k, v in build().state_dict().items() if not k.startswith(key)}
    reading = rules.read(state, detect(build().state_dict()).format.rules(2, None))
    with pytest.raises(UsageError, match=f"without {key}") as error:
        infer_config(reading)
    assert "whole model" in error.value.fix


def test_a_missing_stage_is_named(build):
    state = build(depths=(1, 1, 1), num_heads=(2, 2, 2)).state_dict()
    state = {k: v for k, v in state.items() if not k.startswith("stages.1")}
    reading = rules.read(state, detect(build().state_dict()).format.rules(3, None))
    with pytest.raises(UsageError, match="without stage 1") as error:
        infer_config(reading)
    assert "whole model" in error.value.fix


def test_a_merge_of_another_number_of_neighbours_is_refused(build):
    state = build().state_dict()
    state["stages.1.merge.reduction.weight"] = torch.zeros(48, 9 * 24)
    reading = rules.read(state, detect(state).format.rules(2, None))
    with pytest.raises(UsageError, match="a merging of 9 neighbours") as error:
        infer_config(reading)
    assert "check that the file" in error.value.fix


def test_buffers_that_are_no_index_show_nothing():
    assert windows_of({("index", 0): torch.zeros(5, dtype=torch.int64)}, 2) == {}
    assert windows_of({("index", 0): torch.zeros(9, 9, dtype=torch.int64)}, 2) == {}
    assert windows_of({("mask", 0): torch.zeros(4, 9, 9)}, 2) == {}
    assert normalisers_of({("coordinates", 0): torch.zeros(1, 1, 1, 2)}, 2) == {0: (1, 1)}
