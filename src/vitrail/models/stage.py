"""A stage: what happens at one resolution."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Stage(nn.Module):
    """Blocks at one resolution, after the merge that leads to it.

    Args:
        merge: brings the tokens of the stage before together; None in the first stage.
        blocks: what the tokens then pass.
    """

    def __init__(self, merge: nn.Module | None, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.merge = merge
        self.blocks = nn.ModuleList(blocks)
        self.checkpointing = False

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *merged out_dim"]:
        """Return the stage's output, before the next merge."""
        if self.merge is not None:
            x = self.merge(x)
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                # Non-reentrant: also right when the input needs no gradient (a frozen stem).
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x
