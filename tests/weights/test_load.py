import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from vitrail import create_model
from vitrail.errors import UsageError
from vitrail.models import Preprocessing, hub
from vitrail.weights import convert, load, load_model, save, to_format


def numbers(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def unchanged(model, before):
    return all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def statuses(report):
    return {entry.key: entry.status for entry in report.entries}


# --- what fits --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timm", "transformers", "torchvision", "official"])
def test_everything_is_loaded_and_nothing_is_said(build, name):
    source, model = build(), build()
    report = load(model, to_format(source, name))
    assert unchanged(source, numbers(model))
    assert report.entries == ()
    assert len(report.loaded) == len(source.state_dict())
    assert str(report).startswith(f"{len(report.loaded)} weights loaded from the {name} format")


def test_half_precision_becomes_the_model_s(build):
    source, model = build(), build()
    load(model, {key: value.half() for key, value in source.state_dict().items()})
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert torch.equal(model.head.weight, source.head.weight.half().float())


def test_a_model_without_memory_gets_the_file_s(build):
    source = build()
    with torch.device("meta"):
        model = type(source)(source.config)
    load(model, source.state_dict())
    assert unchanged(source, numbers(model))


# --- what is adapted --------------------------------------------------------------------------


def test_another_window_resizes_the_tables(build):
    source, model = build(window=(7, 7)), build(window=(12, 5))
    report = load(model, to_format(source, "timm"))
    keys = [key for key in source.state_dict() if key.endswith("bias.table")]
    assert statuses(report) == dict.fromkeys(keys, "resized")
    assert "window (7, 7) became (12, 5)" in str(report)
    assert torch.equal(model.head.weight, source.head.weight)


def test_sides_that_change_places_are_resized_too(build):
    # As many rows in both: the shape alone would not show it.
    source, model = build(window=(3, 7)), build(window=(7, 3))
    report = load(model, to_format(source, "official"))
    assert set(statuses(report).values()) == {"resized"}
    table = source.stages[0].blocks[0].attn.bias.table
    assert not torch.equal(model.stages[0].blocks[0].attn.bias.table, table)


def test_another_number_of_channels_adapts_the_stem(build):
    source, model = build(), build(in_channels=1)
    report = load(model, source.state_dict())
    assert statuses(report) == {"embed.proj.weight": "adapted"}
    assert "3 input channels became 1" in str(report)
    grey = torch.randn(1, 1, 56, 56)
    with torch.inference_mode():
        torch.testing.assert_close(model(grey), source(grey.expand(-1, 3, -1, -1)),
                                   rtol=1e-4, atol=1e-4)  # fmt: skip


def test_an_image_s_weights_inflate_to_video(build):
    source, model = build(), build("video")
    report = load(model, to_format(source, "timm"))
    assert set(statuses(report).values()) == {"adapted", "resized"}
    frame = torch.randn(1, 3, 56, 56)
    clip = frame[:, :, None].expand(-1, -1, 2, -1, -1)
    # One token in time: a still clip is seen as its frame.
    with torch.inference_mode():
        torch.testing.assert_close(model(clip), source(frame), rtol=1e-4, atol=1e-4)


def test_another_grid_of_positions_is_resized(build):
    source, model = build(absolute_position=(14, 14)), build(absolute_position=(10, 20))
    report = load(model, source.state_dict())
    assert statuses(report) == {"position.table": "resized"}


def test_another_number_of_classes_leaves_the_head_and_says_so(build):
    source, model = build(), build(num_classes=7)
    before = numbers(model)
    report = load(model, to_format(source, "timm"))
    assert statuses(report) == {"head.weight": "fresh", "head.bias": "fresh"}
    assert "5 classes in the file, 7 in the model" in str(report)
    assert "train the head" in str(report)
    assert torch.equal(model.head.weight, before["head.weight"])
    assert torch.equal(model.norm.weight, source.norm.weight)


def test_a_classifier_fills_a_detector_s_backbone(build):
    source = build()
    model = build(out_indices=(0, 1), feature_norms=True)
    report = load(model, source.state_dict())
    found = statuses(report)
    assert {key for key, status in found.items() if status == "fresh"} == {
        f"feature_norms.{i}.{leaf}" for i in (0, 1) for leaf in ("weight", "bias")
    }
    assert {key for key, status in found.items() if status == "ignored"} == {
        "norm.weight", "norm.bias", "head.weight", "head.bias",
    }  # fmt: skip


def test_stages_after_the_last_map_are_not_needed(build):
    report = load(build(out_indices=(0,)), build().state_dict())
    assert not report.problems
    assert statuses(report)["stages.1.merge.reduction.weight"] == "ignored"


# --- what does not fit -------------------------------------------------------------------------


def refused(model, state, match):
    """Load, expect an error, and that nothing was loaded."""
    before = numbers(model)
    with pytest.raises(UsageError, match=match) as error:
        load(model, state)
    assert unchanged(model, before)
    assert "nothing was loaded" in error.value.allowed
    return error.value


def test_a_missing_weight_is_named_and_nothing_is_loaded(build):
    state = numbers(build(num_classes=5))
    del state["stages.1.blocks.0.mlp.fc1.weight"]
    error = refused(build(), state, "1 missing")
    assert "stages.1.blocks.0.mlp.fc1.weight: the file has no such weight" in error.given
    assert "strict=False" in error.fix


@pytest.mark.parametrize("key", [
    "layers.0.blocks.0.attn.relative_position_bias_table", "patch_embed.proj.weight",
    "head.weight", "norm.weight",
])  # fmt: skip
def test_a_number_alone_is_no_weight(key, tmp_path):
    model = create_model("swin_tiny", dim=24, depths=(1,) * 4, num_heads=(1, 2, 4, 8))
    state = to_format(model, "official")
    assert key in state
    state[key] = torch.tensor(1.0)
    assert ": () in the file" in refused(model, state, "mismatch").given
    with pytest.raises(UsageError):
        create_model("swin_tiny", weights=state)
    with pytest.raises(UsageError):
        convert(state, tmp_path / "new.pth", "timm", model="swin_tiny")


def test_an_unknown_weight_is_named(build):
    state = to_format(build(), "timm") | {"layers.0.blocks.0.attn.extra": torch.zeros(1)}
    error = refused(build(), state, "1 unexpected")
    assert "layers.0.blocks.0.attn.extra: no key of the timm format" in error.given


def test_deeper_and_shallower_models_are_recognised_by_their_blocks(build):
    error = refused(build(), numbers(build(depths=(2, 4))), "unexpected")
    assert "the model has fewer blocks in stage 1" in error.given
    assert "depths=(2, 4)" in error.fix
    error = refused(build(depths=(2, 4)), numbers(build()), "missing")
    assert "the file has fewer blocks in stage 1" in error.given
    assert "depths=(2, 2)" in error.fix


def test_a_model_of_the_catalog_is_named_as_the_fix(build):
    with torch.device("meta"):
        base = create_model("swin_base")
    state = {key: torch.empty(value.shape) for key, value in base.state_dict().items()}
    with torch.device("meta"):
        tiny = create_model("swin_tiny")
    with pytest.raises(UsageError, match="for swin_tiny") as error:
        load(tiny, state)
    assert "create 'swin_base'" in error.value.fix
    assert "(128, 3, 4, 4) in the file, (96, 3, 4, 4) in the model" in error.value.given
    assert "... and" in error.value.given


def test_biases_the_other_does_not_have_are_explained(build):
    error = refused(build(qkv_bias=False), numbers(build()), "unexpected")
    assert error.fix == "use qkv_bias=True"
    error = refused(build(), numbers(build(qkv_bias=False)), "missing")
    assert error.fix == "use qkv_bias=False"


def test_an_absolute_position_the_other_does_not_have_is_explained(build):
    error = refused(build(), numbers(build(absolute_position=(14, 14))), "position.table")
    assert "absolute_position=(height, width)" in error.fix
    error = refused(build(absolute_position=(14, 14)), numbers(build()), "position.table")
    assert "absolute_position=None" in error.fix


def test_a_detector_s_backbone_is_no_classifier(build):
    state = numbers(build(out_indices=(0, 1), feature_norms=True))
    error = refused(build(), state, "norm.weight")
    assert "out_indices=(0, 1, 2, 3), feature_norms=True" in error.fix


def test_a_table_whose_window_is_not_known_is_refused(build):
    state = to_format(build(window=(3, 7)), "timm")  # 65 rows: 3 x 7 or 7 x 3
    error = refused(build(), state, "65 rows, whose window is not known")
    assert "then convert" in error.fix


def test_another_family_is_refused(build):
    for kind, other in (("swin", "swin_v2"), ("swin_v2", "swin")):
        model = build(kind)
        before = numbers(model)
        with pytest.raises(UsageError, match="weights of a Swin") as error:
            load(model, build(other).state_dict())
        assert "swin_" in error.value.fix
        assert unchanged(model, before)


def test_video_weights_do_not_become_an_image_s(build):
    error = refused(build(), numbers(build("video")), "mismatch")
    assert "embed.proj.weight" in error.given


def test_without_strict_what_fits_is_kept(build):
    source, model = build(depths=(2, 4)), build()
    before = numbers(model)
    state = numbers(source)
    state["stages.0.blocks.0.norm1.weight"] = torch.zeros(3)
    report = load(model, state, strict=False)
    assert {entry.status for entry in report.problems} == {"unexpected", "mismatch"}
    assert torch.equal(model.head.weight, source.head.weight)
    kept = "stages.0.blocks.0.norm1.weight"
    assert torch.equal(model.state_dict()[kept], before[kept])


# --- Swin V2 and its window ---------------------------------------------------------------------


def test_a_grown_window_without_its_normaliser_is_refused(build):
    state = to_format(build("swin_v2", window=(8, 8)), "torchvision")
    error = refused(
        build("swin_v2", window=(16, 16)), state, r"span -1 to 1 in a window of \(8, 8\)"
    )
    assert "pretrained_window=(8, 8)" in error.fix
    model = build("swin_v2", window=(16, 16), pretrained_window=(8, 8))
    assert not load(model, state).entries


def test_creating_by_name_keeps_the_normaliser(build):
    small = {"dim": 24, "depths": (2, 2, 2, 2)}
    source = create_model("swin_v2_tiny", num_classes=5, **small)
    state = to_format(source, "torchvision")
    model = create_model("swin_v2_tiny", weights=state, window=(16, 16), **small)
    assert model.config.normalisers == ((8, 8),) * 4
    assert model.config.windows == ((16, 16),) * 4
    # timm's file does not show it: the named model does.
    model = create_model(
        "swin_v2_tiny", weights=to_format(source, "timm"), window=(16, 16), **small
    )
    assert model.config.normalisers == ((8, 8),) * 4
    # A choice that contradicts the file is an error, not a wish.
    with pytest.raises(UsageError, match=r"of \(4, 4\) in the model") as error:
        create_model(
            "swin_v2_tiny", weights=state, window=(16, 16), pretrained_window=(4, 4), **small
        )
    assert "pretrained_window=(8, 8)" in error.value.fix


# --- create_model and load_model ------------------------------------------------------------

NANO = {"dim": 16, "num_heads": (1, 2, 4)}
TINY = {"dim": 24, "depths": (1, 1, 2, 1)}


def test_classes_come_from_the_weights_unless_chosen(caplog):
    source = create_model("swin_tiny", num_classes=7, **TINY)
    state = to_format(source, "timm")
    model = create_model("swin_tiny", weights=state, **TINY)
    assert model.num_classes == 7
    assert torch.equal(numbers(model)["head.weight"], numbers(source)["head.weight"])
    assert not model.training
    with caplog.at_level(logging.INFO, "vitrail"):
        other = create_model("swin_tiny", weights=state, num_classes=3, **TINY)
    assert other.num_classes == 3
    assert "7 classes in the file, 3 in the model" in caplog.text


def test_our_file_says_how_its_model_behaves(tmp_path):
    source = create_model("swin_nano", padding="visible", window=(8, 8), mask_value=-100.0, **NANO)
    source._set_preprocessing(size=(64, 64), crop=0.5, classes=tuple("abcdefghij"), trained=True)
    save(source, tmp_path / "w.safetensors")
    model = create_model("swin_nano", weights=tmp_path / "w.safetensors", **NANO)
    assert model.config.padding == "visible"
    assert model.config.window == (8, 8)
    assert model.config.mask_value == -100.0
    assert model.preprocessing == source.preprocessing
    chosen = create_model(
        "swin_nano", weights=tmp_path / "w.safetensors", window=(5, 5), num_classes=2, **NANO
    )
    assert chosen.config.window == (5, 5)
    assert chosen.config.padding == "visible"
    assert chosen.preprocessing.classes is None
    assert chosen.preprocessing.size == (64, 64)


def test_a_name_is_never_overruled_by_a_file(tmp_path):
    save(create_model("swin_nano", **NANO), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="for swin_nano") as error:
        create_model("swin_nano", weights=tmp_path / "w.safetensors")
    assert "dim=16" in error.value.fix


def test_video_weights_bring_their_lookup(build):
    state = to_format(build("video", depths=(2, 2, 2, 2), num_heads=(3, 6, 12, 24)), "torchvision")
    small = {"dim": 24, "depths": (2, 2, 2, 2), "window": (2, 7, 7)}
    model = create_model("video_swin_tiny", weights=state, **small)
    assert (model.config.bias_lookup, model.config.shift_rule) == ("sliced", "clamp")
    assert create_model("video_swin_tiny", **small).config.bias_lookup == "offset"


@pytest.mark.parametrize("kind", ["swin", "swin_v2", "video"])
def test_a_model_is_built_from_its_file_alone(build, tmp_path, kind):
    source = build(kind, padding="visible", drop_path=0.3)
    save(source, tmp_path / "w.safetensors")
    model = load_model(tmp_path / "w.safetensors")
    assert model.config == source.config
    assert unchanged(source, numbers(model))
    assert load_model(tmp_path / "w.safetensors", drop_path=0.0).config.drop_path == 0.0


def test_a_model_is_built_from_another_s_file(build):
    source = build()
    model = load_model(to_format(source, "torchvision"))
    x = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        assert torch.equal(model(x), source(x))
    v2 = build("swin_v2")
    with pytest.raises(UsageError, match="does not show the window"):
        load_model(to_format(v2, "timm"))
    assert load_model(to_format(v2, "timm"), window=8).config.window == (8, 8)


def test_the_bundled_weights_are_a_name_away(tmp_path, monkeypatch):
    source = create_model("swin_nano")
    save(source, tmp_path / "cifar10.safetensors", dtype=torch.float16)
    monkeypatch.setattr("vitrail.weights.shipped.HOME", tmp_path)
    model = create_model("swin_nano", weights="bundled")
    assert torch.equal(numbers(model)["norm.bias"], numbers(source)["norm.bias"].half().float())
    with pytest.raises(UsageError, match="weights 'bundled' for swin_tiny") as error:
        create_model("swin_tiny", weights="bundled")
    assert "use 'swin_nano'" in error.value.fix
    assert "a file" in error.value.fix


def test_a_file_without_classifier_is_warned_of(caplog):
    source = create_model("swin_tiny", **TINY)
    state = {k: v for k, v in source.state_dict().items() if not k.startswith("head.")}
    create_model("swin_tiny", weights=state, **TINY)
    assert "the file has no classifier" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"


def test_overlapping_patches_are_known_by_the_catalog():
    source = create_model("swin_nano")
    again = load_model(source.state_dict())
    assert again.name == "swin_nano"
    assert (again.config.patch, again.config.patch_overlap) == ((2, 2), (1, 1))
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again(x), source.eval()(x))


@pytest.mark.parametrize(
    "change",
    [{"model": "Unheard"}, {"config": "{"}, {"config": json.dumps({"dim": -1})},
     {"preprocessing": json.dumps({"sizes": 1})}],
)  # fmt: skip
def test_a_file_of_ours_that_cannot_be_understood_is_refused(build, tmp_path, change):
    model = build()
    save_file(model.state_dict(), tmp_path / "w.safetensors", metadata=hub.metadata(model) | change)
    with pytest.raises(UsageError, match="a Vitrail file whose description") as error:
        load_model(tmp_path / "w.safetensors")
    assert "upgrade" in error.value.fix


def test_weights_are_marked_as_trained(build):
    model = build()
    assert not model.preprocessing.trained
    load(model, to_format(build(), "timm"))
    assert model.preprocessing.trained


def test_preprocessing_for_another_number_of_channels_is_not_taken_over(build, tmp_path):
    source = build()
    source.preprocessing = Preprocessing(size=(99, 99), mean=(0.1,) * 3, std=(0.2,) * 3)
    save(source, tmp_path / "w.safetensors")
    model = build(in_channels=1)
    load(model, tmp_path / "w.safetensors")
    assert model.preprocessing.size != (99, 99)
