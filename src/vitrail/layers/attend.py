"""Attention as a module without parameters, so that a hook can see what goes in and out."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import Bias, Region, attend


class Attend(nn.Module):
    """Attend within windows, by the implementation that suits the problem.

    Args:
        mask_value: added to scores across regions; minus infinity unless a checkpoint needs -100.
        dropout: probability of dropping an attention weight while training.
        backend: name of one implementation; default the best one for each call.
    """

    def __init__(
        self,
        *,
        mask_value: float = -math.inf,
        dropout: float = 0.0,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        self.mask_value = mask_value
        self.dropout = dropout
        self.backend = backend

    def forward(
        self,
        q: Float[Tensor, "batch windows heads queries head_dim"],
        k: Float[Tensor, "batch windows heads keys head_dim"],
        v: Float[Tensor, "batch windows heads keys head_dim"],
        *,
        scale: float,
        bias: Bias | None = None,
        region: Region | None = None,
    ) -> Float[Tensor, "batch windows heads queries head_dim"]:
        """See ``vitrail.attention.attend``."""
        return attend(
            q,
            k,
            v,
            scale=scale,
            bias=bias,
            region=region,
            mask_value=self.mask_value,
            dropout=self.dropout if self.training else 0.0,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """Show what differs from the default."""
        return f"backend={self.backend}, mask_value={self.mask_value}, dropout={self.dropout}"
