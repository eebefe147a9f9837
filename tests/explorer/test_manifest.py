"""The manifest names everything; arrays fit their budget."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitrail.errors import UsageError
from vitrail.explain import capture
from vitrail.explorer import manifest as module
from vitrail.explorer.coding import decode_rows
from vitrail.explorer.manifest import check_size, describe
from vitrail.models import PVT, PVTConfig, Swin
from vitrail.patterns import Global, Window

PHOTO = {"name": "a.png", "original": [60, 90]}


def test_arrays_hold_what_was_captured(model: Swin) -> None:
    trace = capture(model, torch.randn(3, 27, 43))
    manifest, arrays = describe(trace, PHOTO, "test")
    assert manifest["photo"]["input"] == [27, 43]
    assert [block["label"] for block in manifest["blocks"]] == ["W", "SW"] * 2
    for block, facts in zip(trace.blocks, manifest["blocks"], strict=True):
        asks = (block.groups.q_index >= 0).numpy()
        heads = decode_rows(arrays.by_name[facts["attention"]])
        mean = decode_rows(arrays.by_name[facts["mean"]])
        captured = block.attention.numpy()
        assert np.abs(heads - captured).max(-1).transpose(0, 2, 1)[asks].max() <= 2e-3
        assert np.abs(mean - captured.mean(1)).max(-1)[asks].max() <= 2e-3
        assert (heads.sum(-1).transpose(0, 2, 1)[~asks] == 0).all()
        for name, expected in (
            ("queries", block.groups.q_index),
            ("keys", block.groups.k_index),
            ("query_regions", block.groups.q_region[0]),
            ("key_regions", block.groups.k_region[0]),
        ):
            assert (arrays.by_name[facts[name]] == expected.numpy()).all()
        assert facts["boxes"] is None
        assert facts["pairs"] == int(block.pattern.allowed(block.spatial).sum())


def test_equal_arrays_are_kept_once(model: Swin) -> None:
    manifest, arrays = describe(capture(model, torch.randn(3, 32, 32)), PHOTO, "test")
    digests = [facts["sha256"] for facts in arrays.facts.values()]
    assert len(set(digests)) == len(digests)
    assert set(manifest["arrays"]) == set(arrays.by_name)


def test_heads_that_do_not_fit_are_left_out_the_largest_first(
    model: Swin, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = capture(model, torch.randn(3, 32, 32))
    sizes = [block.attention.numel() for block in trace.blocks]
    assert sizes[0] > sizes[2]
    monkeypatch.setattr(module, "PER_HEAD", 2 * sizes[2])
    manifest, arrays = describe(trace, PHOTO, "test")
    assert [block["attention"] is not None for block in manifest["blocks"]] == [0, 0, 1, 1]
    assert all(block["mean"] in arrays.by_name for block in manifest["blocks"])


def test_a_trace_of_another_rank_is_refused() -> None:
    config = replace(Swin.config_class(), dim=8, depths=(1,), num_heads=(1,), window=(4,),
                     patch=(2,), merge=(2,), num_classes=3)  # fmt: skip
    trace = capture(Swin(config), torch.randn(3, 32))
    with pytest.raises(UsageError, match=r"trace\.blocks\[0\]\.attends") as error:
        describe(trace, PHOTO, "test")
    assert "1 spatial axes" in error.value.given


def test_pooled_keys_come_with_their_boxes_and_prefix_tokens_are_counted() -> None:
    config = PVTConfig(
        dims=(8, 16), depths=(1, 1), num_heads=(2, 4), mlp_ratios=(2.0, 2.0), patch=(2, 2),
        reductions=((4, 3), (1, 1)), positions=((4, 4), (2, 2)), num_classes=5,
    )  # fmt: skip
    trace = capture(PVT(config).eval(), torch.randn(3, 22, 31))
    manifest, arrays = describe(trace, PHOTO, "test")
    first, last = manifest["blocks"]
    boxes = arrays.by_name[first["boxes"]]
    assert trace.blocks[0].groups.k_box is not None
    assert (boxes == trace.blocks[0].groups.k_box.numpy()).all()
    assert (first["prefix"], last["prefix"], last["boxes"]) == (0, 1, None)
    assert first["cut"] is last["cut"] is None
    assert manifest["model"]["pool"] == "token"


def test_a_size_too_large_is_refused_and_the_fix_fits() -> None:
    pattern = Window((7, 7), (3, 3))
    with pytest.raises(UsageError, match="--size") as error:
        check_size([(pattern, (2000, 1000))], (8000, 4000))
    assert "8000x4000" in error.value.given
    height, width = map(int, error.value.fix.split()[2].split("x"))
    check_size([(pattern, (height // 4, width // 4))], (height, width))


def test_one_block_alone_may_be_too_large_and_the_fix_fits() -> None:
    with pytest.raises(UsageError, match="--size") as error:
        check_size([(Global(), (56, 56))], (224, 224))
    assert "9.8 in one block" in error.value.given
    height, width = map(int, error.value.fix.split()[2].split("x"))
    assert height == width > 160
    check_size([(Global(), (-(-height // 4), -(-width // 4)))], (height, width))
