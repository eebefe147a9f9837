"""Focal Transformer against numbers that its official code gave; see data/README.md."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.data.write_focal import CASES, EVERY
from tests.parity.named_weights import uniform, weight
from vitrail.models import Focal, FocalConfig, FocalFast, FocalFastConfig
from vitrail.models.focal import FocalFamily

HERE = Path(__file__).parent / "data"

# Ours, and what the official code calls it; all shapes are the same.
_NAMES = (
    (r"^embed\.", "patch_embed."),
    (r"^stages\.(\d+)\.merge\.", lambda m: f"layers.{int(m[1]) - 1}.downsample."),
    (r"^stages\.", "layers."),
    (r"attn\.pool\.", "pool_layers."),
    (r"attn\.bias\.own\.table", "attn.relative_position_bias_table"),
    (r"attn\.bias\.halo", "attn.relative_position_bias_table_to_neighbors"),
    (r"attn\.bias\.pooled\.", "attn.relative_position_bias_table_to_windows."),
    (r"attn\.bias\.levels\.", "attn.coord2rpb_all."),
)


def official_name(name: str) -> str:
    for pattern, theirs in _NAMES:
        name = re.sub(pattern, theirs, name)
    return name


def build(version: str, options: dict[str, Any], size: list[int]) -> FocalFamily:
    """Build our model for a case: a halo shrinks where the map of a stage is one window."""
    stages = len(options["depths"])
    maps = [min(size) // 4 // 2**stage for stage in range(stages)]
    window = options["window_size"]
    common: dict[str, Any] = {
        "dim": options["embed_dim"],
        "depths": tuple(options["depths"]),
        "num_heads": tuple(options["num_heads"]),
        "num_classes": options["num_classes"],
        "windows": tuple((min(window, n),) * 2 for n in maps),
        "conv_embed": options.get("use_conv_embed", False),
        "patch_fit": "floor" if not options.get("use_conv_embed") else "pad",
    }
    if version == "v2":
        return FocalFast(FocalFastConfig(count=options["focal_topK"], **common))
    wide = [e if n > window else 0 for e, n in zip(options["expand_sizes"], maps, strict=True)]
    levels = tuple(
        ((focal, focal),) * (count - 1)
        for focal, count in zip(options["focal_windows"], options["focal_levels"], strict=True)
    )
    margins = tuple((e, e) for e in wide)
    config = FocalConfig(margins=margins, levels=levels, halo="rolled", padding="visible", **common)
    return Focal(config)


def with_named_weights(model: FocalFamily, theirs: dict[str, list[int]]) -> FocalFamily:
    """Give every parameter the numbers of its official name; none may be missing on either side."""
    model = model.double().eval()
    left = dict(theirs)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            official = official_name(name)
            shape = tuple(left.pop(official))
            assert shape == tuple(parameter.shape), name
            parameter.copy_(torch.from_numpy(weight(official, shape)))
    assert not left
    return model


def runs(name: str) -> tuple[dict[str, Any], Any]:
    numbers = np.load(HERE / f"focal_{name}.npz")
    return json.loads(str(numbers["about"])), numbers


@pytest.mark.parametrize("run", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_every_stage_and_the_logits_are_the_official_code_s(name: str, run: int) -> None:
    about, numbers = runs(name)
    facts = about["runs"][run]
    assert about["commit"].startswith("57bb303")
    model = build(about["version"], facts["options"], facts["size"])
    model = with_named_weights(model, facts["parameters"])
    x = uniform("input", (2, 3, *facts["size"]))
    assert np.abs(x).sum() == pytest.approx(float(numbers[f"input_sum_{run}"]), rel=1e-12)
    with torch.no_grad():
        maps, logits = model.features(torch.from_numpy(x)), model(torch.from_numpy(x))
    for stage, found in enumerate(maps):
        some = found.flatten(0, 2)[::EVERY].numpy()
        np.testing.assert_allclose(some, numbers[f"stage_{run}_{stage}"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(logits.numpy(), numbers[f"logits_{run}"], rtol=1e-9, atol=1e-9)


def test_the_exact_halo_is_not_the_rolled_one() -> None:
    """The numbers differ between the two, so that the comparison above can fail."""
    about, numbers = runs("plain")
    facts = about["runs"][0]
    model = build("v1", facts["options"], facts["size"])
    assert isinstance(model, Focal)
    model = with_named_weights(model, facts["parameters"])
    for block in model.stages[0].blocks:  # type: ignore[union-attr]
        block.attn.bias.halo.data.flatten()[0] += 1e-3  # type: ignore[union-attr]
    x = torch.from_numpy(uniform("input", (2, 3, *facts["size"])))
    with torch.no_grad():
        assert np.abs(model(x).numpy() - numbers["logits_0"]).max() > 1e-7
