"""The manifest names everything; arrays fit their budget and hold what was captured."""

import hashlib
import json
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

from tests.explorer.decoding import decode_rows
from tests.mechanisms import MECHANISMS
from vitrail.errors import UsageError
from vitrail.explain import Trace, attention_stats
from vitrail.explain.merging import merge_shares
from vitrail.explorer import blocks as module
from vitrail.explorer.arrays import Arrays
from vitrail.explorer.explore import build_trace, iter_trace
from vitrail.explorer.manifest import check_size
from vitrail.models import Backbone, Swin
from vitrail.patterns import Global, Window
from vitrail.shapes import Size

SCHEMA = json.loads((resources.files("vitrail.explorer") / "schema.json").read_text("utf-8"))
DTYPES = {"u8": np.uint8, "i32": np.int32, "f16": np.float16, "f32": np.float32, "bytes": np.uint8}

Looked = tuple[Trace, dict[str, Any], Arrays]


def looked(model: Backbone, size: Size = (21, 31)) -> Looked:
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    return build_trace(model, Image.fromarray(noise), size=size)


def check_form(manifest: dict[str, Any], arrays: Arrays) -> None:
    """The manifest is of the form that the page is typed by, and names what is there."""
    text = json.dumps(manifest, allow_nan=False)
    assert len(text) <= 100_000
    for error in Draft202012Validator(SCHEMA).iter_errors(json.loads(text)):
        pytest.fail(f"{error.json_path}: {error.message}")
    assert set(manifest["arrays"]) == set(arrays.stored)
    for name, facts in manifest["arrays"].items():
        array = arrays.get(name)
        assert array.dtype == DTYPES[facts["dtype"]], name
        assert list(array.shape) == facts["shape"], name
        assert hashlib.sha256(array.tobytes()).hexdigest() == facts["sha256"], name
        assert ("type" in facts) == (facts["dtype"] == "bytes")
    names = [value for block in manifest["blocks"] for key, value in block.items() if key in NAMES]
    names += [stage["merge"]["share"] for stage in manifest["stages"] if stage["merge"]]
    names += [manifest["photo"]["seen"], manifest["photo"]["shown"]]
    names += [reach["erf"] for reach in manifest["reach"]]
    names += [row["array"] for row in manifest["maps"]]
    biases = {block["bias"] for block in manifest["blocks"]}  # made on demand, if too large
    assert {name for name in names if name is not None} - biases <= set(arrays.stored)


NAMES = ("queries", "keys", "query_regions", "key_regions", "boxes", "mean", "chosen", "attention",
         "bias", "stats", "rgb")  # fmt: skip


def test_the_schema_is_one_and_every_object_in_it_is_closed() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    objects = [SCHEMA, *SCHEMA["$defs"].values()]
    for form in objects:
        assert form["additionalProperties"] is False
        for name, part in form["properties"].items():
            assert "description" in part or "$ref" in part, name


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_has_a_manifest_of_this_form(name: str) -> None:
    trace, manifest, arrays = looked(MECHANISMS[name]())
    check_form(manifest, arrays)
    for i, (block, facts) in enumerate(zip(trace.blocks, manifest["blocks"], strict=True)):
        groups, heads, queries, keys = block.shape
        assert (facts["groups"], facts["heads"]) == (groups, heads)
        assert (facts["queries_per_group"], facts["keys_per_group"]) == (queries, keys)
        assert facts["pairs"] == int(block.pattern.allowed(block.spatial).sum())
        real = (block.groups.q_index >= 0).numpy()
        attention = block.attention.numpy()
        each = decode_rows(arrays.get(facts["attention"]))
        mean = decode_rows(arrays.get(facts["mean"]))
        assert np.abs(each - attention).max(-1).transpose(0, 2, 1)[real].max() <= 4e-3
        assert np.abs(mean - attention.mean(1)).max(-1)[real].max() <= 4e-3
        assert (each.sum(-1).transpose(0, 2, 1)[~real] == 0).all()
        assert (arrays.get(facts["queries"]) == block.groups.q_index.numpy()).all()
        assert (arrays.get(facts["keys"]) == block.groups.k_index.numpy()).all()
        regions = {
            "query_regions": block.groups.labels[0],
            "key_regions": block.groups.labels[1],
        }
        for field, label in regions.items():
            if facts[field] is None:
                assert (block.groups.labels[0] == 0).all()
                assert (block.groups.labels[1] == 0).all()
            else:
                assert (arrays.get(facts[field]) == label.numpy()).all()
        stats = arrays.get(facts["stats"])
        np.testing.assert_allclose(stats, attention_stats(block).numpy(), rtol=1e-6)
        assert (arrays.get(facts["rgb"]) == np.asarray(block.rgb)).all()
        assert facts["rgb"].startswith("b"), i
        if block.bias is not None:
            half = arrays.get(facts["bias"]).astype(np.float32)
            expected = block.bias.view(half.shape).numpy()
            np.testing.assert_allclose(half, expected, rtol=2e-3, atol=1e-4)


def test_the_bias_is_that_of_the_layer() -> None:
    model = MECHANISMS["swin"]()
    _, manifest, arrays = looked(model)
    layer: Any = model.get_submodule("stages.0.blocks.1.attn")
    with torch.no_grad():
        expected = layer.bias((3, 4)).numpy()
    found = arrays.get(manifest["blocks"][1]["bias"])
    assert found.shape == (1, 2, 12, 12)
    np.testing.assert_allclose(found[0], expected, rtol=2e-3, atol=1e-4)


def test_shares_of_a_merge_are_those_of_the_layer(model: Swin) -> None:
    seen: list[torch.Tensor] = []
    merge: Any = model.stages[1].merge
    handle = merge.register_forward_hook(lambda _, args, out: seen.append(args[0]))
    _, manifest, arrays = looked(model)
    handle.remove()
    facts = manifest["stages"][1]["merge"]
    assert (facts["before"], facts["after"]) == ([11, 16], [6, 8])
    assert (facts["factor"], facts["overlap"]) == ([2, 2], [0, 0])
    share = arrays.get(facts["share"])
    with torch.no_grad():
        expected = merge_shares(merge, seen[0])
    assert expected is not None
    assert share.shape == (6, 8, 4)
    assert np.abs(share / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-6
    assert manifest["stages"][0]["merge"] is None


def test_what_a_merge_sees_beyond_its_children_is_noted() -> None:
    _, manifest, _ = looked(MECHANISMS["pvt_v2"]())
    assert manifest["stages"][1]["merge"]["overlap"] == [1, 1]


def test_stages_and_support() -> None:
    model = MECHANISMS["pvt"]()
    _, manifest, _ = looked(model)
    stages = manifest["stages"]
    assert [stage["dim"] for stage in stages] == list(model.config.stage_dims)
    assert [tuple(stage["stride"]) for stage in stages] == list(model.config.stage_strides)
    assert [stage["blocks"] for stage in stages] == [
        [i for i, block in enumerate(manifest["blocks"]) if block["stage"] == stage]
        for stage in range(len(stages))
    ]
    for row in manifest["reach"]:
        y0, x0, y1, x1 = row["support"]
        assert 0 <= y0 < y1 <= 21
        assert 0 <= x0 < x1 <= 31


def test_the_support_is_that_of_the_gradient() -> None:
    model = MECHANISMS["window_tiny"]()
    trace, manifest, _ = looked(model)
    image = torch.randn(1, 3, *trace.spatial, requires_grad=True)
    maps = model.features(image)
    for stage, grid in enumerate(maps):
        middle = tuple(n // 2 for n in grid.shape[1:-1])
        (slope,) = torch.autograd.grad(grid[0][middle].square().sum(), image, retain_graph=True)
        seen = slope.abs().sum((0, 1)).nonzero()
        expected = [*seen.min(0).values.tolist(), *(seen.max(0).values + 1).tolist()]
        assert manifest["reach"][stage]["support"] == expected


def test_equal_arrays_are_kept_once(model: Swin) -> None:
    _, manifest, _ = looked(model, (32, 32))
    digests = [(facts["sha256"], facts["dtype"]) for facts in manifest["arrays"].values()]
    assert len(set(digests)) == len(digests)
    first = manifest["blocks"][0]
    assert first["queries"] == first["keys"] == "b0/queries"


def test_heads_that_do_not_fit_are_left_out_the_largest_first(
    model: Swin, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [block.attention.numel() for block in looked(model, (32, 32))[0].blocks]
    assert sizes[0] > sizes[2]
    monkeypatch.setattr(module, "PER_HEAD", 2 * sizes[2])
    monkeypatch.setattr(module, "BIASES", 0)
    _, manifest, arrays = looked(model, (32, 32))
    assert [block["attention"] is not None for block in manifest["blocks"]] == [0, 0, 1, 1]
    assert all(block["mean"] in arrays.stored for block in manifest["blocks"])
    assert not any(block["bias"] in arrays.stored for block in manifest["blocks"])
    for block in manifest["blocks"]:
        assert arrays.get(block["bias"]).dtype == np.float16, "and yet it can be requested"
    check_form(manifest, arrays)


@pytest.mark.parametrize("name", ["swin", "vit", "pvt", "focal", "sparse_tiny"])
def test_of_a_large_block_some_queries_are_stored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MECHANISMS[name]()
    monkeypatch.setattr(module, "BLOCK", 0)
    monkeypatch.setattr(module, "CHOSEN", 2000)
    trace, manifest, arrays = looked(model, (42, 54))
    check_form(manifest, arrays)
    for block, facts in zip(trace.blocks, manifest["blocks"], strict=True):
        slots = arrays.get(facts["chosen"])
        groups, _, queries, keys = block.shape
        assert (np.diff(slots) > 0).all()
        assert slots.size * keys <= max(2000, keys * (block.pattern.prefix + 1))
        means = block.attention.mean(1).reshape(groups * queries, keys).numpy()[slots]
        assert np.abs(decode_rows(arrays.get(facts["mean"])) - means).max() <= 4e-3
        tokens = block.groups.q_index.flatten().numpy()[slots]
        assert (tokens >= 0).all()
        assert set(range(block.pattern.prefix)) <= set(tokens.tolist())
        assert facts["attention"] is None
    sums = next(check for check in manifest["checks"] if check["id"] == "sums")
    assert 0 < sums["value"] < 1e-5


def test_chosen_queries_lie_on_a_lattice_over_the_whole_grid() -> None:
    trace, _, _ = looked(MECHANISMS["swin"](), (64, 96))
    block = trace.blocks[1]
    assert block.spatial == (32, 48)
    slots = module.chosen_slots(block, 100)
    tokens = sorted(block.groups.q_index.flatten()[slots].tolist())
    rows, columns = sorted({t // 48 for t in tokens}), sorted({t % 48 for t in tokens})
    assert tokens == [row * 48 + column for row in rows for column in columns]
    assert 80 <= len(tokens) <= 100
    assert max(np.diff([-3, *rows, 34])) <= 6
    assert max(np.diff([-3, *columns, 50])) <= 6


def test_blocks_are_thinned_until_all_of_them_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    trace, _, _ = looked(MECHANISMS["swin"](), (64, 96))
    means = [block.shape[0] * block.shape[2] * block.shape[3] for block in trace.blocks]
    monkeypatch.setattr(module, "MEANS", sum(means) - 1)
    monkeypatch.setattr(module, "CHOSEN", 1000)
    kept = module.plan(trace.blocks)
    largest = max(range(len(means)), key=means.__getitem__)
    assert list(kept.queries) == [largest]
    assert largest not in kept.heads
    monkeypatch.setattr(module, "MEANS", 10)
    assert len(module.plan(trace.blocks).queries) == len(means)


def test_padding_that_is_seen_is_found_and_padding_that_is_not_is_not(model: Swin) -> None:
    def value(model: Backbone, size: Size) -> dict[str, Any]:
        checks = looked(model, size)[1]["checks"]
        return {check["id"]: check for check in checks}

    masked = value(model, (21, 31))
    assert masked["padding"]["passed"]
    assert masked["padding"]["value"] == 0
    assert "no token sees it" in masked["padding"]["text"]
    assert all(check["passed"] for id, check in masked.items() if id != "provenance")
    assert masked["provenance"]["value"] == looked(model)[1]["model"]["sha256"]
    visible = Swin(replace(model.config, padding="visible", mask_value=-1.0))
    visible.load_state_dict(model.state_dict())
    leaks = value(visible.eval(), (21, 31))
    assert not leaks["padding"]["passed"]
    assert leaks["padding"]["value"] > 1e-3
    assert "lets tokens see the padding" in leaks["padding"]["text"]
    assert not leaks["wrap"]["passed"]
    assert "the mask is not complete" in leaks["wrap"]["text"]
    whole = value(visible, (32, 32))
    assert whole["padding"]["passed"]
    assert "There is no padding" in whole["padding"]["text"]
    rolled = value(MECHANISMS["focal_rolled"](), (21, 31))
    assert "wrap around the picture" in rolled["wrap"]["text"]


def test_checks_find_what_is_wrong(model: Swin, monkeypatch: pytest.MonkeyPatch) -> None:
    attend: Any = model.get_submodule("stages.0.blocks.1.attn.attend")
    plain, calls = type(attend).forward, []

    def wrong(self: Any, *args: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        out = plain(self, *args, **kwargs)
        if self is attend:
            calls.append(None)
            out = out + (0.5 if len(calls) == 1 else 0.0)
        return out

    monkeypatch.setattr(type(attend), "forward", wrong)
    checks = {check["id"]: check for check in looked(model)[1]["checks"]}
    assert not checks["output"]["passed"], "the watched pass was another one"
    assert not checks["watching"]["passed"]
    assert checks["sums"]["passed"]


def test_a_size_too_large_is_refused_and_the_fix_fits() -> None:
    with pytest.raises(UsageError, match="--size") as caught:
        check_size([(Global(), (2000, 1000)), (Window((7, 7), (0, 0)), (2000, 1000))], (8000, 4000))
    error = caught.value
    assert "8000x4000 pixels: 4,000,000 million weights" in error.given
    assert "2,000 million" in error.allowed
    height, width = map(int, error.fix.split()[2].split("x"))
    assert 800 < height < 8000 / 6
    check_size([(Global(), (height // 4, width // 4))], (height, width))


def test_a_manifest_grows_and_what_was_given_out_does_not_change(
    model: Swin, picture: Image.Image
) -> None:
    seen: list[tuple[dict[str, Any], str]] = []
    for _, manifest, arrays in iter_trace(model, picture, size=(16, 24), scored=True):
        check_form(manifest, arrays)
        seen.append((manifest, json.dumps(manifest)))
    assert [manifest["pending"] for manifest, _ in seen] == [
        ["methods", "maps", "reach", "cost", "checks", "faithfulness"],
        ["cost", "checks", "faithfulness"],
        ["faithfulness"],
        [],
    ]
    first, last = seen[0][0], seen[-1][0]
    for part in first["pending"]:
        assert first[part] != last[part], part
    for part in set(first) - {*first["pending"], "pending", "arrays"}:
        assert first[part] == last[part], f"{part} can be drawn at once"
    assert "watching" not in {check["id"] for check in first["checks"]}
    assert [json.dumps(manifest) for manifest, _ in seen] == [text for _, text in seen]


def test_the_first_manifest_does_not_wait_for_anything_that_takes_long(
    model: Swin, picture: Image.Image
) -> None:
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    steps = iter_trace(model, picture, size=(16, 24))
    next(steps)
    assert len(passes) == 1, "one pass, watched; the one to compare it with comes later"


@pytest.mark.parametrize(
    ("name", "mixers"),
    [
        ("swin", None),
        ("pvt_v2", "its convolutions move"),
        ("maxvit", "its convolutions and squeeze-and-excitation move"),
    ],
)
def test_maps_of_attention_alone_say_where_they_are_approximate(
    name: str, mixers: str | None
) -> None:
    trace, manifest, _ = looked(MECHANISMS[name]())
    caveat = manifest["model"]["caveat"]
    assert caveat == trace.model.caveat
    assert (caveat is None) == (mixers is None)
    assert mixers is None or mixers in caveat
    for method in manifest["methods"]:
        labelled = "(approximate)" in method["title"] and str(caveat) in method["text"]
        assert labelled == (mixers is not None and method["id"] != "gradcam")
