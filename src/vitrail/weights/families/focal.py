"""Focal Transformer and its second version: the official code's names."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import BackboneConfig
from vitrail.models.focal import Focal, FocalConfig, FocalFast, FocalFastConfig
from vitrail.ops.relative import relative_index
from vitrail.shapes import Size
from vitrail.weights.families.base import Family, Format, Hints, vitrail
from vitrail.weights.families.shapes import depths_of, has, needed, outputs_of
from vitrail.weights.rules import AnyRule, Buffer, Grids, Reading, State, rename
from vitrail.weights.template import Template
from vitrail.weights.windows import window_of_rows

_BLOCK, OURS = "layers.{i}.blocks.{j}", "stages.{i}.blocks.{j}"
_LEVELS = 3  # pooled levels whose buffers are known; the published models have one


# --- buffers that the official code stores --------------------------------------------------------


def _index(config: FocalConfig, size: Size | None, i: int, j: int) -> Tensor:
    del size, j
    return relative_index(config.windows[i])


def _pooled_index(
    config: FocalConfig, size: Size | None, i: int, j: int, *, level: int
) -> Tensor | None:
    """Return the place in a pooled level's table for each query and cell."""
    del size, j
    if level >= len(config.levels[i]):
        return None
    window = config.windows[i]
    cells = tuple(f + 2**level - 1 for f in config.levels[i][level])
    offsets = [
        torch.arange(m)[:, None] - torch.arange(c) + c - 1
        for m, c in zip(window, cells, strict=True)
    ]
    rows, columns = offsets
    index = rows[:, None, :, None] * (window[1] + cells[1] - 1) + columns[None, :, None, :]
    return index.flatten(2).flatten(0, 1)


def _rolled(config: FocalConfig, size: Size | None, i: int, j: int) -> Tensor | None:
    """Return which tokens of the four rolled windows lie in the halo."""
    del size, j
    margin, window = config.margins[i], config.windows[i]
    if not any(margin):
        return None
    down, right = (torch.arange(m) >= m - e for m, e in zip(window, margin, strict=True))
    up, left = (torch.arange(m) < e for m, e in zip(window, margin, strict=True))
    corners = [a[:, None] | b[None] for a in (down, up) for b in (right, left)]
    return torch.stack(corners).flatten().nonzero()[:, 0]


def _unfolded(
    config: FocalConfig, size: Size | None, i: int, j: int, *, level: int
) -> Tensor | None:
    """Return which cells of an unfolded neighbourhood are keys."""
    del size, j
    if level == 0 or level >= len(config.levels[i]):
        return None
    lengths = (2 * (f // 2) + 2 * 2**level - 1 for f in config.levels[i][level])
    rows, columns = (torch.arange(n) >= 2**level - 1 for n in lengths)
    return (rows[:, None] & columns[None]).flatten().nonzero()[:, 0]


def _window_places(config: FocalFastConfig, size: Size | None, i: int, j: int) -> Tensor:
    """Return the place of each token from its window's middle."""
    del size, j
    lines = [torch.arange(m) - m // 2 for m in config.windows[i]]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)


# --- formats --------------------------------------------------------------------------------------


def _shared() -> list[AnyRule]:
    parts = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    return [
        rename("patch_embed.proj.{leaf}", "embed.proj.{leaf}"),
        rename("patch_embed.norm.{leaf}", "embed.norm.{leaf}"),
        rename("layers.{i}.downsample.proj.{leaf}", "stages.{i+1}.merge.proj.{leaf}"),
        rename("layers.{i}.downsample.norm.{leaf}", "stages.{i+1}.merge.norm.{leaf}"),
        *(rename(f"{_BLOCK}.{part}.{{leaf}}", f"{OURS}.{part}.{{leaf}}") for part in parts),
        rename(f"{_BLOCK}.pool_layers.{{k}}.{{leaf}}", f"{OURS}.attn.pool.{{k}}.{{leaf}}"),
        rename("norm.{leaf}", "norm.{leaf}"),
        rename("norm{i}.{leaf}", "feature_norms.{i}.{leaf}"),
        rename("head.{leaf}", "head.{leaf}"),
        Buffer(Template(f"{_BLOCK}.attn_mask"), "mask"),
    ]


def _first(stages: int, grids: Grids | None) -> list[AnyRule]:
    del stages, grids
    attn, bias = f"{_BLOCK}.attn", f"{OURS}.attn.bias"
    table = f"{attn}.relative_position_bias_table"
    rules: list[AnyRule] = [
        *_shared(),
        rename(table, f"{bias}.own.table"),
        rename(f"{table}_to_neighbors", f"{bias}.halo"),
        rename(f"{table}_to_windows.{{k}}", f"{bias}.pooled.{{k}}"),
        Buffer(Template(f"{attn}.relative_position_index"), "index", _index),
        Buffer(Template(f"{attn}.valid_ind_rolled"), "halo", _rolled),
    ]
    for level in range(_LEVELS):
        index, unfolded = f"relative_position_index_{level}", f"valid_ind_unfold_{level}"
        made = partial(_pooled_index, level=level), partial(_unfolded, level=level)
        rules.append(Buffer(Template(f"{attn}.{index}"), f"pooled {level}", made[0]))
        rules.append(Buffer(Template(f"{attn}.{unfolded}"), f"unfolded {level}", made[1]))
    return rules


def _second(stages: int, grids: Grids | None) -> list[AnyRule]:
    """Return the rules of the second version.

    Which tokens are nearest follows from the input's size, and is not written: the official code
    computes it when it builds a model, and ties of distance there are any.
    """
    del stages, grids
    attn = f"{_BLOCK}.attn"
    rules: list[AnyRule] = [
        *_shared(),
        rename(f"{attn}.coord2rpb_all.{{k}}.{{rest}}", f"{OURS}.attn.bias.levels.{{k}}.{{rest}}"),
        Buffer(Template(f"{attn}.window_coords"), "places", _window_places),
    ]
    for level in range(_LEVELS + 1):
        for what in ("indice", "coords"):
            key = Template(f"{attn}.topk_cloest_{what}_{level}")
            rules.append(Buffer(key, f"nearest {what} {level}"))
    return rules


# The official halo is four rolls, its padding takes part in the softmax, and what patches do not
# divide is left over (ADR 9, 2 and 7).
_FLOOR = {"patch_fit": "floor"}
_ROLLED = {"halo": "rolled", "padding": "visible"} | _FLOOR
_FIRST = (
    Format("official", "focal", _first, ("", "backbone."), wrap="model", fields=_ROLLED),
    vitrail("focal"),
)
_SECOND = (
    Format("official", "focal_fast", _second, ("", "backbone."), wrap="model", fields=_FLOOR),
    vitrail("focal_fast"),
)


def _recognise(fast: bool, state: State) -> str | None:
    if "embed.proj.weight" in state and has(state, r"\.attn\.pool\.\d+\.weight$"):
        return "vitrail" if has(state, r"\.attn\.bias\.levels\.") == fast else None
    if "patch_embed.proj.weight" in state and has(state, r"\.pool_layers\.\d+\.weight$"):
        return "official" if has(state, r"\.coord2rpb_all\.") == fast else None
    return None


# --- configuration --------------------------------------------------------------------------------


def _common(state: State) -> dict[str, Any]:
    patch = state["embed.proj.weight"]
    axes, kernel = patch.ndim - 2, tuple(patch.shape[2:])
    merge = state.get("stages.1.merge.proj.weight")
    # Overlapping patches have odd kernels: three samples more, and one token more in merges.
    odd = all(k % 2 for k in kernel if k > 1)
    rows = state[needed(state, "stages.0.blocks.0.mlp.fc1.weight")].shape[0]
    factors = (2 + odd,) * axes if merge is None else tuple(merge.shape[2:])
    return {
        "in_channels": patch.shape[1],
        "dim": patch.shape[0],
        "depths": depths_of(state),
        "conv_embed": odd,
        "patch": tuple(k - 3 * odd for k in kernel),
        "merge": tuple(f - odd for f in factors),
        "mlp_ratio": rows / patch.shape[0],
        "qkv_bias": has(state, r"\.attn\.qkv\.bias$"),
        "embed_norm": "embed.norm.weight" in state,
    } | outputs_of(state)


def _infer(reading: Reading, hints: Hints) -> BackboneConfig:
    """Return the configuration that the shapes imply, for square windows."""
    state = reading.state
    found = _common(state)
    axes, stages = len(found["patch"]), range(len(found["depths"]))
    attn = [f"stages.{i}.blocks.0.attn" for i in stages]
    tables = [state[needed(state, f"{name}.bias.own.table")] for name in attn]
    windows = tuple(_window(table.shape[0], axes, i) for i, table in enumerate(tables))
    halos = [state.get(f"{name}.bias.halo") for name in attn]
    keys = [0 if halo is None else halo.shape[-1] for halo in halos]
    margins, halo = _margins(windows, keys, hints)
    levels = []
    for name, window in zip(attn, windows, strict=True):
        own = []
        for k in range(_LEVELS):
            table = state.get(f"{name}.bias.pooled.{k}")
            if table is not None:
                side = round(table.shape[-1] ** (1 / axes))
                own.append(tuple(side - m - 2**k + 2 for m in window))
        levels.append(tuple(own))
    return FocalConfig(
        **found,
        num_heads=tuple(table.shape[-1] for table in tables),
        windows=windows,
        margins=margins,
        levels=tuple(levels),
        halo=halo,
    )


def _window(rows: int, axes: int, stage: int) -> Size:
    found = window_of_rows(rows, axes)
    if found is None:
        raise UsageError(
            f"a relative bias of {rows} rows in stage {stage}",
            "a square window, whose table has (2 * length - 1) ** 2 rows",
            "create the model, and load the weights into it",
        )
    return found


_COUNTS: dict[str, Callable[[Size, int], int]] = {
    "exact": lambda window, e: math.prod(m + 2 * e for m in window) - math.prod(window),
    "rolled": lambda window, e: 4 * (math.prod(window) - math.prod(m - e for m in window)),
}


def _margins(windows: tuple[Size, ...], keys: list[int], hints: Hints) -> tuple[Any, Any]:
    """Return the margin of each stage and the halo's form, by the keys of the halo.

    The official halo is rolled. For ours the model at hand decides where both would fit.
    """
    like = hints.like
    kinds = ("exact", "rolled") if hints.ours else ("rolled",)
    if hints.ours and isinstance(like, FocalConfig) and like.halo == "rolled":
        kinds = ("rolled", "exact")
    for kind in kinds:
        margins = []
        for window, wanted in zip(windows, keys, strict=True):
            fitting = [e for e in range(max(window)) if _COUNTS[kind](window, e) == wanted]
            margins += [(e,) * len(window) for e in fitting[:1]]
        if len(margins) == len(windows):
            return tuple(margins), kind
    raise UsageError(
        f"a halo of {keys} keys around windows of {windows}",
        "a halo that is as wide along every axis",
        "create the model, and load the weights into it",
    )


def _infer_fast(reading: Reading, hints: Hints) -> BackboneConfig:
    """Return the configuration that the shapes imply, for square windows."""
    state = reading.state
    found = _common(state)
    axes, stages = len(found["patch"]), range(len(found["depths"]))
    attn = [f"stages.{i}.blocks.0.attn" for i in stages]
    pools = [state[needed(state, f"{name}.pool.0.weight")].shape[-1] for name in attn]
    networks = [state[needed(state, f"{name}.bias.levels.0.2.weight")] for name in attn]
    stored = [t.shape[-1] for (what, _), t in reading.buffers.items() if what == _NEAREST]
    like = hints.like
    count = like.count if isinstance(like, FocalFastConfig) else FocalFastConfig().count
    return FocalFastConfig(
        **found,
        num_heads=tuple(weight.shape[0] for weight in networks),
        windows=tuple((round(area ** (1 / axes)),) * axes for area in pools),
        # The first stage has the most tokens: its list has the requested length.
        count=max(stored, default=count),
    )


_NEAREST = "nearest indice 0"
_COMMON = ("dim", "depths", "num_heads", "windows", "conv_embed", "patch", "merge", "mlp_ratio")


def _refuse(config: BackboneConfig, target: str) -> None:
    if target == "vitrail":
        return
    if config.axes != 2:
        raise UsageError(
            f"a model of {config.axes} axes as {target}", "images", "use the format 'vitrail'"
        )
    if (
        isinstance(config, FocalConfig)
        and config.halo != "rolled"
        and any(map(any, config.margins))
    ):
        raise UsageError(
            f"halo={config.halo!r} as {target}",
            "halo='rolled': the official code has a bias for each key of its four rolls",
            "use the format 'vitrail', or create the model with halo='rolled'",
        )


def _holds(config_class: type[BackboneConfig], config: BackboneConfig) -> bool:
    return isinstance(config, config_class)


_ANCHORS = ("embed.proj.weight", "patch_embed.proj.weight")
FAMILIES = (
    Family(
        kind="focal",
        title="Focal Transformer",
        model=Focal,
        formats=_FIRST,
        anchors=_ANCHORS,
        recognise=partial(_recognise, False),
        infer=_infer,
        identity=(*_COMMON, "margins", "levels", "out_indices"),
        advised=(*_COMMON, "margins", "levels", "halo"),
        holds=partial(_holds, FocalConfig),
        refuse=_refuse,
    ),
    Family(
        kind="focal_fast",
        title="second Focal Transformer",
        model=FocalFast,
        formats=_SECOND,
        anchors=_ANCHORS,
        recognise=partial(_recognise, True),
        infer=_infer_fast,
        identity=(*_COMMON, "count", "out_indices"),
        advised=_COMMON,
        holds=partial(_holds, FocalFastConfig),
        refuse=_refuse,
    ),
)
