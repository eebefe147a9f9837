"""Prefix tokens: learned tokens without a place, such as a classifier's own (CLS)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PrefixTokens(nn.Module):
    """Put learned tokens before those of the grid.

    From here on the tokens are a list, ``(batch, count + tokens, dim)``: prefix tokens have no
    place on a grid. ``split`` takes the two apart again.

    Args:
        dim: channels.
        count: how many tokens.
        position: give each a learned position of its own, apart from the grid's.
    Source: Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, arXiv 2010.11929.
    """

    def __init__(self, dim: int, count: int = 1, *, position: bool = False) -> None:
        super().__init__()
        self.count = count
        self.tokens = nn.Parameter(torch.empty(1, count, dim))
        self.position = nn.Parameter(torch.empty(1, count, dim)) if position else None

    def reset_parameters(self) -> None:
        """Draw the tokens as the official code does."""
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Float[Tensor, "batch *spatial dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Return the prefix tokens, then those of the grid in row-major order."""
        tokens = self.tokens if self.position is None else self.tokens + self.position
        return torch.cat((tokens.expand(x.shape[0], -1, -1), x.flatten(1, -2)), dim=1)

    def split(
        self, x: Float[Tensor, "batch tokens dim"], spatial: tuple[int, ...]
    ) -> tuple[Float[Tensor, "batch count dim"], Float[Tensor, "batch *spatial dim"]]:
        """Return the prefix tokens, and the others on their grid."""
        return x[:, : self.count], x[:, self.count :].unflatten(1, spatial)

    def extra_repr(self) -> str:
        """Show how many there are."""
        return f"count={self.count}"
