"""What a report holds: a manifest that names everything, and the arrays it names."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.explain import BlockTrace, Trace
from vitrail.explorer.coding import encode_rows
from vitrail.explorer.words import words
from vitrail.patterns import Pattern, Window
from vitrail.shapes import Size

# Weights that a report keeps head by head, one byte each: all of ViT-S's at 224 pixels, 2.8 M.
PER_HEAD = 2_800_000
# Weights that a report can hold at all, as the mean of the heads; and those of one block, which the
# page unpacks at once.
MEANS = 16_000_000
BLOCK = 4_000_000

_DTYPES = {"uint8": "u8", "int32": "i32"}


@dataclass(slots=True)
class Arrays:
    """Arrays by name; equal ones are kept once."""

    by_name: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, array: np.ndarray) -> str:
        """Keep an array and return the name under which it can be found."""
        sha = hashlib.sha256(array.tobytes()).hexdigest()
        key = f"{array.dtype}{array.shape}{sha}"
        if key in self._names:
            return self._names[key]
        self._names[key] = name
        self.by_name[name] = array
        self.facts[name] = {
            "dtype": _DTYPES[str(array.dtype)],
            "shape": list(array.shape),
            "sha256": sha,
        }
        return name


def describe(trace: Trace, photo: Mapping[str, Any], versions: str) -> tuple[dict, Arrays]:
    """Return the manifest of a trace, and its arrays.

    Args:
        trace: of a two-dimensional input.
        photo: name and sizes of the photo.
        versions: of the software, in words.
    Raises:
        UsageError: a trace that a page cannot show, by rank, pattern or size.
    """
    _check(trace)
    arrays = Arrays()
    kept = _kept_by_head(trace)
    blocks = [_block(block, i, i in kept, arrays) for i, block in enumerate(trace.blocks)]
    facts = trace.model
    return {
        "format": "vitrail-report/1",
        "versions": versions,
        "photo": {**photo, "input": list(trace.spatial)},
        "model": {
            "name": facts.name,
            "weights": facts.weights,
            "trained": facts.trained,
            "sha256": facts.sha256,
            "parameters": facts.parameters,
            "overlap": list(facts.overlap),
            "pool": facts.pool,
            "classes": trace.logits.numel(),
            "transform": list(facts.transform),
        },
        "answer": [{"label": label, "probability": p} for label, p in trace.top()],
        "merges": [
            {
                "stage": merge.stage,
                "before": list(merge.before),
                "after": list(merge.after),
                "factor": list(merge.factor),
            }
            for merge in trace.merges
        ],
        "blocks": blocks,
        "arrays": arrays.facts,
    }, arrays


Blocks = list[tuple[Pattern, Size]]


def fits(blocks: Blocks) -> bool:
    """Tell whether a report can hold the weights of blocks, each a pattern and its grid."""
    largest, total = _weights(blocks)
    return largest <= BLOCK and total <= MEANS


def check_size(blocks: Blocks, size: Size) -> None:
    """Refuse, before anything is computed, an input whose weights no report can hold.

    Raises:
        UsageError: the size is too large.
    """
    if fits(blocks):
        return
    largest, total = _weights(blocks)
    much = f"{total / 1e6:.1f} million weights, {largest / 1e6:.1f} in one block"
    factor, smaller_blocks = 1.0, blocks
    while not fits(smaller_blocks):
        factor *= 0.98
        smaller_blocks = [
            (pattern, tuple(math.ceil(n * factor) for n in spatial)) for pattern, spatial in blocks
        ]
    smaller = [max(1, int(n * factor)) for n in size]
    raise UsageError(
        f"an input of {size[0]}x{size[1]} pixels: {much}",
        f"at most {MEANS / 1e6:.0f} million weights (mean of the heads) in one report, and "
        f"{BLOCK / 1e6:.0f} in one block",
        f"use --size {smaller[0]}x{smaller[1]} (in Python size=({smaller[0]}, {smaller[1]}))",
    )


def _weights(blocks: Blocks) -> tuple[int, int]:
    """Return the weights of the largest block, and of all."""
    each = [pattern.scores(spatial) for pattern, spatial in blocks]
    return max(each, default=0), sum(each)


def _check(trace: Trace) -> None:
    if len(trace.spatial) != 2:
        raise UsageError(
            f"a trace of an input with {len(trace.spatial)} spatial axes",
            "a trace of an image, with two",
            "look at other traces in Python: trace.blocks[0].attends(position)",
        )
    check_size([(block.pattern, block.spatial) for block in trace.blocks], trace.spatial)


def _kept_by_head(trace: Trace) -> set[int]:
    """Choose the blocks whose heads are all kept: the smallest ones, within the budget."""
    left, kept = PER_HEAD, set()
    for i in sorted(range(len(trace.blocks)), key=lambda i: trace.blocks[i].attention.numel()):
        left -= trace.blocks[i].attention.numel()
        if left < 0:
            break
        kept.add(i)
    return kept


def _block(block: BlockTrace, i: int, by_head: bool, arrays: Arrays) -> dict[str, Any]:
    """Describe one block and keep its arrays; the page draws it from these alone."""
    said = words(block.pattern, block.spatial)
    groups = block.groups
    # What padding asks is no part of the picture; zeros also pack better.
    asks = (groups.q_index >= 0)[:, None, :, None]
    attention = torch.where(asks, block.attention, 0).numpy()

    def keep(name: str, array: Tensor | None) -> str | None:
        return None if array is None else arrays.add(f"b{i}/{name}", array.numpy().astype(np.int32))

    return {
        "name": block.name,
        "stage": block.stage,
        "block": block.block,
        "label": said.label,
        "title": said.title,
        "text": said.text,
        "glyph": said.glyph,
        "group": said.group,
        "second": said.second,
        "spatial": list(block.spatial),
        "stride": list(block.stride),
        "prefix": block.pattern.prefix,
        "cut": _cut(block),
        "heads": block.heads,
        "pairs": block.pattern.pairs(block.spatial),
        "error": block.error,
        "queries": keep("queries", groups.q_index),
        "keys": keep("keys", groups.k_index),
        "query_regions": keep("query_regions", groups.q_region[0]),
        "key_regions": keep("key_regions", groups.k_region[0]),
        "boxes": keep("boxes", groups.k_box),
        "mean": arrays.add(f"b{i}/mean", encode_rows(attention.mean(axis=1))),
        "attention": arrays.add(f"b{i}/attn", encode_rows(attention)) if by_head else None,
    }


def _cut(block: BlockTrace) -> dict[str, list[int]] | None:
    """Return how a block pads, rolls and cuts its grid, where that is a picture of its own."""
    if not isinstance(block.pattern, Window):
        return None
    window, shift = block.pattern.fit(block.spatial)
    return {"window": list(window), "shift": list(shift)}
