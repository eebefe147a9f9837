"""What attention costs: curves of every mechanism, and the explored model at this input.

Curves of the mechanisms never change: they lie beside this file, made by
``scripts/mechanism_costs.py``; a test computes some of them again.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from importlib import resources
from typing import Any, NamedTuple

import torch

from vitrail.analysis import Cost, cost, reach
from vitrail.analysis.memory import estimate
from vitrail.analysis.reach import extent
from vitrail.analysis.watch import count_products
from vitrail.errors import UsageError
from vitrail.models import CATALOG, Backbone, BackboneConfig
from vitrail.shapes import Size

SIZES = (64, 128, 224, 384, 640, 1024)  # heights and widths of the curves, in pixels
# One model stands for each mechanism; the first four differ in their pattern alone.
MECHANISMS = {
    "window": ("shifted windows (Swin)", "window_tiny"),
    "global": ("standard (global)", "global_tiny"),
    "axial": ("axial (rows and columns)", "axial_tiny"),
    "sparse": ("sparse (strided)", "sparse_tiny"),
    "reduced": ("spatial reduction (PVT v2)", "pvt_v2_b2"),
    "focal": ("focal (fine and coarse keys)", "focal_tiny"),
    "flat": ("standard, one scale (ViT)", "vit_small"),
}
KNOWN = ("swin_nano", "swin_tiny")  # models that are explored often, whose curves are kept too
WINDOWS = (4, 7, 8, 12, 16)
# Beyond this many pixels other windows are not tried: a try takes longer than the picture itself.
TRIED = 1100 * 1100

Curve = dict[str, list[int]]


def describe_cost(
    model: Backbone, size: Size, measured: Sequence[tuple[int, float]]
) -> dict[str, Any]:
    """Return a manifest's cost block.

    Args:
        model: the explored one.
        size: height and width of its input.
        measured: side in pixels and milliseconds of forward passes on this machine.
    """
    kept = _kept()
    mechanisms = [
        {"id": id, "label": label, "model": name, **kept[name]}
        for id, (label, name) in MECHANISMS.items()
    ]
    own = {"id": "this", "label": "the explored model", "model": model.name or type(model).__name__}
    whole = _whole_cost(type(model), model.config, size)
    return {
        "sizes": list(SIZES),
        "mechanisms": [*mechanisms, {**own, **_own_curve(model)}],
        "measured": [{"id": "this", "size": side, "ms": ms} for side, ms in measured],
        "windows": _windows(model, size),
        "stages": [_stage(whole, i) for i in range(len(whole.stages))],
    }


@lru_cache(maxsize=64)
def curve(kind: type[Backbone], config: BackboneConfig) -> Curve:
    """Return what a model costs at each of ``SIZES``; the same numbers as ``analysis.cost``."""
    model = _empty(kind, config)
    runs = [_run(model, (side, side)) for side in SIZES]
    return {
        "flops": [run.flops for run in runs],
        "attention_flops": [run.attention for run in runs],
        "memory": [run.memory for run in runs],
        "pairs": [run.pairs for run in runs],
    }


class _Run(NamedTuple):
    """Totals of a forward pass; ``waste`` is the share of the places that hold padding."""

    flops: int
    attention: int
    memory: int
    pairs: int
    waste: float


def _run(meta: Backbone, size: Size) -> _Run:
    """Return a pass's totals: what ``analysis.cost`` gives, without how far tokens see."""
    dtype = next(meta.parameters()).dtype
    with count_products(meta) as record:
        run = estimate(meta, (1, meta.config.in_channels, *size), dtype, training=False)
    flops = {kind: 0 for _, kind in record.flops}
    for (_, kind), count in record.flops.items():
        flops[kind] += count
    tokens = [math.prod(call.spatial) + call.pattern.prefix for call in record.attention]
    places = sum(call.groups * call.queries for call in record.attention)
    return _Run(
        flops=sum(flops.values()),
        attention=flops["attention"],
        memory=run.peak,
        pairs=sum(call.pattern.pairs(call.spatial) for call in record.attention),
        waste=(places - sum(tokens)) / places,
    )


def _empty(kind: type[Backbone], config: BackboneConfig) -> Backbone:
    """Return a model without numbers."""
    with torch.device("meta"):
        return kind(config)


def _own_curve(model: Backbone) -> Curve:
    entry = CATALOG.get(model.name or "")
    if model.name in KNOWN and entry is not None and entry.config == model.config:
        return _kept()[model.name]
    return curve(type(model), model.config)


@cache
def _kept() -> dict[str, Curve]:
    file = resources.files("vitrail.explorer") / "costs.json"
    return json.loads(file.read_text(encoding="utf-8"))["models"]


@lru_cache(maxsize=64)
def _whole_cost(kind: type[Backbone], config: BackboneConfig, size: Size) -> Cost:
    return cost(_empty(kind, config), size, training=False)


@lru_cache(maxsize=256)
def _windowed(kind: type[Backbone], config: BackboneConfig, size: Size) -> dict[str, Any]:
    model = _empty(kind, config)
    run = _run(model, size)
    middle = tuple(-(-n // s) // 2 for n, s in zip(size, config.stage_strides[0], strict=True))
    return {
        "flops": run.flops,
        "padding": run.waste,
        "reach": max(extent(reach(model, size, 0, -1, middle))),
    }


def _windows(model: Backbone, size: Size) -> list[dict[str, Any]]:
    """Return what the model would cost with other windows, the same along both axes."""
    window = getattr(model.config, "window", None)
    if window is None or getattr(model.config, "mechanism", "window") != "window":
        return []
    grid = [-(-n // s) for n, s in zip(size, model.config.stage_strides[0], strict=True)]
    sides = {w for w in WINDOWS if w <= min(grid)} if math.prod(size) <= TRIED else set()
    if len(set(window)) == 1:
        sides.add(window[0])
    rows = []
    for side in sorted(sides):
        try:
            config = replace(model.config, window=(side,) * len(window))
        except UsageError:
            continue  # windows that the cells of pooled queries do not divide (Hiera)
        rows.append({"window": side, **_windowed(type(model), config, size)})
    return rows


def _stage(whole: Cost, i: int) -> dict[str, Any]:
    stage = whole.stages[i]
    return {
        "stage": i,
        "tokens": stage.tokens,
        "dim": stage.dim,
        "attention": stage.flops.attention,
        "projections": stage.flops.projections,
        "mlp": stage.flops.mlp,
        "rest": stage.flops.rest,
        "pairs": stage.pairs,
        "memory": stage.inference_bytes,
        "reach": list(stage.reach),
        "seen": stage.seen,
    }
