"""Receptive field: which input samples can influence a token, from the patterns alone.

A token is followed backwards through the real model's structure: perceptrons that look at
neighbours, attention by groups, merging, embedding. Sets of tokens go through groups as labels, so
that nothing is ever as large as queries times keys. What can influence a token by the structure
does so for almost all weights: the set is the support of the gradient (a peer's finite
``mask_value`` leaks a little more, which is not counted). Squeeze-and-excitation (MaxViT) weighs
channels by the mean of all tokens: behind it, every sample can influence every token.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.layers import DepthwiseMlp, MBConv, PatchEmbed, PoolingBlock
from vitrail.models import backbone_of, no_backbone
from vitrail.patterns import Groups, Pattern, PooledQueries
from vitrail.patterns.base import seen_by
from vitrail.patterns.sets import Spans, TokenSet, joined
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, slots=True)
class StageReach:
    """What tokens see at the end of a stage.

    Args:
        grid: tokens along each axis.
        extent: input samples along each axis from the first to the last that can influence the
            grid's middle token.
        share: of the input's samples that can influence the middle token.
        least_share: the smallest such share of the grid's first, middle and last token.
    """

    grid: Size
    extent: Size
    share: float
    least_share: float


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What a model's tokens see, stage by stage.

    Args:
        size: input samples along each axis.
        stages: at the end of each stage.
        global_from: stage and block after which the first, middle and last token of the grid all
            see every input sample that any token of the model sees; None if none does.
    """

    size: Size
    stages: tuple[StageReach, ...]
    global_from: tuple[int, int] | None


def reach(
    model: nn.Module, size: int | Size, stage: int, block: int, position: int | Size
) -> Bool[Tensor, "*samples"]:
    """Return which input samples can influence a token after a block.

    Args:
        model: a Vitrail backbone of any rank, or a module with one inside; it does not run.
        size: input samples along each axis; one number stands for every axis.
        stage: number of the stage, from 0; negative numbers count from the end.
        block: number of the block in its stage; negative numbers count from the end.
        position: the token's place on the stage's grid, one number for each axis; one number alone
            is a prefix token (such as CLS).
    Returns:
        True where a sample can influence the token.
    Raises:
        UsageError: another kind of model, or a size, stage, block or token that is not there.
    """
    walk = _Walk(model, size)
    stage = _index("stage", stage, len(walk.stages))
    block = _index("block", block, len(walk.stages[stage].blocks))
    return walk.mask(walk.back(stage, block, walk.token(stage, position)))


def receptive_field(model: nn.Module, size: int | Size) -> ReceptiveField:
    """Return what a model's tokens see at the end of each stage.

    Args:
        model: a Vitrail backbone of any rank, or a module with one inside; it does not run.
        size: input samples along each axis; one number stands for every axis.
    Raises:
        UsageError: another kind of model, or a size that cannot be.
    """
    walk = _Walk(model, size)
    # Samples that no patch takes in (patch_fit="floor") are beyond every token.
    seen = walk.share(walk.below(0, [TokenSet.whole(walk.grids[0])]))
    stages: list[StageReach] = []
    global_from = None
    for stage in range(len(walk.stages)):
        blocks = len(walk.stages[stage].blocks)
        fields = walk.probes(stage, blocks - 1)
        shares = [walk.share(field) for field in fields]
        middle = walk.extent(fields[1])
        stages.append(StageReach(walk.grids[stage], middle, shares[1], min(shares)))
        if global_from is None and min(shares) == seen:
            # A later block sees no less than an earlier one: the first that sees all will do.
            global_from = next(
                (stage, block)
                for block in range(blocks)
                if all(walk.share(field) == seen for field in walk.probes(stage, block))
            )
    return ReceptiveField(walk.size, tuple(stages), global_from)


def extent(mask: Bool[Tensor, "*samples"]) -> Size:
    """Return the lengths of the least box around a set of samples; zeros for none."""
    lengths = []
    for axis in range(mask.ndim):
        line = mask.movedim(axis, 0).flatten(1).any(1) if mask.ndim > 1 else mask
        places = line.nonzero()
        lengths.append(int(places.max() - places.min()) + 1 if len(places) else 0)
    return tuple(lengths)


class _Tokens(NamedTuple):
    """Tokens of a stage: of its prefix, and of its grid in boxes that do not overlap."""

    prefix: Bool[Tensor, " prefix"]
    grid: list[TokenSet]


class _Walk:
    """The way back from a token to the input, through one model at one size.

    Along each axis the input is cut where a patch begins or ends, and what lies between two cuts
    is kept as one place: no set is as large as the input.
    """

    def __init__(self, model: nn.Module, size: int | Size) -> None:
        backbone = backbone_of(model) if isinstance(model, nn.Module) else None
        if backbone is None:
            raise no_backbone(model)
        self.size = as_size(size, backbone.config.axes, "size")
        self.stages: list[Any] = list(backbone.stages)
        patches = _spans(backbone.embed, self.size)
        edges = [torch.tensor([0, n]) for n in self.size]
        self.cuts = [
            torch.cat((e, p.flatten())).unique() for e, p in zip(edges, patches, strict=True)
        ]
        # Which finer tokens (or pieces of the input) each token of a stage is made of.
        self.spans = [[torch.searchsorted(c, p) for c, p in zip(self.cuts, patches, strict=True)]]
        for stage in self.stages[1:]:
            grid = tuple(len(line) for line in self.spans[-1])
            self.spans.append(_cells(pools(stage), grid) or _spans(stage.merge, grid))
        self.grids: list[Size] = [tuple(len(line) for line in lines) for lines in self.spans]
        self.groups: dict[tuple[Pattern, Size], Groups] = {}
        self.below_all: dict[int, list[TokenSet]] = {}

    def prefix(self, stage: int) -> int:
        """Return how many prefix tokens a stage has."""
        prefix = self.stages[stage].prefix
        return 0 if prefix is None else prefix.count

    def token(self, stage: int, position: int | Size) -> _Tokens:
        """Return the set of one token, out of a stage's prefix tokens and grid."""
        grid, prefix = self.grids[stage], torch.zeros(self.prefix(stage), dtype=torch.bool)
        if isinstance(position, int):
            if not 0 <= position < len(prefix):
                raise UsageError(
                    f"position={position} in a stage with {len(prefix)} prefix tokens",
                    f"one number for each of the {len(grid)} axes, or a prefix token's number",
                    f"use position={tuple(n // 2 for n in grid)}",
                )
            prefix[position] = True
            return _Tokens(prefix, [])
        inside = [0 <= p < n for p, n in zip(position, grid, strict=False)]
        if len(position) != len(grid) or not all(inside):
            raise UsageError(
                f"position={tuple(position)} on a grid of {grid} tokens",
                f"a place on the grid, from {(0,) * len(grid)}",
                f"use position={tuple(n // 2 for n in grid)}",
            )
        return _Tokens(prefix, [TokenSet(tuple(position), (1,) * len(grid))])

    def probes(self, stage: int, block: int) -> list[list[TokenSet]]:
        """Return what the grid's first, middle and last token see, in pieces of the input."""
        grid = self.grids[stage]
        places = ((0,) * len(grid), tuple(n // 2 for n in grid), tuple(n - 1 for n in grid))
        return [self.back(stage, block, self.token(stage, place)) for place in places]

    def back(self, stage: int, block: int, tokens: _Tokens) -> list[TokenSet]:
        """Return the pieces of the input that can influence some ``tokens`` after a block."""
        for module in reversed(self.stages[stage].blocks[: block + 1]):
            if isinstance(module, PoolingBlock):
                continue  # it leads to the stage's grid: see below
            for part in reversed(getattr(module, "parts", [module])):
                tokens = self.through(stage, part, tokens)
        return self.below(stage, tokens.grid)

    def below(self, stage: int, tokens: list[TokenSet]) -> list[TokenSet]:
        """Return the pieces that can influence some tokens of a stage before its blocks."""
        if not self._is_all(stage, tokens):
            return self._below(stage, tokens)
        if stage not in self.below_all:
            self.below_all[stage] = self._below(stage, tokens)
        return self.below_all[stage]

    def _below(self, stage: int, tokens: list[TokenSet]) -> list[TokenSet]:
        found = joined(one.spread(self.spans[stage]) for one in tokens)
        if stage == 0:
            return found
        if (pattern := pools(self.stages[stage])) is not None:
            seen = [piece for one in found for piece in pattern.tokens.seen(
                self.grids[stage - 1], one)]  # fmt: skip
            found = joined([*found, *seen])
        # Behind the first stage, finer tokens went through the blocks of the stage before.
        prefix = torch.zeros(self.prefix(stage - 1), dtype=torch.bool)
        return self.back(stage - 1, len(self.stages[stage - 1].blocks) - 1, _Tokens(prefix, found))

    def through(self, stage: int, block: Any, tokens: _Tokens) -> _Tokens:
        """Return the tokens before a block, or a part of one, that can influence some after it."""
        grid, near = self.grids[stage], tokens.grid
        if tokens.prefix.all() and self._is_all(stage, near):
            return tokens  # both branches are residual: they cannot be less
        if isinstance(block, MBConv):  # it weighs channels by the mean of all tokens
            return _Tokens(tokens.prefix, [TokenSet.whole(grid)] if near else [])
        if isinstance(block.mlp, DepthwiseMlp):
            spans = [_taps(n, n, 3, 1, 1) for n in grid]
            near = joined(one.spread(spans) for one in near)
        pattern = block.attn.pattern
        if len(tokens.prefix) or pattern.prefix:
            return self._with_prefix(pattern, grid, _Tokens(tokens.prefix, near))
        seen = [found for one in near for found in pattern.seen(grid, one)]
        return _Tokens(tokens.prefix, joined([*near, *seen]))

    def _with_prefix(self, pattern: Pattern, grid: Size, tokens: _Tokens) -> _Tokens:
        if (pattern, grid) not in self.groups:
            self.groups[pattern, grid] = pattern.groups_with_boxes(grid)
        dense = torch.zeros(grid, dtype=torch.bool)
        for one in tokens.grid:
            dense |= one.dense(grid)
        before = torch.cat((tokens.prefix, dense.flatten()))
        after = before | seen_by(self.groups[pattern, grid], before, grid)
        prefix, mask = after.tensor_split([len(tokens.prefix)])
        if not mask.any():
            return _Tokens(prefix, [])
        return _Tokens(prefix, [TokenSet.of((0,) * len(grid), mask.view(grid))])

    def _is_all(self, stage: int, tokens: list[TokenSet]) -> bool:
        return len(tokens) == 1 and tokens[0].covers(self.grids[stage])

    def share(self, pieces: list[TokenSet]) -> float:
        """Return the share of the input's samples that lie in some of its pieces."""
        total = 0
        for one in pieces:
            # Sums of whole numbers below 2**53: exact, whatever their order.
            edges, mask = one.tiles
            count = mask.double()
            for line, cuts in reversed([*zip(edges, self.cuts, strict=True)]):
                count = count @ cuts[line].diff().double()
            total += int(count)
        return total / math.prod(self.size)

    def extent(self, pieces: list[TokenSet]) -> Size:
        """Return the lengths, in samples, of the least box around some pieces; zeros for none."""
        if not pieces:
            return (0,) * len(self.size)
        ends = (zip(*(one.first for one in pieces), strict=True),
                zip(*(one.stop for one in pieces), strict=True))  # fmt: skip
        return tuple(
            int(cuts[max(stop)] - cuts[min(first)])
            for cuts, first, stop in zip(self.cuts, *ends, strict=True)
        )

    def mask(self, pieces: list[TokenSet]) -> Bool[Tensor, "*samples"]:
        """Return the samples of some pieces of the input."""
        whole = torch.zeros([len(cuts) - 1 for cuts in self.cuts], dtype=torch.bool)
        for one in pieces:
            whole |= one.dense(tuple(whole.shape))
        for axis, cuts in enumerate(self.cuts):
            whole = whole.repeat_interleave(cuts.diff(), axis)
        return whole


def pools(stage: Any) -> PooledQueries | None:
    """Return the pattern of a stage's first block if that pools its queries."""
    first = stage.blocks[0]
    return first.attn.pattern if isinstance(first, PoolingBlock) else None


def _cells(pattern: PooledQueries | None, spatial: Size) -> list[Spans]:
    """Return for each axis which tokens each cell of pooled queries is made of."""
    if pattern is None:
        return []
    lines = zip(spatial, pattern.stride, strict=True)
    return [_taps(n, -(-n // s) * s, s, s, 0) for n, s in lines]


def _spans(module: Any, spatial: Size) -> list[Spans]:
    """Return for each axis which of ``spatial`` places each coarser place is made of."""
    if module is None:
        return [_taps(n, n, 1, 1, 0) for n in spatial]
    if any(isinstance(part, MBConv) for part in module.modules()):
        strides = zip(spatial, module.stride, strict=True)
        return [torch.tensor([[0, n]]).repeat(-(-n // s), 1) for n, s in strides]
    if not isinstance(module, PatchEmbed):
        factors = zip(spatial, module.factor, strict=True)
        return [_taps(n, -(-n // f) * f, f, f, 0) for n, f in factors]
    lines = []
    proj: Any = module.proj
    taps = zip(spatial, module.patch, proj.kernel_size, proj.stride, proj.padding, strict=True)
    for n, patch, kernel, stride, padding in taps:
        # patch_fit="floor" drops what is left over; merges keep one token even so.
        length = -(-n // patch) * patch if module.patch_fit == "pad" else max(n, patch)
        lines.append(_taps(n, length, kernel, stride, padding))
    return lines


def _taps(n: int, length: int, kernel: int, stride: int, padding: int) -> Spans:
    """Return which of ``n`` places each output of a convolution over ``length`` places sees."""
    outputs = (length + 2 * padding - kernel) // stride + 1
    start = torch.arange(outputs) * stride - padding
    return torch.stack((start, start + kernel), dim=-1).clamp(0, n)


def _index(name: str, given: int, count: int) -> int:
    """Return a number from 0 up, of one that may count from the end."""
    if not -count <= given < count:
        raise UsageError(
            f"{name}={given}", f"{-count} to {count - 1}", f"use {name}={count - 1} for the last"
        )
    return given % count
