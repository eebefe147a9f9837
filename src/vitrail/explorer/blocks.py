"""What a manifest says of each block, and which of its weights are stored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vitrail.explain import BlockTrace, attention_stats
from vitrail.explain.trace import CHUNK
from vitrail.explorer.arrays import Arrays, bias_of
from vitrail.explorer.captions import caption
from vitrail.explorer.coding import encode_rows
from vitrail.patterns import Window

# Weights that a report keeps head by head, one byte each: all of ViT-S's at 224 pixels, 2.8 M.
PER_HEAD = 2_800_000
# Weights that are stored in all, as the mean of the heads; and at most those of one block, which
# the page unpacks at once.
MEANS = 16_000_000
BLOCK = 4_000_000
# Of a block that has more, those of some queries, spread evenly.
CHOSEN = 1_000_000
# Of a block that has more weights, a head's numbers are means over so many, evenly spread: the
# picture waits for them.
COUNTED = 1_000_000
BIASES = 1_000_000  # numbers of all biases, two bytes each


@dataclass(frozen=True, slots=True)
class Plan:
    """What is stored of each block.

    Args:
        heads: the blocks whose heads are all stored.
        biases: the blocks whose bias is stored.
        queries: of blocks of which only some queries are stored, how many.
    """

    heads: frozenset[int]
    biases: frozenset[int]
    queries: dict[int, int]


def plan(blocks: Sequence[BlockTrace]) -> Plan:
    """Choose what is stored, the smallest first, so that a page stays small whatever the input."""
    sizes = [math.prod(block.shape) for block in blocks]
    means = [size // block.heads for size, block in zip(sizes, blocks, strict=True)]
    biases = [0 if block.bias is None else block.bias.numel() for block in blocks]
    most = min(CHOSEN, MEANS // max(1, len(blocks)))
    whole = {i for i, mean in enumerate(means) if mean <= BLOCK}
    for i in sorted(whole, key=means.__getitem__, reverse=True):
        chosen = most * (len(blocks) - len(whole))
        if sum(means[n] for n in whole) + chosen <= MEANS or means[i] <= most:
            break
        whole.remove(i)
    return Plan(
        heads=frozenset(_within(sizes, PER_HEAD) & whole),
        biases=frozenset(i for i in _within(biases, BIASES) if biases[i]),
        queries={
            i: max(1, most // block.shape[3]) for i, block in enumerate(blocks) if i not in whole
        },
    )


def describe_block(
    block: BlockTrace, i: int, kept: Plan, arrays: Arrays
) -> tuple[dict[str, Any], float]:
    """Describe one block and store its arrays; the page draws it from these alone.

    Returns:
        The block's part of the manifest, and by how much a row of weights misses the sum of one.
    """
    said = caption(block.pattern, block.spatial)
    layout, (groups, heads, queries, keys) = block.groups, block.shape

    def keep(name: str, array: Tensor | None) -> str | None:
        return None if array is None else arrays.add(f"b{i}/{name}", array.numpy().astype(np.int32))

    weights, missing = _weights(block, i, kept, arrays)
    # Labels that are all equal mask nothing.
    q_region, k_region = layout.labels
    apart = bool((q_region != 0).any() or (k_region != 0).any())
    stats = attention_stats(block.sample(COUNTED)).numpy().astype(np.float32)
    rgb = block.rgb
    assert rgb is not None, f"{block.name} was captured without its features"
    facts = {
        "name": block.name,
        "stage": block.stage,
        "block": block.block,
        "label": said.label,
        "title": said.title,
        "text": said.text + _shared_queries(block),
        "glyph": said.glyph,
        "group": said.group,
        "second": said.second,
        "spatial": list(block.spatial),
        "stride": list(block.stride),
        "prefix": block.pattern.prefix,
        "cut": _cut(block),
        "heads": heads,
        "pairs": block.pattern.pairs(block.spatial),
        "groups": groups,
        "queries_per_group": queries,
        "keys_per_group": keys,
        "error": block.error,
        "queries": keep("queries", layout.q_index),
        "keys": keep("keys", layout.k_index),
        "query_regions": keep("query_regions", q_region) if apart else None,
        "key_regions": keep("key_regions", k_region) if apart else None,
        "boxes": keep("boxes", layout.k_box),
        **weights,
        "bias": _bias(block, i, kept, arrays),
        "stats": arrays.add(f"b{i}/stats", stats),
        "rgb": arrays.add(f"b{i}/rgb", rgb.numpy()),
    }
    return facts, missing


def _shared_queries(block: BlockTrace) -> str:
    if block.pooled is None:
        return ""
    cell = "\u00a0×\u00a0".join(map(str, block.pooled))
    return f" The {cell} tokens of a cell share one query, and become one token behind the block."


def _bias(block: BlockTrace, i: int, kept: Plan, arrays: Arrays) -> str | None:
    """Store the bias, or only name it, where it can be requested; a report drops what it lacks."""
    if block.bias is None:
        return None
    name = f"b{i}/bias"
    return arrays.add(name, bias_of(block)) if i in kept.biases else name


def chosen_slots(block: BlockTrace, count: int) -> Int[Tensor, "chosen"]:
    """Return about ``count`` queries of a block, spread evenly over its grid.

    Returns:
        Each as ``group * queries + query``, in rising order; prefix tokens are all among them.
    """
    prefix, spatial = block.pattern.prefix, block.spatial
    share = min(1.0, (max(1, count - prefix) / math.prod(spatial)) ** (1 / len(spatial)))
    tokens = torch.zeros(1, dtype=torch.int64)
    for n in spatial:
        lines = max(1, math.floor(n * share))
        places = ((torch.arange(lines) + 0.5) * n / lines).long()
        tokens = (tokens[:, None] * n + places).flatten()
    tokens = torch.cat((torch.arange(prefix), prefix + tokens))
    # The first place of each token among the queries.
    index = block.groups.q_index.flatten()
    slots = torch.full((prefix + math.prod(spatial),), len(index))
    real = (index >= 0).nonzero()[:, 0]
    slots.scatter_reduce_(0, index[real], real, "amin")
    return slots[tokens].sort().values


def _weights(
    block: BlockTrace, i: int, kept: Plan, arrays: Arrays
) -> tuple[dict[str, str | None], float]:
    """Store a block's weights, as far as they are; every row that is stored is added up."""
    if i in kept.queries:
        slots = chosen_slots(block, kept.queries[i])
        codes, missing = _chosen_codes(block, slots)
        return {
            "mean": arrays.add(f"b{i}/mean", codes),
            "chosen": arrays.add(f"b{i}/chosen", slots.numpy().astype(np.int32)),
            "attention": None,
        }, missing
    groups, _, queries, keys = block.shape
    mean = np.zeros((groups, queries, keys), np.uint8)
    each = np.zeros(block.shape, np.uint8) if i in kept.heads else None
    missing = 0.0
    for some, picked, weights in block.chunks():
        missing = max(missing, float((weights.sum(-1) - 1).abs().max()))
        # Queries that are padding are no part of the picture; zeros also pack better.
        weights = weights * (block.groups.q_index[some, picked] >= 0)[:, None, :, None]
        mean[some, picked] = encode_rows(weights.mean(1).numpy())
        if each is not None:
            each[some, :, picked] = encode_rows(weights.numpy())
    return {
        "mean": arrays.add(f"b{i}/mean", mean),
        "chosen": None,
        "attention": None if each is None else arrays.add(f"b{i}/attn", each),
    }, missing


def _chosen_codes(block: BlockTrace, slots: Int[Tensor, "chosen"]) -> tuple[np.ndarray, float]:
    _, heads, queries, keys = block.shape
    codes = np.zeros((len(slots), keys), np.uint8)
    missing, first = 0.0, 0
    owners, counts = (slots // queries).unique_consecutive(return_counts=True)
    step = max(1, CHUNK // (heads * keys))
    if 4 * len(owners) > len(slots):  # many groups, few queries of each: all groups at once
        step = max(1, step // block.k.shape[-1])
        for start in range(0, len(slots), step):
            weights = block.at(slots[start : start + step])
            missing = max(missing, float((weights.sum(-1) - 1).abs().max()))
            codes[start : start + step] = encode_rows(weights.mean(1).numpy())
        return codes, missing
    for group, count in zip(owners.tolist(), counts.tolist(), strict=True):
        for start in range(first, first + count, step):
            end = min(start + step, first + count)
            picked = slots[start:end] % queries
            weights = block.part(slice(group, group + 1), picked)[0]
            missing = max(missing, float((weights.sum(-1) - 1).abs().max()))
            codes[start:end] = encode_rows(weights.mean(0).numpy())
        first += count
    return codes, missing


def _within(sizes: Sequence[int], budget: int) -> set[int]:
    """Return the places of the smallest numbers whose sum is within a budget."""
    kept: set[int] = set()
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        budget -= sizes[i]
        if budget < 0:
            break
        kept.add(i)
    return kept


def _cut(block: BlockTrace) -> dict[str, list[int]] | None:
    """Return how a block pads, rolls and cuts its grid, where that is a picture of its own."""
    if not isinstance(block.pattern, Window):
        return None
    window, shift = block.pattern.fit(block.spatial)
    return {"window": list(window), "shift": list(shift)}
