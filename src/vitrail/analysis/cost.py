"""The exact cost of a model at an input size, without computing it.

Conventions: one multiply-add is two FLOPs, as ``torch.utils.flop_counter`` has it; published
"FLOPs" mostly are multiply-adds, half as many (``Cost.macs``). Only products count: linear maps,
convolutions and the two products of attention; norms, softmax, activations and sums do not.
Counts of FLOPs and bytes are for the whole batch; grids, windows, pairs and padding for one input.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from vitrail.analysis.memory import Run, estimate
from vitrail.analysis.reach import receptive_field
from vitrail.analysis.watch import Attention, Record, count_products, on_meta, part_of
from vitrail.errors import UsageError
from vitrail.models import Backbone, TaskModel, check_original, no_backbone, unwrapped
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations by what they are for; a multiply-add is two.

    Args:
        attention: queries with keys, and weights with values.
        projections: every other product of the attention layers: queries, keys, values, output,
            the reduction or pooling of keys, networks that make biases.
        mlp: products of the blocks outside their attention layers.
        rest: embedding, merging, head.
    """

    attention: int = 0
    projections: int = 0
    mlp: int = 0
    rest: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.attention + self.projections + self.mlp + self.rest

    def __add__(self, other: "Flops") -> "Flops":
        """Add kind by kind."""
        return Flops(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class BlockCost:
    """What the attention of one block does to one input.

    Args:
        name: of the layer, as in ``model.named_modules()``.
        pattern: which tokens attend to which, in words.
        groups: windows, lines or whatever the pattern divides the tokens into.
        queries: places for tokens in a group, padding included.
        keys: places for keys in a group, padding included.
        tokens: queries that are tokens, prefix tokens included.
        pairs: permitted (query, key) pairs.
        scores: products computed, padding included.
        flops: of the two products of attention, for the whole batch.
    """

    name: str
    pattern: str
    groups: int
    queries: int
    keys: int
    tokens: int
    pairs: int
    scores: int
    flops: int

    @property
    def wasted(self) -> int:
        """Places for queries that hold no token."""
        return self.groups * self.queries - self.tokens


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage costs.

    Args:
        grid: tokens along each axis, prefix tokens not included.
        stride: input samples per token and axis.
        dim: channels.
        num_heads: attention heads.
        parameters: of the merge before, the blocks, and what else the stage has.
        flops: forward, for the whole batch.
        blocks: attention, block by block.
        inference_bytes: most bytes alive at once while the stage runs, without the weights.
        training_bytes: bytes that the forward pass keeps for the backward pass; or None.
        reach: input samples along each axis between which lies all that can influence the grid's
            middle token at the end of the stage.
        seen: share of the input's samples that can influence it.
    """

    grid: Size
    stride: Size
    dim: int
    num_heads: int
    parameters: int
    flops: Flops
    blocks: tuple[BlockCost, ...]
    inference_bytes: int
    training_bytes: int | None
    reach: Size
    seen: float

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return math.prod(self.grid)

    @property
    def pairs(self) -> int:
        """Permitted (query, key) pairs of all blocks."""
        return sum(block.pairs for block in self.blocks)

    @property
    def scores(self) -> int:
        """Products of queries and keys of all blocks, padding included."""
        return sum(block.scores for block in self.blocks)

    @property
    def windows(self) -> tuple[int, ...]:
        """Groups that the blocks divide the tokens into; once each where blocks differ."""
        return tuple(dict.fromkeys(block.groups for block in self.blocks))

    @property
    def wasted(self) -> int:
        """Places for tokens that hold padding, in the block that has most of them."""
        return max(block.wasted for block in self.blocks)

    @property
    def waste(self) -> float:
        """Share of the places for tokens that hold padding, over all blocks."""
        places = sum(block.groups * block.queries for block in self.blocks)
        return sum(block.wasted for block in self.blocks) / places


@dataclass(frozen=True, slots=True)
class PartCost:
    """What comes before the stages, or after them."""

    parameters: int
    flops: Flops


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs at an input size.

    Args:
        model: its name.
        size: input samples along each axis.
        batch: inputs at once.
        dtype: of weights and inputs.
        embed: the embedding.
        stages: stage by stage.
        head: last norm and classifier, or norms of stages and the head of another task.
        weight_bytes: weights and buffers.
        inference_peak: estimate of the most bytes alive in a forward pass without gradients;
            weights and input included.
        training_peak: the same for a forward and backward pass with gradients; or None.
        optimizer_bytes: what AdamW keeps besides: two numbers for every weight that trains.
    """

    model: str
    size: Size
    batch: int
    dtype: str
    embed: PartCost
    stages: tuple[StageCost, ...]
    head: PartCost
    weight_bytes: int
    inference_peak: int
    training_peak: int | None
    optimizer_bytes: int

    @property
    def parameters(self) -> int:
        """Weights of the whole model."""
        return sum(part.parameters for part in (self.embed, *self.stages, self.head))

    @property
    def flops(self) -> Flops:
        """Operations of a forward pass of the whole batch."""
        return sum((part.flops for part in (self.embed, *self.stages, self.head)), Flops())

    @property
    def macs(self) -> int:
        """Multiply-adds of a forward pass: half the FLOPs, and what papers mostly call FLOPs."""
        return self.flops.total // 2

    @property
    def pairs(self) -> int:
        """Permitted (query, key) pairs of all blocks, for one input."""
        return sum(stage.pairs for stage in self.stages)

    @property
    def waste(self) -> float:
        """Share of the places for tokens that hold padding, over all blocks."""
        blocks = [block for stage in self.stages for block in stage.blocks]
        return sum(b.wasted for b in blocks) / sum(b.groups * b.queries for b in blocks)

    @property
    def training_total(self) -> int | None:
        """Peak of training with AdamW: the backward pass, and the optimiser's numbers."""
        return None if self.training_peak is None else self.training_peak + self.optimizer_bytes

    def fits(self, memory: int, *, training: bool = False) -> bool:
        """Return whether a run stays within ``memory`` bytes; training with AdamW's numbers.

        Raises:
            UsageError: the cost was computed without ``training``.
        """
        peak = self.training_total if training else self.inference_peak
        if peak is None:
            raise UsageError(
                "fits(training=True) of a cost without training",
                "a cost that knows it",
                "use cost(..., training=True)",
            )
        return peak <= memory

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, totals included, for JSON."""
        value = asdict(self)
        for row, stage in zip(value["stages"], self.stages, strict=True):
            for name in ("tokens", "windows", "wasted", "waste", "pairs", "scores"):
                row[name] = getattr(stage, name)
            row["flops"]["total"] = stage.flops.total
        value["flops"] = {**asdict(self.flops), "total": self.flops.total}
        for name in ("parameters", "macs", "pairs", "waste", "training_total"):
            value[name] = getattr(self, name)
        return value


def cost(
    model: nn.Module,
    size: int | Size,
    *,
    batch: int = 1,
    dtype: torch.dtype | None = None,
    training: bool = True,
) -> Cost:
    """Return what a model costs at an input size; nothing is computed, whatever the size.

    The model runs on the meta device: shapes without numbers. Memory is what tensors take; the
    scratch of kernels and the rounding of an allocator are not part of it.

    Args:
        model: a Vitrail model, also in a wrapper of torch (compiled, data parallel); it is not
            changed.
        size: input samples along each axis; one number stands for every axis.
        batch: inputs at once.
        dtype: of weights and inputs; default the model's own.
        training: also return the memory of training, which takes most of the time.
    Raises:
        UsageError: another kind of model, or a size, batch or dtype that cannot be.
    """
    model = unwrapped(model)
    if not isinstance(model, Backbone | TaskModel):
        raise no_backbone(model)
    config = model.config
    check_original(model)
    if batch < 1:
        raise UsageError(f"batch={batch}", "at least 1", "use batch=1")
    own = next(model.parameters()).dtype
    dtype = dtype or own
    if not dtype.is_floating_point:
        raise UsageError(
            f"dtype={dtype}", "a floating-point type", "use torch.float32 or torch.bfloat16"
        )
    lengths = as_size(size, config.axes, "size")
    meta = on_meta(model, dtype)
    shape = (batch, config.in_channels, *lengths)
    with count_products(meta) as record:
        runs = [estimate(meta, shape, dtype, training=False)]
    if training:
        runs.append(estimate(meta, shape, dtype, training=True))
    return _assemble(model, meta, record, runs, lengths, batch, dtype)


def _assemble(
    model: nn.Module,
    meta: nn.Module,
    record: Record,
    runs: list[Run],
    size: Size,
    batch: int,
    dtype: torch.dtype,
) -> Cost:
    inference, training = runs[0], runs[1] if len(runs) > 1 else None
    config: Any = model.config
    inner = "backbone" if isinstance(model, TaskModel) else ""
    parameters: dict[int | str, int] = {}
    for name, parameter in meta.named_parameters():
        part = part_of(name)
        parameters[part] = parameters.get(part, 0) + parameter.numel()
    stages, sight = [], receptive_field(meta.get_submodule(inner), size).stages
    for stage, grid in sorted(record.grids.items()):
        calls = [call for call in record.attention if part_of(call.name) == stage]
        stages.append(
            StageCost(
                grid=grid,
                stride=tuple(config.stage_strides[stage]),
                dim=record.dims[stage],
                num_heads=calls[0].heads,
                parameters=parameters.get(stage, 0),
                flops=_flops(record, stage),
                blocks=tuple(_block(call) for call in calls),
                inference_bytes=inference.peaks[stage] - inference.floor,
                training_bytes=None if training is None else training.left[stage],
                reach=sight[stage].extent,
                seen=sight[stage].share,
            )
        )
    embed, head = (PartCost(parameters.get(p, 0), _flops(record, p)) for p in ("embed", "head"))
    trainable = sum(p.untyped_storage().nbytes() for p in meta.parameters() if p.requires_grad)
    return Cost(
        model=getattr(model, "name", None) or type(model).__name__,
        size=size,
        batch=batch,
        dtype=str(dtype).removeprefix("torch."),
        embed=embed,
        stages=tuple(stages),
        head=head,
        weight_bytes=sum(
            t.untyped_storage().nbytes() for t in (*meta.parameters(), *meta.buffers())
        ),
        inference_peak=inference.peak,
        training_peak=None if training is None else training.peak,
        optimizer_bytes=2 * trainable,
    )


def _flops(record: Record, part: int | str) -> Flops:
    return Flops(**{f.name: record.flops.get((part, f.name), 0) for f in fields(Flops)})


def _block(call: Attention) -> BlockCost:
    return BlockCost(
        name=call.name,
        pattern=repr(call.pattern),
        groups=call.groups,
        queries=call.queries,
        keys=call.keys,
        tokens=math.prod(call.spatial) + getattr(call.pattern, "prefix", 0),
        pairs=call.pattern.pairs(call.spatial),
        scores=call.pattern.scores(call.spatial),
        flops=call.flops,
    )
