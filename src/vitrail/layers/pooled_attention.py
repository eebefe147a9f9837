"""Attention whose queries are pooled, and the block that ends with fewer, wider tokens (Hiera)."""

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import Attend
from vitrail.layers.drop import DropPath
from vitrail.layers.mlp import Mlp
from vitrail.ops.reduce import cell_max
from vitrail.patterns import PooledQueries


class PooledQueryAttention(nn.Module):
    """Multi-head attention of cells to tokens: a cell's query is the greatest of its tokens'.

    Args:
        dim: channels in.
        out_dim: channels out.
        num_heads: attention heads; divides ``out_dim``.
        pattern: which tokens a cell sees.
        qkv_bias: queries, keys and values have a bias.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    Source: Ryali et al. 2023, Hiera, arXiv 2306.00989, section 3.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        num_heads: int,
        pattern: PooledQueries,
        *,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.pattern = pattern
        self.num_heads = num_heads
        self.head_dim = out_dim // num_heads
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(dim, 3 * out_dim, bias=qkv_bias)
        self.attend = Attend(dropout=attn_drop)
        self.proj = nn.Linear(out_dim, out_dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *cells out_dim"]:
        """Return a grid of cells, each of what its tokens may see."""
        dim = self.num_heads * self.head_dim
        queries, both = self.qkv(x).split((dim, 2 * dim), dim=-1)
        out = self.attend.grouped(
            x,
            None,
            self.pattern.groups(x.shape[1:-1], x.device),
            heads=(self.num_heads, self.head_dim),
            scale=self.scale,
            queries=cell_max(queries, self.pattern.stride),
            pooled=both.flatten(1, -2),
        )
        return self.proj_drop(self.proj(out))

    def extra_repr(self) -> str:
        """Show the heads and the pattern."""
        return f"num_heads={self.num_heads}, {self.pattern}"


class PoolingBlock(nn.Module):
    """A pre-norm block from tokens to cells: both branches, and the way past them, are pooled.

    Args:
        dim: channels in.
        out_dim: channels out.
        attn: attention whose queries are pooled.
        mlp: the perceptron, of cells.
        drop_path: probability of dropping a branch of a sample while training.
        norm_eps: added to the variance.
    Source: Ryali et al. 2023, Hiera, arXiv 2306.00989, section 3.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        attn: PooledQueryAttention,
        mlp: Mlp,
        *,
        drop_path: float = 0.0,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.shortcut = nn.Linear(dim, out_dim)
        self.attn = attn
        self.norm2 = nn.LayerNorm(out_dim, eps=norm_eps)
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *cells out_dim"]:
        """Return cells: the greatest of their projected tokens, and what they attended to."""
        x = self.norm1(x)
        cells = cell_max(self.shortcut(x), self.attn.pattern.stride)
        cells = cells + self.drop_path(self.attn(x))
        return cells + self.drop_path(self.mlp(self.norm2(cells)))
