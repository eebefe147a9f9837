"""Arrays by name: what is stored, what is made on demand, and what is neither."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.explorer.decoding import image_of
from tests.support import refuses
from vitrail.explain import capture, rollout
from vitrail.explain.erf import erf
from vitrail.explain.faithfulness import curves
from vitrail.explain.methods import METHODS
from vitrail.explorer import arrays as module
from vitrail.explorer import maps
from vitrail.explorer.arrays import Arrays
from vitrail.explorer.coding import encode_rows
from vitrail.explorer.explore import build_trace
from vitrail.models import Swin

Looked = tuple[Any, dict[str, Any], Arrays]


@pytest.fixture
def looked(model: Swin, picture: Image.Image) -> Looked:
    return build_trace(model, picture, size=(27, 43), scored=False)


def test_rows_on_demand_equal_the_whole(looked: Looked) -> None:
    trace, manifest, arrays = looked
    for i, block in enumerate(trace.blocks):
        whole = arrays.get(manifest["blocks"][i]["attention"])
        assert (arrays.get(f"b{i}/attn") == whole).all()
        groups, heads, queries, keys = block.shape
        for group in (0, groups - 1):
            rows = arrays.get(f"b{i}/rows/{group}/1/{queries - 1}")
            assert rows.shape == (queries - 1, heads, keys)
            assert rows.dtype == np.uint8
            # A code may differ by one: a part is multiplied in another order than the whole.
            expected = whole[group, :, 1:].transpose(1, 0, 2).astype(int)
            assert np.abs(rows - expected).max() <= 1


def test_what_is_not_stored_is_made_alike(looked: Looked) -> None:
    _, manifest, arrays = looked
    for field in ("attention", "mean", "bias"):
        name = manifest["blocks"][1][field]
        stored = arrays.stored.pop(name)
        made = arrays.get(name)
        assert made.dtype == stored.dtype
        assert (made == stored).all(), name


def test_rollouts_are_those_of_the_trace(looked: Looked) -> None:
    trace, _, arrays = looked
    found = arrays.get("rollout/3/2/4")
    assert found.dtype == np.float16
    expected = rollout(trace, 3, (2, 4)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_maps_are_those_of_the_methods_with_a_greatest_value_of_one(
    model: Swin, looked: Looked
) -> None:
    trace, manifest, arrays = looked
    best = int(trace.logits.argmax())
    assert [row["id"] for row in manifest["methods"]] == list(METHODS)
    for row in manifest["maps"]:
        method = METHODS[row["method"]]
        assert row["class"] == (best if method.per_class else None)
        for cls in (best, (best + 1) % 5):
            expected = method.map(model, image_of(arrays), trace, cls).double().numpy()
            name = row["array"] if cls == best else f"map/{method.id}/{cls}"
            found = arrays.get(name)
            # A map of zeros stays one: nothing speaks for this class.
            expected /= expected.max() or 1
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)


def test_receptive_fields_are_means_over_squares_of_pixels(
    model: Swin, looked: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manifest, arrays = looked
    field = erf(model, image_of(arrays), 1, (3, 5))
    assert manifest["reach"][1]["erf"] == "erf/1/3/5", "the middle of 7 x 11 tokens"
    expected = (field / field.max()).numpy()
    np.testing.assert_allclose(arrays.get("erf/1/3/5"), expected, rtol=2e-3, atol=1e-6)
    monkeypatch.setattr(maps, "SIDE", 11)
    arrays.stored.pop("erf/1/3/5")
    coarse = arrays.get("erf/1/3/5")
    assert coarse.shape == (7, 11)
    means = [[field[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean() for x in range(11)]
             for y in range(7)]  # fmt: skip
    expected = (torch.tensor(means) / torch.tensor(means).max()).numpy()
    np.testing.assert_allclose(coarse, expected, rtol=2e-3, atol=1e-6)


def test_curves_are_those_of_the_maps(model: Swin, picture: Image.Image) -> None:
    trace, manifest, arrays = build_trace(model, picture, size=(27, 43), scored=True)
    best = int(trace.logits.argmax())
    made = {id: m.map(model, image_of(arrays), trace, best) for id, m in METHODS.items()}
    expected = curves(model, image_of(arrays), made, cls=best, draws=maps.DRAWS)
    scores = manifest["faithfulness"]
    assert scores["steps"] == pytest.approx(expected.steps.tolist())
    for row in [*scores["curves"], scores["random"], scores["centre"]]:
        curve = {**expected.maps, "random": expected.random, "centre": expected.centre}[
            row.get("method", "random")
        ]
        np.testing.assert_allclose(arrays.get(row["array"]), curve.both(), atol=1e-5)
        assert (row["deletion"], row["insertion"]) == pytest.approx(curve.areas, abs=1e-5)
    low, high = (arrays.get(scores["random"][edge]) for edge in ("low", "high"))
    assert (low <= high).all()
    assert scores["study"] is None


UNKNOWN = (
    "", "b9/attn", "b0/rows", "b0/rows/99/0/1", "b0/rows/0/0/17", "b0/rows/0/16/1",
    "b0/rows/0/0/0", "b0/rows/0/-1/1", "b00/attn", "b0/attn/", "map/rollout", "map/nothing/0",
    "map/gradcam/5", "erf/2/0/0", "erf/0/14/0", "rollout/4/0/0", "rollout/0/0/22", "../b0/attn",
    "b0/queries\n", "b9999999999/attn", "image/other",
)  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_stands_for_nothing(trace_only: Arrays, name: str) -> None:
    with pytest.raises(KeyError):
        trace_only.get(name)


@pytest.fixture
def trace_only(model: Swin) -> Arrays:
    image = torch.randn(1, 3, 27, 43)
    trace = capture(model, image)
    return Arrays(trace, maps.Source(trace, model, image))


def test_an_array_too_large_to_be_made(trace_only: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2 * 16 * 16)
    assert trace_only.get("b0/rows/0/0/16").shape == (16, 2, 16)
    monkeypatch.setattr(module, "MOST", 2 * 16 * 16 - 1)
    for name in ("b0/attn", "b0/mean", "b0/rows/0/0/16"):
        with refuses(f"the array {name}", "b{block}/rows/{group}/{first}/{count}"):
            trace_only.get(name)


def test_gradients_of_a_large_input_are_made_on_request_where_they_fit(
    model: Swin, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "PIXELS", 27 * 43 - 1)
    trace, manifest, arrays = build_trace(model, picture, size=(27, 43), scored=False)
    assert [row["id"] for row in manifest["methods"]] == ["rollout", "gradient-rollout", "gradcam"]
    assert [row["method"] for row in manifest["maps"]] == ["rollout"], "the others take a minute"
    assert [row["erf"] for row in manifest["reach"]] == [None, None]
    assert arrays.get("map/gradcam/0").shape == trace.blocks[-1].spatial
    with refuses("27x43 pixels", "1024x1024"):
        arrays.get("erf/0/0/0")

    most = max(math.prod(block.shape) for block in trace.blocks)
    monkeypatch.setattr(maps, "WEIGHTS", most)
    assert "gradcam" in maps.Source(trace, model, image_of(arrays)).methods
    monkeypatch.setattr(maps, "WEIGHTS", most - 1)
    _, manifest, arrays = build_trace(model, picture, size=(27, 43), scored=False)
    assert [row["id"] for row in manifest["methods"]] == ["rollout"]
    with refuses("27x43 pixels", "1024x1024"):
        arrays.get("map/gradcam/0")


def test_codes_of_padding_are_zero(trace_only: Arrays) -> None:
    block = trace_only.trace.blocks[0]
    codes = trace_only.get("b0/mean")
    real = (block.groups.q_index >= 0).numpy()
    assert (codes[~real] == 0).all()
    expected = encode_rows(block.attention.mean(1).numpy())
    assert np.abs(codes[real].astype(int) - expected[real]).max() <= 1
