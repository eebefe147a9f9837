"""Spatial-reduction attention (PVT), in any rank: every token sees a coarser grid."""

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import Attend
from vitrail.errors import UsageError
from vitrail.layers.embed import CONVOLUTIONS, channels_first, channels_last, pad_samples
from vitrail.ops.reduce import adaptive_mean
from vitrail.ops.windows import at_least
from vitrail.patterns import Global, Pooled, Reduced


class ReductionAttention(nn.Module):
    """Multi-head attention to a reduced grid of keys and values.

    With ``Reduced`` a convolution whose stride is its kernel brings neighbours together, then a
    norm; an axis shorter than the reduction is padded with zeros to one cell (the official code
    has no keys there). With ``Pooled`` (PVT v2, linear) the grid is averaged to a fixed size, then
    projected, normalised and passed through a GELU. Where nothing is reduced (``Global``, or a
    reduction of one) the tokens are the keys, prefix tokens among them.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: which tokens attend to which.
        qkv_bias: queries, keys and values have a bias.
        norm_eps: added to the variance by the norm of the reduced grid.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    Raises:
        UsageError: prefix tokens beside a reduction: nothing says where the grid begins.
    Source: Wang et al. 2021, Pyramid Vision Transformer, arXiv 2102.12122, section 3.3; Wang et
    al. 2022, PVT v2, arXiv 2106.13797, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Reduced | Pooled | Global,
        *,
        qkv_bias: bool = True,
        norm_eps: float = 1e-5,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.pattern = pattern
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = self.head_dim**-0.5
        kernel = _kernel(pattern)
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.sr = None if kernel is None else CONVOLUTIONS[len(kernel)](dim, dim, kernel, kernel)
        self.norm = None if kernel is None else nn.LayerNorm(dim, eps=norm_eps)
        self.act = nn.GELU() if isinstance(pattern, Pooled) else nn.Identity()
        self.kv = nn.Linear(dim, 2 * dim, bias=qkv_bias)
        self.attend = Attend(dropout=attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def extra_repr(self) -> str:
        """Show the heads and the pattern."""
        return f"num_heads={self.num_heads}, {self.pattern}"

    def reduce(self, x: Float[Tensor, "batch *spatial dim"]) -> Float[Tensor, "batch *cells dim"]:
        """Return what keys and values are made of: a coarser grid, or ``x`` itself."""
        if self.sr is None or self.norm is None:
            return x
        if isinstance(self.pattern, Pooled):
            x = channels_first(adaptive_mean(x, self.pattern.size))
        else:
            x = channels_first(x)
            x = pad_samples(x, at_least(x.shape[2:], self.sr.kernel_size))
        return self.act(self.norm(channels_last(self.sr(x))))

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Let every token attend to every cell of the reduced grid."""
        out = self.attend.grouped(
            x,
            None,
            self.pattern.groups(self.pattern.grid(x.shape[1:-1]), x.device),
            heads=(self.num_heads, self.head_dim),
            scale=self.scale,
            queries=self.q(x),
            pooled=self.kv(self.reduce(x)).flatten(1, -2),
        )
        return self.proj_drop(self.proj(out))


def _kernel(pattern: Reduced | Pooled | Global) -> tuple[int, ...] | None:
    """Return the lengths of the convolution that reduces, or None where nothing is reduced."""
    if isinstance(pattern, Pooled):
        return (1,) * len(pattern.size)
    if isinstance(pattern, Global) or all(r == 1 for r in pattern.reduction):
        return None
    if pattern.prefix:
        raise UsageError(
            f"prefix={pattern.prefix} beside reduction={pattern.reduction}",
            "prefix tokens where nothing is reduced",
            "use prefix=0, or a reduction of 1",
        )
    return pattern.reduction
