"""Oracles that write every pair of tokens down: one matrix a block, one a merge, multiplied out."""

import itertools
import math

import torch
from torch import Tensor

from vitrail.explain import BlockTrace, MergeTrace, Trace
from vitrail.patterns import Groups
from vitrail.shapes import Size


def number(place: tuple[int, ...], spatial: Size) -> int:
    result = 0
    for p, n in zip(place, spatial, strict=True):
        result = result * n + p
    return result


def token_count(block: BlockTrace) -> int:
    return block.pattern.prefix + math.prod(block.spatial)


def stands_for(groups: Groups, group: int, block: BlockTrace) -> Tensor:
    """``[keys, tokens]``: which tokens each key of a group is; a row of zeros for padding."""
    total, prefix = token_count(block), block.pattern.prefix
    keys = torch.zeros(groups.k_index.shape[1], total, dtype=torch.float64)
    for key, index in enumerate(groups.k_index[group].tolist()):
        if 0 <= index < total:
            keys[key, index] = 1
        elif index >= total:
            assert groups.k_box is not None
            bounds = groups.k_box[group, key].view(-1, 2).tolist()
            box = list(itertools.product(*(range(a, b) for a, b in bounds)))
            for place in box:
                keys[key, prefix + number(place, block.spatial)] = 1 / len(box)
    return keys


def attention_matrix(block: BlockTrace, weights: Tensor, renormalise: bool) -> Tensor:
    """``[tokens, tokens]`` of grouped weights ``[groups, queries, keys]``."""
    groups, total = block.groups, token_count(block)
    matrix = torch.zeros(total, total, dtype=torch.float64)
    for group in range(len(groups.q_index)):
        given = weights[group].double() @ stands_for(groups, group, block)
        for query, token in enumerate(groups.q_index[group].tolist()):
            if token >= 0:
                matrix[token] = given[query] / (given[query].sum() if renormalise else 1)
    return matrix


def merge_matrix(before: Size, after: Size, merge: MergeTrace | None) -> Tensor:
    """``[merged tokens, tokens]``: every real child has the same share."""
    factor = (1,) * len(before) if merge is None else merge.factor
    matrix = torch.zeros(math.prod(after), math.prod(before), dtype=torch.float64)
    for parent in itertools.product(*(range(n) for n in after)):
        lines = [
            [c for c in range(p * f, p * f + f) if c < n]
            for p, f, n in zip(parent, factor, before, strict=True)
        ]
        children = list(itertools.product(*lines))
        for child in children:
            matrix[number(parent, after), number(child, before)] = 1 / len(children)
    return matrix


def descent(trace: Trace, steps: list[Tensor], block: int) -> list[Tensor]:
    """Multiply the steps of blocks ``block`` to 0 with the merges between; a map for each stage."""
    rows = torch.eye(token_count(trace.blocks[block]), dtype=torch.float64)
    maps = []
    for i in range(block, -1, -1):
        here, prefix = trace.blocks[i], trace.blocks[i].pattern.prefix
        rows = rows @ steps[i]
        if i > 0 and trace.blocks[i - 1].stage == here.stage:
            continue
        maps.append(rows[:, prefix:])
        if i > 0:
            below = trace.blocks[i - 1]
            merge = next((m for m in trace.merges if m.stage == here.stage), None)
            down = maps[-1] @ merge_matrix(below.spatial, here.spatial, merge)
            own = torch.zeros(len(rows), below.pattern.prefix, dtype=torch.float64)
            rows = torch.cat((own, down), dim=1)
    return maps


def rollout_maps(trace: Trace, block: int, residual: float) -> list[Tensor]:
    """``[tokens, grid]`` for each stage from the block's own to the first; rows sum to one."""
    steps = []
    for here in trace.blocks:
        mean = attention_matrix(here, here.attention.mean(1), renormalise=True)
        steps.append(residual * torch.eye(len(mean)) + (1 - residual) * mean)
    return [rows / rows.sum(1, keepdim=True) for rows in descent(trace, steps, block)]
