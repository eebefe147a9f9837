"""The two-layer perceptron of a transformer block."""

from jaxtyping import Float
from torch import Tensor, nn


class Mlp(nn.Module):
    """Widen, GELU, narrow.

    Args:
        dim: channels in and out.
        hidden: channels between.
        drop: probability of dropping a value after each layer.
    """

    def __init__(self, dim: int, hidden: int, *, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Transform every token on its own."""
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))
