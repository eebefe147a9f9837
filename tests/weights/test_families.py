"""PVT, PVT v2, ViT and Focal: what shapes imply, what they do not, and what is resized."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.named_weights import uniform, weight
from vitrail import create_model, from_model
from vitrail.errors import UsageError
from vitrail.models import PVTConfig, PVTV2Config
from vitrail.models.focal import FocalConfig, FocalFastConfig
from vitrail.models.vit import ViTConfig
from vitrail.weights import (
    convert,
    load,
    load_backbone,
    load_model,
    read_state,
    rules,
    save,
    to_format,
)
from vitrail.weights.detect import detect
from vitrail.weights.families import Hints
from vitrail.weights.formats import FORMATS
from vitrail.weights.infer import infer_config, name_of

KINDS = ("pvt", "pvt_v2", "vit", "focal", "focal_fast", "hiera", "maxvit", "tiny")
NEW = sorted(key for key in FORMATS if key[1] in KINDS)
FOCAL_DATA = Path(__file__).parents[1] / "parity" / "data"


def facts(model, name):
    """Return the configuration that a file of that format implies, meant for such a model."""
    found = detect(to_format(model, name))
    reading = rules.read(found.state, found.rules())
    ours = name == "vitrail"
    return infer_config(reading, family=found.family, hints=Hints(like=model.config, ours=ours))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"qkv_bias": False, "in_channels": 1, "num_classes": 0},
        {"embed_norm": False},
    ],
)
@pytest.mark.parametrize(("name", "kind"), NEW)
def test_a_configuration_is_implied_by_shapes(build, name, kind, fields):
    if kind == "vit" and "embed_norm" in fields:
        fields = {"embed_norm": True}
    brought = dict(FORMATS[name, kind].fields) if kind == "maxvit" else {}
    model = build(kind, **brought | fields)
    found = facts(model, name)
    known = {k: getattr(model.config, k) for k in found.__dataclass_fields__}
    unseen = ("drop_path", "norm_eps", "embed_norm_eps", "padding", *brought)
    assert {k: getattr(found, k) for k in known if k not in unseen} == {
        k: v for k, v in known.items() if k not in unseen
    }


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("pvt", {"prefix": 0, "global_pool": "avg"}),
        ("pvt", {"patch": (2, 2), "merge": (3, 3)}),
        ("pvt", {"positions": ((14, 7), (7, 3))}),
        ("pvt_v2", {"pooled": (7, 7), "dims": (12, 24)}),
        ("pvt_v2", {"patch": (2, 2), "patch_kernel": (3, 3)}),
        ("vit", {"prefix": 0, "global_pool": "avg"}),
        ("vit", {"mlp_ratio": 2.0, "depths": (1,)}),
        ("focal", {"conv_embed": True, "windows": ((7, 7), (4, 4)), "margins": ((3, 3), (0, 0))}),
        ("focal", {"halo": "exact", "padding": "masked"}),
        ("focal_fast", {"conv_embed": False, "windows": ((7, 7), (3, 3))}),
        ("hiera", {"positions": (16, 8), "mlp_ratio": 2.0}),
        ("maxvit", {"window": (5, 5), "grid": (3, 3), "stem_dim": 12, "shortcut_proj": True}),
        ("maxvit", {"stem_dim": 12, "stem_bias": False, "head_bias": False, "expand": 2.0}),
        ("tiny", {"mechanism": "axial"}),
    ],
)
def test_variants_are_named_by_our_own_weights(build, kind, fields):
    model = build(kind, **fields)
    found = facts(model, "vitrail")
    skipped = ("reductions",) if "pooled" in fields else ()
    for name in (*fields, "depths", "num_heads", "patch", "merge", "dims", "reductions"):
        if hasattr(found, name) and name not in skipped:
            assert getattr(found, name) == getattr(model.config, name), name


# --- heads, which no shape shows ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pvt", "pvt_v2", "vit"])
def test_unpublished_widths_do_not_show_the_heads(build, kind):
    state = to_format(build(kind), "vitrail")
    with pytest.raises(UsageError, match="whose number of heads is not in the file") as error:
        load_model(state)
    assert "create_model(name, num_heads=" in error.value.fix


@pytest.mark.parametrize(
    ("name", "fields", "to"),
    [
        ("pvt_tiny", {"depths": (1, 1, 1, 1), "mlp_ratios": (1.0,) * 4}, "transformers"),
        ("pvt_v2_b0", {"depths": (1, 1, 1, 1)}, "timm"),
        ("vit_tiny", {"depths": (1,)}, "torchvision"),
    ],
)
def test_published_widths_show_the_heads(name, fields, to):
    model = create_model(name, num_classes=5, **fields).eval()
    found = load_model(to_format(model, to))
    assert found.config.num_heads == model.config.num_heads
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(found(x), model(x), rtol=1e-4, atol=1e-4)


def test_models_of_the_catalog_are_recognised():
    for name in ("pvt_small", "pvt_v2_b2", "pvt_v2_b2_li", "vit_small", "focal_tiny_conv",
                 "focal_fast_tiny", "maxvit_small", "hiera_small", "axial_tiny"):  # fmt: skip
        with torch.device("meta"):
            model = create_model(name)
        found = facts(model, "vitrail")
        assert name_of(found) == name


def test_naming_the_model_gives_the_heads():
    fields = {"dim": 24, "depths": (2,), "num_heads": (4,), "num_classes": 5}
    source = create_model("vit_tiny", **fields)
    again = create_model("vit_tiny", **fields, weights=to_format(source, "timm"))
    assert again.config.num_heads == (4,)
    assert source.head is not None and again.head is not None
    assert torch.equal(again.head.weight, source.head.weight)


def test_other_heads_than_those_of_our_file_are_refused(build, tmp_path):
    save(build("vit", num_heads=(3,)), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"num_heads=\(3,\) in the file, \(4,\)") as error:
        load(build("vit", num_heads=(4,)), tmp_path / "w.safetensors")
    assert "num_heads=(3,)" in error.value.fix


def test_heads_do_not_matter_where_they_are_not_written(build, tmp_path):
    state = to_format(build("pvt"), "official")
    done = convert(state, tmp_path / "w.safetensors", "transformers")
    assert (done.source, done.left, done.unknown) == ("official", (), ())
    with pytest.raises(UsageError, match="number of heads") as error:
        convert(state, tmp_path / "v.safetensors", "vitrail")
    assert "num_heads" in error.value.fix


# --- into shape -----------------------------------------------------------------------------------


def test_each_table_of_positions_is_resized_to_its_own_grid(build):
    source, model = build("pvt"), build("pvt", positions=((20, 12), (10, 6)))
    report = load(model, to_format(source, "official"))
    assert [e.key for e in report.entries] == [f"stages.{i}.position.table" for i in (0, 1)]
    assert [e.reason for e in report.entries] == [
        "grid (14, 14) became (20, 12)", "grid (7, 7) became (10, 6)",
    ]  # fmt: skip
    assert torch.equal(model.stages[1].prefix.position, source.stages[1].prefix.position)


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_the_position_of_the_token_stays_apart(build, name):
    source, model = build("vit"), build("vit", positions=(10, 5))
    written = to_format(source, name)
    table = written["pos_embed" if name == "timm" else "encoder.pos_embedding"]
    assert table.shape == (1, 50, 24)
    load(model, written)
    assert torch.equal(model.stages[0].prefix.position[0], table[0, :1])
    assert model.position.table.shape == (1, 10, 5, 24)


def test_a_grid_that_is_no_square_is_the_named_model_s(build):
    source = build("vit", positions=(10, 5))
    written = to_format(source, "timm")
    model = build("vit", positions=(10, 5))
    assert not load(model, written).entries
    assert torch.equal(model.position.table, source.position.table)
    with pytest.raises(UsageError, match="positions of 51 places in pos_embed"):
        load_model(written)


@pytest.mark.parametrize(
    ("kind", "name"), [("pvt", "official"), ("pvt_v2", "timm"), ("vit", "timm")]
)
def test_another_head_and_other_channels(build, kind, name):
    source, model = build(kind), build(kind, num_classes=3, in_channels=1)
    report = load(model, to_format(source, name))
    assert {e.key: e.status for e in report.entries} == {
        "embed.proj.weight": "adapted", "head.weight": "fresh", "head.bias": "fresh",
    }  # fmt: skip
    expected = source.embed.proj.weight.sum(1, keepdim=True)
    torch.testing.assert_close(model.embed.proj.weight, expected)


@pytest.mark.parametrize(("name", "kind"), [key for key in NEW if key[0] != "vitrail"])
def test_a_key_that_no_rule_knows_is_reported(build, name, kind):
    model = build(kind, **(FORMATS[name, kind].fields if kind == "maxvit" else {}))
    state = to_format(model, name)
    inner = FORMATS[name, kind].inner[0]
    with pytest.raises(UsageError, match="1 unexpected") as error:
        load(model, state | {f"{inner}something.else": torch.zeros(1)})
    assert "something.else" in error.value.given


def test_a_detector_s_pvt_leaves_the_token_aside(build):
    source = build("pvt")
    model = build("pvt", prefix=0, global_pool="avg", out_indices=(0, 1), num_classes=0)
    report = load(model, to_format(source, "official"))
    ignored = {e.key for e in report.entries if e.status == "ignored"}
    assert {"stages.1.prefix.tokens", "stages.1.prefix.position", "head.weight"} <= ignored
    assert not report.problems


def test_old_names_of_torchvision_s_perceptron_are_read(build):
    source, model = build("vit"), build("vit")
    written = to_format(source, "torchvision")
    old = {k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v
           for k, v in written.items()}  # fmt: skip
    assert old.keys() != written.keys()
    load(model, old)
    assert torch.equal(model.stages[0].blocks[1].mlp.fc2.weight,
                       source.stages[0].blocks[1].mlp.fc2.weight)  # fmt: skip


def test_transformers_brings_its_one_eps(build, tmp_path):
    state = to_format(build("pvt"), "transformers")
    model = create_model("pvt_tiny", dims=(12, 24), depths=(2, 2), num_heads=(3, 6),
                         mlp_ratios=(2.0, 3.0), reductions=((4, 4), (1, 1)),
                         positions=((14, 14), (7, 7)), weights=state)  # fmt: skip
    assert model.config.embed_norm_eps == 1e-6
    assert PVTConfig().embed_norm_eps == PVTV2Config().embed_norm_eps == 1e-5


def test_transformers_reads_our_file_itself(build, tmp_path):
    transformers = pytest.importorskip("transformers")
    source = build("pvt", embed_norm_eps=1e-6)
    convert(source.state_dict(), tmp_path / "model.safetensors", "transformers")
    transformers.PvtConfig(
        image_size=56, hidden_sizes=[12, 24], depths=[2, 2], num_attention_heads=[3, 6],
        mlp_ratios=[2, 3], sequence_reduction_ratios=[4, 1], num_encoder_blocks=2,
        patch_sizes=[4, 2], strides=[4, 2], num_labels=5,
    ).save_pretrained(tmp_path)  # fmt: skip
    peer = transformers.PvtForImageClassification.from_pretrained(tmp_path).eval()
    x = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        torch.testing.assert_close(peer(x).logits, source(x), rtol=1e-4, atol=1e-5)


# --- Focal: the official code's names, shapes and outputs ------------------------------------


@pytest.mark.parametrize("name", ["plain", "conv", "three_levels", "fast"])
def test_official_focal_weights_give_the_official_outputs(name):
    numbers = np.load(FOCAL_DATA / f"focal_{name}.npz")
    about = json.loads(str(numbers["about"]))
    case = about["runs"][0]
    state = {
        key: torch.from_numpy(weight(key, tuple(shape)))
        for key, shape in case["parameters"].items()
    }
    options = case["options"]
    fields = {"count": options["focal_topK"]} if about["version"] == "v2" else {}
    config = load_backbone(state, **fields).config
    model = type(load_backbone(state))(config).double().eval()
    assert not load(model, state).entries
    if about["version"] == "v1":
        assert isinstance(config, FocalConfig)
        assert (config.halo, config.padding) == ("rolled", "visible")
    else:
        assert isinstance(config, FocalFastConfig)
    x = torch.from_numpy(uniform("input", (2, 3, *case["size"])))
    with torch.inference_mode():
        np.testing.assert_allclose(model(x).numpy(), numbers["logits_0"], rtol=1e-9, atol=1e-9)
    written = to_format(model, "official")
    assert set(state) <= set(written)
    assert all(torch.equal(written[key], value) for key, value in state.items())


def test_the_official_buffers_of_focal(build):
    written = to_format(build("focal"), "official")
    block = "layers.0.blocks.0.attn"
    # Four rolls by 2 of a window of 4 leave 12 tokens of each, row-major.
    places = written[f"{block}.valid_ind_rolled"]
    assert places.shape == (48,)
    assert places[:12].tolist() == [2, 3, 6, 7, *range(8, 16)]
    assert places[12:24].tolist() == [16 + n for n in (0, 1, 4, 5, *range(8, 16))]
    assert f"{block.replace('layers.0', 'layers.1')}.valid_ind_rolled" not in written
    index = written[f"{block}.relative_position_index_0"]
    assert index.shape == (16, 25)
    assert index[0, 24] == 0
    assert index[15, 0] == 8 * 8 - 1
    assert written[f"{block}.relative_position_index_1"].shape == (16, 16)
    # An unfolded neighbourhood of 5 by 5 cells: without the first.
    unfolded = written[f"{block}.valid_ind_unfold_1"]
    assert unfolded[:5].tolist() == [6, 7, 8, 9, 11]
    fast = to_format(build("focal_fast"), "official")
    assert fast[f"{block}.window_coords"][0].tolist() == [[-2, -2], [-2, -1], [-2, 0], [-2, 1]]


def test_the_official_list_of_nearest_tokens_shows_their_number(build):
    state = to_format(build("focal_fast", count=9), "official")
    state["layers.0.blocks.0.attn.topk_cloest_indice_0"] = torch.zeros(4, 31, dtype=torch.int64)
    model = load_model(state)
    assert model.config.count == 31


def test_an_exact_halo_has_no_place_in_the_official_format(build):
    with pytest.raises(UsageError, match="halo='exact' as official") as error:
        to_format(build("focal", halo="exact"), "official")
    assert "halo='rolled'" in error.value.fix
    with pytest.raises(UsageError, match="a model of 1 axes as official") as error:
        to_format(build("focal_fast", windows=((4,), (4,)), patch=(4,), merge=(2,)), "official")
    assert "'vitrail'" in error.value.fix


def test_focal_windows_and_halos_that_shapes_cannot_show_are_refused(build):
    state = to_format(build("focal"), "official")
    key = "layers.0.blocks.0.attn.relative_position_bias_table"
    with pytest.raises(UsageError, match="65 rows in stage 0") as error:
        load_model(state | {key: torch.zeros(65, 3)})
    assert "load the weights into it" in error.value.fix
    halo = f"{key}_to_neighbors"
    with pytest.raises(UsageError, match=r"a halo of \[7, 0\] keys") as error:
        load_model(state | {halo: torch.zeros(1, 3, 16, 7)})
    assert "load the weights into it" in error.value.fix


# --- MaxViT: tables of two orders, statistics, and what a format's models do ---------------------


def test_tables_of_maxvit_are_flipped_for_timm(build):
    """By hand: timm has heads first, and counts the key's place minus the query's."""
    model = build("maxvit", window=(2, 3), grid=(3, 2))
    written = to_format(model, "timm")
    table = written["stages.0.blocks.1.attn_block.attn.rel_pos.relative_position_bias_table"]
    ours = model.stages[0].blocks[1].window.attn.bias.table.view(3, 5, 3)
    assert table.shape == (3, 3, 5)
    assert table[1, 0, 4] == ours[2, 0, 1]
    again = build("maxvit", window=(2, 3), grid=(3, 2))
    assert not load(again, written).entries
    assert torch.equal(again.stages[0].blocks[1].grid.attn.bias.table,
                       model.stages[0].blocks[1].grid.attn.bias.table)  # fmt: skip
    with pytest.raises(UsageError, match="15 rows in stages") as error:
        load_model(written)
    assert "window=..." in error.value.fix


def test_another_window_and_grid_resize_the_tables(build):
    source, model = build("maxvit"), build("maxvit", window=(5, 5))
    report = load(model, to_format(source, "timm"))
    assert {e.reason for e in report.entries} == {"window (7, 7) became (5, 5)"}
    assert len(report.entries) == 4
    assert not report.problems


@pytest.mark.parametrize("to", ["timm", "torchvision"])
def test_what_a_format_of_maxvit_does_not_do_is_refused(build, to):
    other = FORMATS["torchvision" if to == "timm" else "timm", "maxvit"].fields
    with pytest.raises(UsageError, match=f"act='gelu.*as {to}") as error:
        to_format(build("maxvit", **other), to)
    assert "'vitrail'" in error.value.fix
    with pytest.raises(UsageError, match=f"1 axes as {to}"):
        to_format(build("maxvit", **FORMATS[to, "maxvit"].fields, patch=(4,), merge=(2,),
                        window=(7,), grid=(7,)), to)  # fmt: skip


def test_our_file_says_how_its_maxvit_behaves(build, tmp_path):
    source = build("maxvit", **FORMATS["torchvision", "maxvit"].fields, conv_norm_eps=0.01)
    save(source, tmp_path / "w.safetensors")
    named = create_model("maxvit_tiny", dims=(12, 24), depths=(2, 2), num_heads=(3, 6),
                         stem_dim=16, weights=tmp_path / "w.safetensors")  # fmt: skip
    assert (named.config.scale, named.config.act, named.config.conv_norm_eps) == (
        "dim", "gelu", 0.01
    )  # fmt: skip
    x = torch.randn(1, 3, 61, 47)
    with torch.inference_mode():
        torch.testing.assert_close(named(x), source(x))


def test_a_file_of_half_numbers_keeps_counts_whole(build, tmp_path):
    source = build("maxvit").train()
    source(torch.randn(2, 3, 32, 32))
    save(source, tmp_path / "w.safetensors", dtype=torch.bfloat16)
    state = read_state(tmp_path / "w.safetensors")
    assert state["embed.norm.num_batches_tracked"].dtype == torch.int64
    assert state["embed.norm.running_var"].dtype == torch.bfloat16
    again = load_model(tmp_path / "w.safetensors")
    assert again.state_dict()["embed.norm.num_batches_tracked"] == 1


def test_other_maxvits_of_timm_are_refused():
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        for name, why in (
            ("maxvit_rmlp_small_rw_224", r"another transformer_rel_pos_type \(RelPosMlp\)"),
            ("coatnet_0_224", r"another block_type \(\['MbConvBlock'"),
            ("maxvit_nano_rw_256", r"another transformer_rel_pos_type \(RelPosBias\)"),
        ):
            peer = timm.create_model(name)
            with pytest.raises(UsageError, match=f"a MaxxVit with {why}") as error:
                from_model(peer)
            assert "maxvit_tiny_tf_224" in error.value.fix
            with pytest.raises(UsageError):
                detect(peer.state_dict())
        with pytest.raises(UsageError, match="its stem's map") as error:
            from_model(timm.create_model("maxvit_tiny_tf_224", features_only=True))
        assert "out_indices=(1, 2, 3, 4)" in error.value.fix


def test_torchvision_s_dropping_is_taken_over():
    maxvit = pytest.importorskip("torchvision.models.maxvit")
    built = {"input_size": (56, 56), "stem_channels": 16, "partition_size": 7, "head_dim": 16,
             "block_channels": [16, 32], "block_layers": [1, 1],
             "stochastic_depth_prob": 0.25}  # fmt: skip
    ours = from_model(maxvit.MaxVit(**built, mlp_dropout=0.125, attention_dropout=0.125))
    config = ours.config
    assert (config.drop, config.attn_drop, config.drop_path) == (0.125, 0.0, 0.25)
    assert ours.preprocessing.size == (56, 56)
    with pytest.raises(UsageError, match=r"attention_dropout=0.5, mlp_dropout=0.0") as error:
        from_model(maxvit.MaxVit(**built, attention_dropout=0.5))
    assert "equal numbers" in error.value.fix


# --- live peers -----------------------------------------------------------------------------------


def test_a_peer_s_settings_are_taken_over(draw):
    timm = pytest.importorskip("timm.models")
    peer = draw(timm.pvt_v2.PyramidVisionTransformerV2(
        embed_dims=(12, 20), depths=(1, 2), num_heads=(1, 2), sr_ratios=(4, 1), mlp_ratios=(2, 2),
        proj_drop_rate=0.1, attn_drop_rate=0.2, drop_path_rate=0.3, num_classes=0,
    ))  # fmt: skip
    config = from_model(peer).config
    assert (config.drop, config.attn_drop, config.num_classes) == (0.1, 0.2, 0)
    assert config.drop_path == pytest.approx(0.3)
    assert config.num_heads == (1, 2)
    vit = timm.vision_transformer.VisionTransformer(
        img_size=(32, 64), embed_dim=24, depth=2, num_heads=4, num_classes=5, proj_drop_rate=0.1,
    )  # fmt: skip
    ours = from_model(draw(vit))
    assert isinstance(ours.config, ViTConfig)
    assert (ours.config.positions, ours.config.num_heads) == ((2, 4), (4,))
    assert ours.preprocessing.size == (32, 64)


def test_a_vit_that_normalises_after_the_mean_is_refused(draw):
    timm = pytest.importorskip("timm.models.vision_transformer")
    peer = timm.VisionTransformer(embed_dim=24, depth=1, num_heads=4, global_pool="avg")
    with pytest.raises(UsageError, match="a ViT with global_pool='avg'") as error:
        from_model(peer)
    assert "global_pool='token'" in error.value.fix


def test_what_a_conversion_wrote_is_read_again(build, tmp_path):
    source = build("pvt_v2")
    convert(source.state_dict(), tmp_path / "w.pth", "official")
    load(model := build("pvt_v2"), read_state(tmp_path / "w.pth"))
    assert torch.equal(model.head.weight, source.head.weight)
