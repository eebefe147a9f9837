"""Read a Swin's configuration from the shapes of its weights, and bring its tables into shape."""

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import CATALOG, BackboneConfig, SwinConfig, SwinV2Config
from vitrail.shapes import Size
from vitrail.weights.buffers import normalisers_of, windows_of
from vitrail.weights.families.base import Hints, Reshape
from vitrail.weights.families.shapes import depths_of, has, needed, outputs_of
from vitrail.weights.report import Entry
from vitrail.weights.resize import resize_table
from vitrail.weights.rules import Reading, State
from vitrail.weights.windows import window_of_rows

# Only what decides the parameters and the windows counts, and not the number of classes.
IDENTITY = ("dim", "depths", "num_heads", "windows", "patch", "patch_overlap", "merge",
            "mlp_ratio", "out_indices")  # fmt: skip


def infer_swin(reading: Reading, hints: Hints) -> SwinConfig:
    """Return the configuration that the shapes of a Swin, Swin V2 or Video Swin imply.

    Args:
        reading: the weights, and the buffers that were left out.
        hints: the window, where shapes cannot show it: in files of Swin V2 without buffers
            (timm, transformers), and for windows with unequal sides.
    Raises:
        UsageError: parts are missing, or the window cannot be determined.
    """
    found = _infer(reading, 1 if hints.guess else hints.window)
    return with_overlap(found) if hints.ours else found


def _infer(reading: Reading, window: Any) -> SwinConfig:
    state = reading.state
    _check_parts(state)
    patch_weight = state["embed.proj.weight"]
    axes = patch_weight.ndim - 2
    depths = depths_of(state)
    cosine = any(key.endswith(".logit_scale") for key in state)
    found: dict[str, Any] = {
        "in_channels": patch_weight.shape[1],
        "dim": patch_weight.shape[0],
        "patch": tuple(patch_weight.shape[2:]),
        "depths": depths,
        "num_heads": tuple(_heads(state, i) for i in range(len(depths))),
        "merge": _merge_factor(state, axes),
        "mlp_ratio": _mlp_ratio(state, patch_weight.shape[0]),
        "qkv_bias": has(state, r"\.attn\.(qkv\.bias|q_bias)$"),
        "embed_norm": "embed.norm.weight" in state,
        "absolute_position": _grid(state),
    }
    found |= outputs_of(state)
    if not cosine:
        found["window"] = _simplest(
            [_table_window(reading, i, axes, window) for i in range(len(depths))]
        )
        return SwinConfig(**found)
    found |= _cosine_windows(reading, len(depths), axes, window)
    return SwinV2Config(**found)


def with_overlap(config: SwinConfig) -> SwinConfig:
    """Return the configuration with overlapping patches, if a model of the catalog has such.

    A kernel of 4 may be a patch of 4, or one of 2 that reaches one sample into its neighbours:
    shapes do not show. No format but ours has overlapping patches.
    """
    for entry in CATALOG.values():
        known = entry.config
        if not isinstance(known, SwinConfig) or type(known) is not type(config):
            continue
        if known.patch_overlap is None:
            continue
        pairs = zip(known.patch, known.patch_overlap, strict=True)
        kernel = tuple(p + 2 * o for p, o in pairs)
        overlapping = replace(config, patch=known.patch, patch_overlap=known.patch_overlap)
        if kernel == config.patch and _same(known, overlapping):
            return overlapping
    return config


def _same(known: SwinConfig, config: SwinConfig) -> bool:
    return all(getattr(known, key) == getattr(config, key) for key in IDENTITY)


def _check_parts(state: State) -> None:
    for key in ("embed.proj.weight", "stages.0.blocks.0.attn.qkv.weight",
                "stages.0.blocks.0.mlp.fc1.weight"):  # fmt: skip
        needed(state, key)


def _heads(state: State, stage: int) -> int:
    attn = f"stages.{stage}.blocks.0.attn"
    if f"{attn}.logit_scale" in state:
        return state[f"{attn}.logit_scale"].numel()
    return state[needed(state, f"{attn}.bias.table")].shape[-1]


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


def _table_window(reading: Reading, stage: int, axes: int, window: Any) -> Size:
    """Return a stage's window: from the file's index, from what the caller says, from its rows."""
    key = needed(reading.state, f"stages.{stage}.blocks.0.attn.bias.table")
    rows = reading.state[key].shape[0]
    known = windows_of(reading.buffers, axes).get(stage)
    if known is None and window is not None:
        known = _given(window, stage, axes)
    if known is not None and math.prod(2 * m - 1 for m in known) == rows:
        return known
    found = window_of_rows(rows, axes)
    if found is None:
        raise UsageError(
            f"a relative bias of {rows} rows in stage {stage}"
            + (f", with window={known}" if known else ""),
            "a window whose product of (2 * length - 1) is the number of rows",
            "give the window, e.g. window=(8, 7, 7), or name the model",
        )
    return found


def _cosine_windows(reading: Reading, stages: int, axes: int, window: Any) -> dict[str, Any]:
    """Return window and normaliser of Swin V2, whose parameters do not depend on the window."""
    known = windows_of(reading.buffers, axes)
    if window is not None:
        known = {stage: _given(window, stage, axes) for stage in range(stages)}
    if len(known) < stages:
        names = ", ".join(name for name in CATALOG if name.startswith("swin_v2"))
        raise UsageError(
            "weights of a Swin V2 whose file does not show the window",
            "a window, or a model name: no parameter of Swin V2 depends on its window",
            f"name the model (one of {names}), or give the window, e.g. window=8",
        )
    found: dict[str, Any] = {"window": _simplest([known[stage] for stage in range(stages)])}
    spans = normalisers_of(reading.buffers, axes)
    if window is None and len(spans) == stages and spans != known:
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


# --- bringing into shape ------------------------------------------------------------------------


def reshape_tables(
    reading: Reading, known: BackboneConfig | None, config: BackboneConfig
) -> Reshape:
    """Return what brings relative bias tables to a configuration's windows.

    Args:
        reading: the weights.
        known: their configuration, where our own file says it.
        config: the model's.
    """
    assert isinstance(config, SwinConfig)
    windows = _file_windows(reading, known, config)

    def reshape(key: str, tensor: Tensor, shape: Size) -> tuple[Tensor | None, Entry | None] | None:
        if not key.endswith(".attn.bias.table") or tensor.shape[-1] != shape[-1]:
            return None
        stage = int(key.split(".")[1])
        return _table(key, tensor, shape, windows.get(stage), config.windows[stage])

    return reshape


def _file_windows(
    reading: Reading, known: BackboneConfig | None, config: SwinConfig
) -> dict[int, Size]:
    """Return the window of each stage's bias table in the file, where it can be determined."""
    if isinstance(known, SwinConfig):
        return dict(enumerate(known.windows))
    axes = reading.state["embed.proj.weight"].ndim - 2
    found: dict[int, Size] = {}
    for stage in range(len(depths_of(reading.state))):
        table = reading.state.get(f"stages.{stage}.blocks.0.attn.bias.table")
        if table is None or table.ndim != 2:
            continue
        wanted = config.windows[stage] if stage < len(config.windows) else ()
        if config.axes == axes and table.shape[0] == math.prod(2 * m - 1 for m in wanted):
            found[stage] = wanted
        elif (window := window_of_rows(table.shape[0], axes)) is not None:
            found[stage] = window
    return found | windows_of(reading.buffers, axes)


def _table(
    key: str, tensor: Tensor, shape: Size, window: Size | None, wanted: Size
) -> tuple[Tensor | None, Entry | None]:
    if window is None:
        if tuple(tensor.shape) == shape:
            return tensor, None
        reason = f"a bias of {tensor.shape[0]} rows, whose window is not known"
        return None, Entry(key, "mismatch", reason, "load it as the model it is of, then convert")
    if window == wanted:
        return tensor, None
    if len(wanted) not in (len(window), len(window) + 1):
        reason = f"window {window} in the file, {wanted} in the model"
        return None, Entry(key, "mismatch", reason, "load it in a model with as many axes")
    resized = resize_table(tensor, window, wanted)
    return resized, Entry(key, "resized", f"window {window} became {wanted}")


def compare_normalisers(known: BackboneConfig, config: BackboneConfig) -> list[Entry]:
    """Compare the windows in which Swin V2's coordinates span -1 to 1, where they are known."""
    if not isinstance(known, SwinV2Config) or not isinstance(config, SwinV2Config):
        return []
    pairs = zip(known.normalisers, config.normalisers, strict=False)
    different = [stage for stage, (theirs, ours) in enumerate(pairs) if theirs != ours]
    if not different or math.prod(known.patch) != math.prod(config.patch):
        return []
    stage = different[0]
    theirs, ours = known.normalisers[stage], config.normalisers[stage]
    simple = known.normalisers[0] if len(set(known.normalisers)) == 1 else known.normalisers
    return [
        Entry(
            f"stages.{stage}.blocks.*.attn.bias", "mismatch",
            f"offsets span -1 to 1 in a window of {theirs} in the file, of {ours} in the model",
            f"create the model with pretrained_window={simple}",
        )
    ]  # fmt: skip


def keep_normalisers(
    config: SwinV2Config, known: BackboneConfig | None, named: BackboneConfig, chosen: set[str]
) -> SwinV2Config:
    """Keep the window in which Swin V2's coordinates span -1 to 1 when the window changes."""
    source = known if isinstance(known, SwinV2Config) else named
    if not isinstance(source, SwinV2Config):
        return config
    if "pretrained_window" in chosen or source.normalisers == config.normalisers:
        return config
    return replace(config, pretrained_window=source.normalisers)
