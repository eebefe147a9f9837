"""Receptive field: which input samples can influence a token, from the patterns alone.

A token is followed backwards through the real model's structure: perceptrons that look at
neighbours, attention by groups, merging, embedding. Sets of tokens go through groups as labels, so
that nothing is ever as large as queries times keys. What can influence a token by the structure
does so for almost all weights: the set is the support of the gradient (a peer's finite
``mask_value`` leaks a little more, which is not counted).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.layers import DepthwiseMlp, PatchEmbed
from vitrail.patterns import Groups, Pattern
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
    """Tell which input samples can influence a token after a block.

    Args:
        model: a Vitrail backbone of any rank; it does not run.
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
    return walk.back(stage, block, walk.token(stage, position))


def receptive_field(model: nn.Module, size: int | Size) -> ReceptiveField:
    """Return what a model's tokens see at the end of each stage.

    Args:
        model: a Vitrail backbone of any rank; it does not run.
        size: input samples along each axis; one number stands for every axis.
    Raises:
        UsageError: another kind of model, or a size that cannot be.
    """
    walk = _Walk(model, size)
    last = len(walk.stages) - 1
    # Samples that no patch takes in (patch_fit="floor") are beyond every token.
    seen = walk.below(0, torch.ones(walk.grids[0], dtype=torch.bool))
    stages: list[StageReach] = []
    global_from = None
    for stage in range(last + 1):
        blocks = len(walk.stages[stage].blocks)
        masks = walk.probes(stage, blocks - 1)
        shares = [float(mask.double().mean()) for mask in masks]
        stages.append(StageReach(walk.grids[stage], extent(masks[1]), shares[1], min(shares)))
        if global_from is None and all(torch.equal(mask, seen) for mask in masks):
            # A later block sees no less than an earlier one: the first that sees all will do.
            global_from = next(
                (stage, block)
                for block in range(blocks)
                if all(torch.equal(mask, seen) for mask in walk.probes(stage, block))
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


class _Walk:
    """The way back from a token to the input, through one model at one size."""

    def __init__(self, model: Any, size: int | Size) -> None:
        if not isinstance(getattr(model, "stages", None), nn.ModuleList):
            raise UsageError(
                f"a model of class {type(model).__name__}",
                "a Vitrail model with attention blocks",
                "create it with vitrail.create_model, or convert it with vitrail.from_model",
            )
        self.size = as_size(size, model.config.axes, "size")
        self.stages: list[Any] = list(model.stages)
        # Which finer tokens (or samples) each token of a stage is made of, along each axis.
        self.lines = [_lines(model.embed, self.size)]
        for stage in self.stages[1:]:
            grid = tuple(len(line) for line in self.lines[-1])
            whole = [torch.eye(n, dtype=torch.bool) for n in grid]
            self.lines.append(whole if stage.merge is None else _lines(stage.merge, grid))
        self.grids: list[Size] = [tuple(len(line) for line in lines) for lines in self.lines]
        self.groups: dict[tuple[Pattern, Size], Groups] = {}

    def prefix(self, stage: int) -> int:
        """Return how many prefix tokens a stage has."""
        prefix = self.stages[stage].prefix
        return 0 if prefix is None else prefix.count

    def token(self, stage: int, position: int | Size) -> Bool[Tensor, " tokens"]:
        """Return the set of one token, out of a stage's prefix tokens and grid."""
        grid, prefix = self.grids[stage], self.prefix(stage)
        tokens = torch.zeros(prefix + math.prod(grid), dtype=torch.bool)
        if isinstance(position, int):
            if not 0 <= position < prefix:
                raise UsageError(
                    f"position={position} in a stage with {prefix} prefix tokens",
                    f"one number for each of the {len(grid)} axes, or a prefix token's number",
                    f"use position={tuple(n // 2 for n in grid)}",
                )
            tokens[position] = True
            return tokens
        inside = [0 <= p < n for p, n in zip(position, grid, strict=False)]
        if len(position) != len(grid) or not all(inside):
            raise UsageError(
                f"position={tuple(position)} on a grid of {grid} tokens",
                f"a place on the grid, from {(0,) * len(grid)}",
                f"use position={tuple(n // 2 for n in grid)}",
            )
        tokens[prefix:].view(grid)[tuple(position)] = True
        return tokens

    def probes(self, stage: int, block: int) -> list[Bool[Tensor, "*samples"]]:
        """Return what the grid's first, middle and last token see."""
        grid = self.grids[stage]
        places = ((0,) * len(grid), tuple(n // 2 for n in grid), tuple(n - 1 for n in grid))
        return [self.back(stage, block, self.token(stage, place)) for place in places]

    def back(
        self, stage: int, block: int, tokens: Bool[Tensor, " tokens"]
    ) -> Bool[Tensor, "*samples"]:
        """Return the samples that can influence some ``tokens`` after a block."""
        for module in reversed(self.stages[stage].blocks[: block + 1]):
            tokens = self.through(stage, module, tokens)
        grid = tokens[self.prefix(stage) :].view(self.grids[stage])
        return self.below(stage, grid)

    def below(self, stage: int, grid: Bool[Tensor, "*grid"]) -> Bool[Tensor, "*samples"]:
        """Return the samples that can influence some tokens of a stage before its blocks."""
        for axis, line in enumerate(self.lines[stage]):
            grid = _spread(grid, axis, line)
        if stage == 0:
            return grid
        # Behind the first stage, finer tokens went through the blocks of the stage before.
        tokens = torch.cat((torch.zeros(self.prefix(stage - 1), dtype=torch.bool), grid.flatten()))
        return self.back(stage - 1, len(self.stages[stage - 1].blocks) - 1, tokens)

    def through(
        self, stage: int, block: Any, tokens: Bool[Tensor, " tokens"]
    ) -> Bool[Tensor, " tokens"]:
        """Return the tokens before a block that can influence some after it."""
        if tokens.all():
            return tokens  # both branches are residual: they cannot be less
        grid, prefix = self.grids[stage], self.prefix(stage)
        if isinstance(block.mlp, DepthwiseMlp):
            near = tokens[prefix:].view(grid)
            for axis, n in enumerate(grid):
                near = _spread(near, axis, _taps(n, n, 3, 1, 1))
            tokens = torch.cat((tokens[:prefix], near.flatten()))
        pattern = block.attn.pattern
        if (pattern, grid) not in self.groups:
            self.groups[pattern, grid] = pattern.groups_with_boxes(grid)
        return tokens | seen_by(self.groups[pattern, grid], tokens, grid)


def seen_by(groups: Groups, tokens: Bool[Tensor, " tokens"], grid: Size) -> Bool[Tensor, " tokens"]:
    """Return the tokens that some ``tokens`` attend to, themselves or through pooled keys.

    Args:
        groups: who sees whom on ``grid``.
        tokens: the set that asks, prefix tokens first.
        grid: tokens along each axis.
    """
    q_region, k_region = groups.labels
    labels = int(max(q_region.max(), k_region.max())) + 2
    first = torch.arange(len(q_region))[:, None] * labels + 1
    # One flag for each group and label: does a token with that label ask in that group?
    asking = torch.zeros(len(q_region) * labels, dtype=torch.bool)
    asks = (groups.q_index >= 0) & tokens[groups.q_index.clamp(min=0)]
    asking[(first + q_region)[asks]] = True
    seen = asking[first + k_region] & (groups.k_index >= 0)
    found = torch.zeros_like(tokens)
    pooled = seen & (groups.k_index >= len(tokens))
    found[groups.k_index[seen & ~pooled]] = True
    if groups.k_box is not None and pooled.any():
        found[len(tokens) - math.prod(grid) :] |= _filled(groups.k_box[pooled], grid).flatten()
    return found


def _filled(boxes: Int[Tensor, "boxes bounds"], grid: Size) -> Bool[Tensor, "*grid"]:
    """Return the places of a grid that lie in any of some boxes."""
    # Signs at the corners of each box, whose running sums along every axis count the boxes.
    corners = torch.zeros([n + 1 for n in grid], dtype=torch.int64)
    for ends in itertools.product((0, 1), repeat=len(grid)):
        place = tuple(boxes[:, 2 * axis + end] for axis, end in enumerate(ends))
        sign = torch.full((len(boxes),), (-1) ** sum(ends))
        corners.index_put_(place, sign, accumulate=True)
    for axis in range(len(grid)):
        corners = corners.cumsum(axis)
    return corners[tuple(slice(n) for n in grid)] > 0


def _spread(grid: Tensor, axis: int, line: Bool[Tensor, "coarse fine"]) -> Tensor:
    """Return what some places are made of, along one axis."""
    return (grid.movedim(axis, -1).float() @ line.float() > 0).movedim(-1, axis)


def _lines(module: Any, spatial: Size) -> list[Tensor]:
    """Return for each axis which of ``spatial`` places each coarser place is made of."""
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


def _taps(n: int, length: int, kernel: int, stride: int, padding: int) -> Bool[Tensor, "out n"]:
    """Return which of ``n`` places each output of a convolution over ``length`` places sees."""
    outputs = (length + 2 * padding - kernel) // stride + 1
    start = torch.arange(outputs)[:, None] * stride - padding
    place = torch.arange(n)
    return (place >= start) & (place < start + kernel)


def _index(name: str, given: int, count: int) -> int:
    """Return a number from 0 up, of one that may count from the end."""
    if not -count <= given < count:
        raise UsageError(
            f"{name}={given}", f"{-count} to {count - 1}", f"use {name}={count - 1} for the last"
        )
    return given % count
