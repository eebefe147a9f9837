"""Read a configuration from the shapes of a state dict, in our names."""

import math
import re
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import CATALOG, SwinConfig, SwinV2Config
from vitrail.shapes import Size
from vitrail.weights.buffers import normalisers_of, windows_of
from vitrail.weights.rules import Reading, State
from vitrail.weights.windows import window_of_rows

Config = TypeVar("Config", bound=SwinConfig)


def infer_config(reading: Reading, *, window: Any = None) -> SwinConfig:
    """Return the configuration that the shapes of a state dict tell.

    Args:
        reading: what the rules made of the file: our keys, and the buffers that were left out.
        window: the window, where shapes cannot tell it: in files of Swin V2 without buffers
            (timm, transformers), and for windows with unequal sides.
    Returns:
        A configuration whose model has exactly these parameters. What shapes do not tell
        (drop path, padding, ...) is left at its default.
    Raises:
        UsageError: parts are missing, or the window cannot be told.
    """
    state = reading.state
    _check_parts(state)
    patch_weight = state["embed.proj.weight"]
    axes = patch_weight.ndim - 2
    depths = _depths(state)
    cosine = any(key.endswith(".logit_scale") for key in state)
    found: dict[str, Any] = {
        "in_channels": patch_weight.shape[1],
        "dim": patch_weight.shape[0],
        "patch": tuple(patch_weight.shape[2:]),
        "depths": depths,
        "num_heads": tuple(_heads(state, i) for i in range(len(depths))),
        "merge": _merge_factor(state, axes),
        "mlp_ratio": _mlp_ratio(state, patch_weight.shape[0]),
        "qkv_bias": _any(state, r"\.attn\.(qkv\.bias|q_bias)$"),
        "embed_norm": "embed.norm.weight" in state,
        "num_classes": state["head.weight"].shape[0] if "head.weight" in state else 0,
        "absolute_position": _grid(state),
    }
    found |= _outputs(state, len(depths))
    if not cosine:
        found["window"] = _simplest(
            [_table_window(reading, i, axes, window) for i in range(len(depths))]
        )
        return SwinConfig(**found)
    found |= _cosine_windows(reading, len(depths), axes, window)
    return SwinV2Config(**found)


def name_of(config: SwinConfig) -> str | None:
    """Return the catalog's name for a model with this structure, or None.

    Only what decides the parameters and the windows counts, and not the number of classes.
    """
    keys = ("dim", "depths", "num_heads", "windows", "patch", "patch_overlap", "merge",
            "mlp_ratio", "out_indices")  # fmt: skip
    for name, entry in CATALOG.items():
        known = entry.config
        if type(known) is not type(config) or known.axes != config.axes:
            continue
        same = all(getattr(known, key) == getattr(config, key) for key in keys)
        if same and _normalisers(known) == _normalisers(config):
            return name
    return None


def with_overlap(config: SwinConfig) -> SwinConfig:
    """Return the configuration with overlapping patches, if a model of the catalog has such.

    A kernel of 4 may be a patch of 4, or one of 2 that reaches one sample into its neighbours:
    shapes do not tell. No format but ours has overlapping patches.
    """
    for entry in CATALOG.values():
        known = entry.config
        if known.patch_overlap is None or type(known) is not type(config):
            continue
        pairs = zip(known.patch, known.patch_overlap, strict=True)
        kernel = tuple(p + 2 * o for p, o in pairs)
        overlapping = replace(config, patch=known.patch, patch_overlap=known.patch_overlap)
        if kernel == config.patch and name_of(overlapping) is not None:
            return overlapping
    return config


def _normalisers(config: SwinConfig) -> object:
    return config.normalisers if isinstance(config, SwinV2Config) else None


def _check_parts(state: State) -> None:
    needed = ("embed.proj.weight", "stages.0.blocks.0.attn.qkv.weight",
              "stages.0.blocks.0.mlp.fc1.weight")  # fmt: skip
    missing = [key for key in needed if key not in state]
    if missing:
        raise UsageError(
            f"weights without {', '.join(missing)}",
            "the weights of a whole backbone",
            "give the file of the whole model",
        )


def _depths(state: State) -> tuple[int, ...]:
    blocks: dict[int, int] = {}
    for key in state:
        found = re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", key)
        if found:
            stage, block = int(found[1]), int(found[2])
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
    absent = sorted(set(range(max(blocks) + 1)) - set(blocks))
    if absent:
        raise UsageError(
            f"weights without stage {absent[0]}",
            "weights of every stage from the first",
            "give the file of the whole model",
        )
    return tuple(blocks[stage] for stage in range(len(blocks)))


def _heads(state: State, stage: int) -> int:
    attn = f"stages.{stage}.blocks.0.attn"
    if f"{attn}.logit_scale" in state:
        return state[f"{attn}.logit_scale"].numel()
    return state[_needed(state, f"{attn}.bias.table")].shape[-1]


def _needed(state: State, key: str) -> str:
    if key not in state:
        raise UsageError(
            f"weights without {key}",
            "the weights of a whole backbone",
            "give the file of the whole model",
        )
    return key


def _merge_factor(state: State, axes: int) -> Size:
    weight = state.get("stages.1.merge.reduction.weight")
    neighbours = 2**axes if weight is None else 2 * weight.shape[1] // weight.shape[0]
    if neighbours == 2**axes:
        return (2,) * axes
    if axes == 3 and neighbours == 4:
        return (1, 2, 2)  # video: frames are not merged
    raise UsageError(
        f"a merging of {neighbours} neighbours on {axes} axes",
        f"{2**axes} neighbours, or 4 of a video",
        "check that the file is of a Swin",
    )


def _mlp_ratio(state: State, dim: int) -> float:
    return state["stages.0.blocks.0.mlp.fc1.weight"].shape[0] / dim


def _grid(state: State) -> Size | None:
    table = state.get("position.table")
    return None if table is None else tuple(table.shape[1:-1])


def _outputs(state: State, stages: int) -> dict[str, Any]:
    """Tell a detector's backbone, with norms of its own, from a classifier."""
    norms = tuple(sorted({int(k.split(".")[1]) for k in state if k.startswith("feature_norms.")}))
    if "norm.weight" in state or not norms:
        return {}
    return {"out_indices": norms, "feature_norms": True, "num_classes": 0}


def _table_window(reading: Reading, stage: int, axes: int, window: Any) -> Size:
    """Return a stage's window: from the file's index, from what the caller says, from its rows."""
    key = _needed(reading.state, f"stages.{stage}.blocks.0.attn.bias.table")
    rows = reading.state[key].shape[0]
    told = windows_of(reading.buffers, axes).get(stage)
    if told is None and window is not None:
        told = _given(window, stage, axes)
    if told is not None and math.prod(2 * m - 1 for m in told) == rows:
        return told
    found = window_of_rows(rows, axes)
    if found is None:
        raise UsageError(
            f"a relative bias of {rows} rows in stage {stage}"
            + (f", with window={told}" if told else ""),
            "a window whose product of (2 * length - 1) is the number of rows",
            "give the window, e.g. window=(8, 7, 7), or name the model",
        )
    return found


def _cosine_windows(reading: Reading, stages: int, axes: int, window: Any) -> dict[str, Any]:
    """Return window and normaliser of Swin V2, whose parameters do not depend on the window."""
    told = windows_of(reading.buffers, axes)
    if window is not None:
        told = {stage: _given(window, stage, axes) for stage in range(stages)}
    if len(told) < stages:
        names = ", ".join(name for name in CATALOG if name.startswith("swin_v2"))
        raise UsageError(
            "weights of a Swin V2 whose file does not tell the window",
            "a window, or a model name: no parameter of Swin V2 depends on its window",
            f"name the model (one of {names}), or give the window, e.g. window=8",
        )
    found: dict[str, Any] = {"window": _simplest([told[stage] for stage in range(stages)])}
    spans = normalisers_of(reading.buffers, axes)
    if window is None and len(spans) == stages and spans != told:
        found["pretrained_window"] = _simplest([spans[stage] for stage in range(stages)])
    return found


def _given(window: Any, stage: int, axes: int) -> Size:
    if isinstance(window, int):
        return (window,) * axes
    size = window[stage] if isinstance(window[0], tuple | list) else window
    return (size,) * axes if isinstance(size, int) else tuple(size)


def _simplest(sizes: list[Size]) -> Any:
    """Return one size where every stage has the same."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def _any(state: dict[str, Tensor], pattern: str) -> bool:
    return any(re.search(pattern, key) for key in state)
