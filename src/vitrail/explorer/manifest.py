"""What a page is given: a manifest that names everything, and the arrays it names.

``schema.json`` beside this file says what each part of a manifest means.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.explain import MergeTrace, Trace
from vitrail.explorer import maps
from vitrail.explorer.arrays import Arrays
from vitrail.explorer.blocks import describe_block, plan
from vitrail.explorer.checks import Adapted, Compared, Unobserved, describe_checks
from vitrail.explorer.costs import describe_cost
from vitrail.explorer.outcome import describe_outcome, mapped_classes
from vitrail.explorer.photo import Prepared, picture_bytes
from vitrail.models import Backbone, TaskModel, backbone_of
from vitrail.patterns import Pattern
from vitrail.shapes import Size

# Products of queries and keys of one block beyond which computing it would take minutes.
SCORES = 2_000_000_000
# Parts of a manifest that take longer than the rest, in the order in which they come.
PARTS = ("methods", "maps", "reach", "cost", "checks", "faithfulness")
_KINDS = ("attention", "projections", "mlp", "rest")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subject:
    """A trace with what it was made from.

    Args:
        trace: of an image.
        model: the traced model.
        prepared: the photo that was traced.
        name: the photo's name; treated as text, whatever it holds.
        versions: of the software, in words.
        python: source text that makes model and photo.
        scored: measure how faithful the maps are; None where that is quick.
    """

    trace: Trace
    model: Backbone | TaskModel
    prepared: Prepared
    name: str
    versions: str
    python: tuple[str, str]
    scored: bool | None = None


def describe(
    subject: Subject, compare: Callable[[], Compared]
) -> Iterator[tuple[dict[str, Any], Arrays]]:
    """Describe a trace in steps: first what a picture needs, at last everything.

    Args:
        subject: what is described.
        compare: runs the same input without hooks, and through the model that this one was
            made from, if there is one; called when the first picture can be drawn.
    Returns:
        Manifests, each more complete than the one before; ``pending`` names the parts that are
        still empty. All share the arrays, which also make what is not stored.
    """
    trace, model = subject.trace, subject.model
    source = maps.Source(trace, model, subject.prepared.input)
    arrays = Arrays(trace, source)
    manifest, missing = _first(subject, arrays)
    stats = [arrays.get(facts["stats"]) for facts in manifest["blocks"]]

    def step(**parts: Any) -> tuple[dict[str, Any], Arrays]:
        nonlocal manifest
        pending = [part for part in manifest["pending"] if part not in parts]
        # A manifest that was handed out does not change any more.
        manifest = {**manifest, **parts, "pending": pending, "arrays": dict(arrays.facts)}
        return manifest, arrays

    # What is known without the comparison; "checks" stay pending until it is there.
    manifest["checks"] = describe_checks(trace, missing, stats, None, None)
    yield step()
    found, parts = maps.describe(source, arrays, mapped_classes(trace, manifest["outcome"]))
    yield step(**parts)
    unobserved, adapted, logits = compare()
    backbone = backbone_of(model)
    assert backbone is not None
    costs = describe_cost(backbone, trace.spatial, [_side_ms(trace, unobserved)])
    if backbone is not model:
        costs["mechanisms"][-1]["label"] += ", without its head"
    yield step(
        model=_model(trace, adapted),
        at_trained_size=None if logits is None else _at_trained_size(trace, model, logits),
        cost=costs,
        checks=describe_checks(trace, missing, stats, unobserved, adapted),
    )
    flops = sum(row[kind] for row in costs["stages"] for kind in _KINDS)
    yield step(faithfulness=maps.score(source, found, arrays, flops, subject.scored))


def _first(subject: Subject, arrays: Arrays) -> tuple[dict[str, Any], float]:
    """Return what a picture needs, and by how much a row of weights misses the sum of one."""
    trace = subject.trace
    kept = plan(trace.blocks)
    described = [describe_block(block, i, kept, arrays) for i, block in enumerate(trace.blocks)]
    manifest = {
        "format": "vitrail-trace/3",
        "versions": subject.versions,
        "subject": {"kind": "image", "axes": ["height", "width"]},
        "photo": _photo(subject, arrays),
        "model": _model(trace, None),
        "answer": _answer(trace),
        "outcome": describe_outcome(trace, subject.model, arrays),
        "at_trained_size": None,
        "stages": _stages(trace, arrays),
        "blocks": [facts for facts, _ in described],
        "methods": [],
        "maps": [],
        "reach": [],
        "faithfulness": None,
        "cost": {"sizes": [], "mechanisms": [], "measured": [], "windows": [], "stages": []},
        "checks": [],
        "python": {
            "model": subject.python[0],
            "photo": subject.python[1],
            "size": list(trace.spatial),
        },
        "on_demand": True,
        "pending": list(PARTS),
        "arrays": {},
    }
    return manifest, max(missing for _, missing in described)


Blocks = list[tuple[Pattern, Size]]


def check_size(blocks: Blocks, size: Size) -> None:
    """Refuse, before anything is computed, an input whose attention would take minutes.

    Args:
        blocks: each block's pattern, and its grid.
        size: height and width of the input, in pixels.
    Raises:
        UsageError: the size is too large.
    """
    largest = _largest(blocks)
    if largest <= SCORES:
        return
    factor, smaller_blocks = 1.0, blocks
    while _largest(smaller_blocks) > SCORES:
        factor *= 0.98
        smaller_blocks = [
            (pattern, tuple(max(1, int(n * factor)) for n in spatial))
            for pattern, spatial in blocks
        ]
    smaller = [max(1, int(n * factor)) for n in size]
    raise UsageError(
        f"an input of {size[0]}x{size[1]} pixels: {largest / 1e6:,.0f} million weights in one "
        "block",
        f"at most {SCORES / 1e6:,.0f} million, mean of the heads",
        f"use --size {smaller[0]}x{smaller[1]} (in Python size=({smaller[0]}, {smaller[1]}))",
    )


def _largest(blocks: Blocks) -> int:
    return max((pattern.scores(spatial) for pattern, spatial in blocks), default=0)


def _side_ms(trace: Trace, unobserved: Unobserved) -> tuple[int, float]:
    """Return the side of a square of as many pixels, and how long a pass over them took."""
    height, width = trace.spatial
    return round((height * width) ** 0.5), unobserved.ms


def _photo(subject: Subject, arrays: Arrays) -> dict[str, Any]:
    pictures = {}
    for name, picture in (("seen", subject.prepared.seen), ("shown", subject.prepared.shown)):
        media, data = picture_bytes(picture, exact=name == "seen")
        pictures[name] = arrays.add(f"image/{name}", np.frombuffer(data, np.uint8), media)
    return {
        "name": subject.name,
        "original": list(subject.prepared.original),
        "input": list(subject.trace.spatial),
        **pictures,
    }


def _model(trace: Trace, adapted: Adapted | None) -> dict[str, Any]:
    facts, classes = trace.model, trace.classes
    return {
        "name": facts.name,
        "weights": facts.weights,
        "trained": facts.trained,
        "sha256": facts.sha256,
        "parameters": facts.parameters,
        "patch": list(facts.patch),
        "overlap": list(facts.overlap),
        "pool": facts.pool,
        "caveat": facts.caveat,
        "classes": trace.logits.numel() if trace.dense is None else len(trace.dense),
        "class_names": None if classes is None else list(classes),
        "transform": list(facts.transform),
        "adapted": None
        if adapted is None
        else {"from": adapted.source, "difference": adapted.difference},
    }


def _answer(trace: Trace) -> list[dict[str, Any]]:
    numbers = trace.logits.topk(min(5, trace.logits.numel())).indices.tolist()
    return [
        {"class": cls, "label": label, "probability": p}
        for cls, (label, p) in zip(numbers, trace.top(), strict=True)
    ]


def _at_trained_size(
    trace: Trace, model: Backbone | TaskModel, logits: Float[Tensor, "classes"]
) -> dict[str, Any]:
    other = replace(trace, logits=logits)
    return {"size": list(model.preprocessing.size), "answer": _answer(other)}


def _stages(trace: Trace, arrays: Arrays) -> list[dict[str, Any]]:
    merges = {merge.stage: merge for merge in trace.merges}
    stages = []
    for stage, members in groupby(enumerate(trace.blocks), key=lambda pair: pair[1].stage):
        numbers, blocks = zip(*members, strict=True)
        merge = merges.get(stage)
        stages.append(
            {
                "spatial": list(blocks[0].spatial),
                "stride": list(blocks[0].stride),
                "dim": blocks[0].dim,
                "blocks": list(numbers),
                "merge": None if merge is None else _merge(merge, arrays),
            }
        )
    return stages


def _merge(merge: MergeTrace, arrays: Arrays) -> dict[str, Any]:
    share = None
    if merge.share is not None:
        share = arrays.add(f"m{merge.stage}/share", _levels(merge.share))
    return {
        "before": list(merge.before),
        "after": list(merge.after),
        "factor": list(merge.factor),
        "overlap": list(merge.overlap),
        "share": share,
    }


def _levels(share: Float[Tensor, "*spatial children"]) -> np.ndarray:
    return (255 * share).round().numpy().astype(np.uint8)
