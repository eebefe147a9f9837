"""The comparison of mechanisms: what is measured, put together for JSON, Markdown and plots."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch

from vitrail.analysis import ReceptiveField, receptive_field
from vitrail.bench.claims import (
    drift,
    focal_granularity,
    padding_waste,
    qkv_reshape,
    window_saving,
)
from vitrail.bench.growth import Growth, Subject, exponent
from vitrail.bench.tradeoffs import agreement_without_unshift, photos, seams
from vitrail.models import CATALOG, Backbone

CONTEXT_SIZE = 224
_WASTE_SIZES = range(192, 513)
_WASTE_WINDOWS = (7, 8, 12)
_WASTE_STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One way to attend.

    Args:
        name: in words.
        law: permitted pairs on N tokens.
        terms: what the letters of the law are.
        models: in whose numbers it shows; the first that the catalog has.
    """

    name: str
    law: str
    terms: str
    models: tuple[str, ...]


MECHANISMS = (
    Mechanism("standard", "N²", "one resolution, patches of 16", ("vit_tiny",)),
    Mechanism(
        "standard, in stages",
        "N²",
        "Swin-T's body; holds a bias for every pair",
        ("global_tiny",),
    ),
    Mechanism("window", "N·M²", "M = 7, Swin-T's body", ("window_tiny", "swin_tiny")),
    Mechanism(
        "sparse",
        "≈ N·√N",
        "runs of √N and their equal places, in turn",
        ("sparse_tiny",),
    ),
    Mechanism("axial", "N·L", "L, an axis: √N on a square; Swin-T's body", ("axial_tiny",)),
    Mechanism("reduced", "N²/R²", "R = 8, 4, 2, 1 by stage", ("pvt_v2_b1", "pvt_tiny")),
    Mechanism("focal", "N·K", "K = 49 + 120 + 49 keys in stage 1", ("focal_tiny",)),
)


def chosen(models: Sequence[str] | None = None) -> list[tuple[Mechanism, str]]:
    """Return each mechanism with its model; ``models`` picks some, or adds others.

    Args:
        models: names of the catalog, or checkpoints.
    """
    known = [
        (mechanism, next((m for m in mechanism.models if m in CATALOG), None))
        for mechanism in MECHANISMS
    ]
    rows = [(mechanism, model) for mechanism, model in known if model is not None]
    if not models:
        return rows
    of = {model: mechanism for mechanism in MECHANISMS for model in mechanism.models}
    other = Mechanism("other", "–", "", ())
    return [(of.get(model, other), model) for model in models]


def row(mechanism: Mechanism, model: Subject, growth: Sequence[Growth]) -> dict[str, Any]:
    """Return all that the table says of one model.

    Args:
        mechanism: how it attends.
        model: the model.
        growth: its measurements, by rising size.
    """
    with torch.device("meta"):
        network = model.kind(model.config)
    field = receptive_field(network, CONTEXT_SIZE)
    return {
        "mechanism": mechanism.name,
        "law": mechanism.law,
        "terms": mechanism.terms,
        "model": model.name,
        "strides": [list(stride) for stride in model.config.stage_strides],
        "key_scales": key_scales(network),
        "growth": [asdict(point) for point in growth],
        "exponents": {
            name: _exponents(growth, name)
            for name in ("flops", "attention_flops", "seconds", "peak_bytes")
        },
        "context": _context(field),
    }


def key_scales(model: Any) -> int:
    """Return how many grids of keys the attention of a first block has, fine and pooled."""
    attention = next(m for m in model.modules() if hasattr(m, "pattern"))
    groups = attention.pattern.groups((56,) * model.config.axes)
    tokens = attention.pattern.prefix + 56**model.config.axes
    fine = bool(((groups.k_index >= 0) & (groups.k_index < tokens)).any())
    return len(groups.grids) + fine


def _exponents(growth: Sequence[Growth], name: str) -> dict[str, Any]:
    points = [(g.samples, getattr(g, name), g.size) for g in growth if getattr(g, name) is not None]
    samples, values = [p[0] for p in points], [p[1] for p in points]
    return {
        "all": exponent(samples, values),
        "last": exponent(samples[-2:], values[-2:]),
        "points": len(points),
        "largest": points[-1][2] if points else None,
    }


def _context(field: ReceptiveField) -> dict[str, Any]:
    stages = [asdict(stage) for stage in field.stages]
    return {"size": field.size, "stages": stages, "global_from": field.global_from}


def claims() -> dict[str, Any]:
    """Return the numbers behind the common claims."""
    granularity = focal_granularity()
    right, wrong = qkv_reshape(permute=True), qkv_reshape(permute=False)
    return {
        "saving_56": window_saving((56, 56), (7, 7)),
        "saving_49": window_saving((49, 49), (7, 7)),
        "granularity": asdict(granularity),
        "permuted": asdict(right),
        "unpermuted": asdict(wrong),
        "drift_tokens": drift(56, 3, 12),
    }


def waste() -> list[dict[str, Any]]:
    """Return for windows and strides the share of places that hold padding, over many sizes."""
    rows = []
    for window in _WASTE_WINDOWS:
        for stride in _WASTE_STRIDES:
            shares = [padding_waste((n, n), (stride,) * 2, (window,) * 2) for n in _WASTE_SIZES]
            rows.append(
                {"window": window, "stride": stride, "mean": sum(shares) / len(shares),
                 "worst": max(shares), "size_of_worst": _WASTE_SIZES[shares.index(max(shares))]}
            )  # fmt: skip
    return rows


def windows_in_practice(model: Backbone, count: int | None = None) -> dict[str, Any]:
    """Return what seams and a forgotten unshift do to a trained model on real photos.

    Args:
        model: with window attention, trained.
        count: photos; default all.
    """
    large, small = photos(model, (128, 128), count), photos(model, (32, 32), count)
    return {
        "model": model.name or type(model).__name__,
        "photos": len(large),
        "size": 128,
        "shifted": [asdict(seam) for seam in seams(model, large, shifted=True)],
        "unshifted": [asdict(seam) for seam in seams(model, large, shifted=False)],
        "agreement_without_unshift": agreement_without_unshift(model, small),
    }


def stop_after(growth: Callable[[int], Growth], sizes: Sequence[int]) -> list[Growth]:
    """Measure by rising size until one does not end; larger ones would not either."""
    points: list[Growth] = []
    for size in sorted(sizes):
        points.append(growth(size))
        if points[-1].ended is not None:
            break
    return points


def ending(growth: Sequence[dict[str, Any]]) -> str:
    """Return in words where a series of measurements ended, and why."""
    last = growth[-1]
    if last["ended"] is None:
        return f"all sizes to {last['size']}"
    sizes = {after["size"]: before["size"] for before, after in pairwise(growth)}
    done = f"to {sizes[last['size']]}; " if last["size"] in sizes else ""
    why = "out of memory" if last["ended"] == "memory" else "out of time"
    return f"{done}{why} at {last['size']}"
