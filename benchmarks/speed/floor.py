"""The fewest operations and bytes of a case, and the time that they must take."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.speed.cases import Case
from vitrail.analysis import cost
from vitrail.models import Backbone
from vitrail.patterns import Pattern


@dataclass(frozen=True, slots=True)
class Least:
    """What no implementation can do without.

    Args:
        flops: of products; a multiply-add is two. Padding is not counted.
        bytes: read and written once.
    """

    flops: int
    bytes: int

    def seconds(self, limits: dict[str, float]) -> float:
        """Return the time under which the machine cannot do it."""
        return max(self.flops / limits["flops"], self.bytes / limits["bytes"])

    def bound(self, limits: dict[str, float]) -> str:
        """Return which of the two limits sets that time."""
        by_products = self.flops / limits["flops"] >= self.bytes / limits["bytes"]
        return "products" if by_products else "memory"

    def as_dict(self, limits: dict[str, float]) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"flops": self.flops, "bytes": self.bytes, "seconds": self.seconds(limits),
                "bound": self.bound(limits)}  # fmt: skip


def of_model(model: Backbone, case: Case) -> Least:
    """Return the least of a forward pass or a training step.

    Bytes: every weight once, input and output once, and the tokens of each block into it and out
    of it once, as one kernel a block would move them. In training: weights read twice and their
    gradients written, the optimiser's two numbers for each read and written, and tokens and their
    gradients in the backward pass. FLOPs: three times those of the forward pass in training, but
    for the gradient of the input, which is not used.
    """
    facts = cost(model, case.size, batch=case.batch, dtype=torch.float32, training=False)
    forward = sum(
        stage.flops.total - stage.flops.attention
        + round(stage.flops.attention * stage.pairs / max(1, stage.scores))
        for stage in facts.stages
    ) + facts.embed.flops.total + facts.head.flops.total  # fmt: skip
    width = case.torch_dtype.itemsize
    tokens = sum(
        len(stage.blocks) * case.batch * stage.tokens * stage.dim for stage in facts.stages
    )
    border = math.prod(case.shape) + case.batch * model.config.num_classes
    if case.task != "training":
        return Least(forward, width * (facts.parameters + border + 2 * tokens))
    weights = facts.parameters * 4  # they stay float32
    # Read forward and backward, gradient written and read, weight, two moments read and written.
    return Least(
        3 * forward - facts.embed.flops.total,
        weights * (2 + 2 + 6) + width * (border + 2 * tokens + 3 * tokens),
    )


def of_attention(
    pattern: Pattern, case: Case, grid: tuple[int, ...], num_heads: int, head_dim: int
) -> Least:
    """Return the least of one layer's attention: queries, keys and values read, outputs written."""
    pairs = pattern.pairs(grid) * case.batch * num_heads
    tokens = case.batch * math.prod(grid) * num_heads * head_dim
    return Least(4 * pairs * head_dim, case.torch_dtype.itemsize * 4 * tokens)
