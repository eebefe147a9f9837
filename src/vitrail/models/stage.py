"""A stage: what happens at one resolution."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitrail.layers import PrefixTokens
from vitrail.layers.mbconv import has_statistics, statistics_kept
from vitrail.shapes import Size


class Stage(nn.Module):
    """Blocks at one resolution, after the merge that leads to it.

    Args:
        merge: brings the tokens of the stage before together; None in the first stage.
        blocks: what the tokens then pass.
        position: adds where the tokens are; before the blocks.
        prefix: puts tokens without a place before those of the grid.
        norm: normalises the stage's output.
    """

    def __init__(
        self,
        merge: nn.Module | None,
        blocks: Sequence[nn.Module],
        *,
        position: nn.Module | None = None,
        prefix: PrefixTokens | None = None,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.merge = merge
        self.position = position
        self.prefix = prefix
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.checkpointing = False

    def enter(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *merged out_dim"]:
        """Return the stage's grid of tokens: merged, with positions."""
        if self.merge is not None:
            x = self.merge(x)
        return x if self.position is None else self.position(x)

    def forward(
        self, x: Float[Tensor, "batch *grid dim"]
    ) -> Float[Tensor, "batch *tokens out_dim"]:
        """Return the stage's output, before the next merge.

        Args:
            x: what ``enter`` returned.
        Returns:
            Tokens on the same grid; behind prefix tokens, the list of all of them.
        """
        if self.prefix is not None:
            x = self.prefix(x)
        for block in self.blocks:
            x = self.step(block, x)
        return x if self.norm is None else self.norm(x)

    def step(
        self, block: nn.Module, x: Float[Tensor, "batch *tokens dim"]
    ) -> Float[Tensor, "batch *out_tokens out_dim"]:
        """Return the output of a block, whose activations are recomputed if checkpointing."""
        if self.checkpointing and torch.is_grad_enabled():
            # Non-reentrant: also right when the input needs no gradient (a frozen stem).
            return checkpoint(block, x, use_reentrant=False, **_recomputing(block))
        return block(x)

    def grid_of(
        self, tokens: Float[Tensor, "batch *tokens dim"], spatial: Size
    ) -> Float[Tensor, "batch *grid dim"]:
        """Return the tokens of the grid alone, of lengths ``spatial``, without prefix tokens."""
        return tokens if self.prefix is None else self.prefix.split(tokens, spatial)[1]


def _recomputing(block: nn.Module) -> dict[str, Any]:
    """Return what keeps a block's running statistics from counting a recomputed batch twice."""
    # A compiled graph recomputes values, and counts once.
    if torch.compiler.is_compiling() or not has_statistics(block):
        return {}
    return {"context_fn": lambda: (nullcontext(), statistics_kept(block))}
