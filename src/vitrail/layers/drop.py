"""Stochastic depth."""

from jaxtyping import Float
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch of whole samples while training, and scale up the rest.

    Args:
        rate: probability of dropping the branch of a sample.
    Source: Huang et al. 2016, Deep networks with stochastic depth, arXiv 1603.09382.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def factor(self, x: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *ones"] | None:
        """Draw what each sample of ``x`` is multiplied by; None where all are kept."""
        if not self.training or self.rate == 0.0:
            return None
        keep = 1.0 - self.rate
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return kept / keep if keep > 0.0 else kept

    def forward(self, x: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
        """Return ``x`` with some samples zeroed, same mean."""
        factor = self.factor(x)
        return x if factor is None else x * factor

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate:.3f}"
