"""Transformer blocks: attention between tokens, then a perceptron on each, both residual."""

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.layers.drop import DropPath
from vitrail.layers.mlp import Mlp


class PreNormBlock(nn.Module):
    """Normalise before each branch: ``x + f(norm(x))`` (Swin).

    Args:
        dim: channels.
        attn: the attention layer.
        mlp: the perceptron.
        drop_path: probability of dropping a branch of a sample while training.
        norm_eps: added to the variance.
    """

    def __init__(
        self, dim: int, attn: nn.Module, mlp: Mlp, *, drop_path: float = 0.0, norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return tokens that have looked around."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PostNormBlock(PreNormBlock):
    """Normalise after each branch: ``x + norm(f(x))`` (Swin V2).

    Source: Liu et al. 2022, Swin Transformer V2, arXiv 2111.09883, section 3.2.
    """

    def reset_parameters(self) -> None:
        """Start as the identity, as the official code does."""
        for norm in (self.norm1, self.norm2):
            nn.init.zeros_(norm.weight)
            nn.init.zeros_(norm.bias)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Return tokens that have looked around."""
        x = x + self.drop_path(self.norm1(self.attn(x)))
        return x + self.drop_path(self.norm2(self.mlp(x)))
