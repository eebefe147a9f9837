"""The two-layer perceptron of a transformer block, alone or with a look at the neighbours."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.layers.embed import CONVOLUTIONS, channels_first, channels_last

Act = Literal["gelu", "gelu_tanh"]


def gelu(act: Act) -> nn.GELU:
    """Return the activation of that name: the exact GELU, or its approximation by a tangent."""
    return nn.GELU(approximate="tanh" if act == "gelu_tanh" else "none")


class Mlp(nn.Module):
    """Widen, GELU, narrow.

    Args:
        dim: channels in and out.
        hidden: channels between.
        drop: probability of dropping a value after each layer.
        act: ``"gelu"``, or its approximation ``"gelu_tanh"``.
    """

    def __init__(self, dim: int, hidden: int, *, drop: float = 0.0, act: Act = "gelu") -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = gelu(act)
        self.fc2 = nn.Linear(hidden, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Transform every token on its own."""
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class DepthwiseMlp(Mlp):
    """Widen, look at the neighbours of each channel on its own, GELU, narrow (PVT v2).

    A depthwise convolution over three tokens along each axis with zeros beyond the border,
    also carries a token's position.

    Args:
        dim: channels in and out.
        hidden: channels between.
        axes: number of spatial axes.
        relu: rectify before looking around, as the models with pooled attention do.
        drop: probability of dropping a value after the GELU and after the last layer.
    Source: Wang et al. 2022, PVT v2, arXiv 2106.13797, section 3.2.
    """

    def __init__(
        self, dim: int, hidden: int, axes: int, *, relu: bool = False, drop: float = 0.0
    ) -> None:
        super().__init__(dim, hidden, drop=drop)
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.dwconv = CONVOLUTIONS[axes](hidden, hidden, 3, padding=1, groups=hidden)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Transform every token, knowing those next to it."""
        x = self.relu(self.fc1(x))
        x = channels_last(self.dwconv(channels_first(x)))
        return self.drop(self.fc2(self.drop(self.act(x))))
