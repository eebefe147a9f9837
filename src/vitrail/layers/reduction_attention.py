"""Spatial-reduction attention (PVT), in any rank: every token sees a coarser grid."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import Places, attend_groups
from vitrail.errors import UsageError
from vitrail.layers.attend import Attend
from vitrail.layers.embed import CONVOLUTIONS, channels_first, channels_last, pad_samples
from vitrail.ops.reduce import adaptive_mean
from vitrail.ops.windows import at_least, copy_as
from vitrail.patterns import Global, Pooled, Reduced

MOST_ASKING = 256  # tokens of a group that attends in place


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
        pattern: who sees whom.
        qkv_bias: queries, keys and values have a bias.
        norm_eps: added to the variance by the norm of the reduced grid.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    Raises:
        UsageError: prefix tokens beside a reduction: where the grid begins is not told.
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
        self.scale = (dim // num_heads) ** -0.5
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
        """Show the heads, and who sees whom."""
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

    def kernel(self, x: Float[Tensor, "batch *spatial dim"], tokens: int, cells: int) -> str | None:
        """Return which kernel attends in place, or None: unasked, SDPA serves without a bias."""
        if self.attend.backend is None:
            return None
        queries, head_dim = min(tokens, MOST_ASKING), x.shape[-1] // self.num_heads
        return self.attend.kernel(x, head_dim, queries=queries, keys=cells, bias=False)

    def who(self, tokens: int, cells: int, device: torch.device) -> Places:
        """Return the tokens in groups of a few hundred, for threads to share; all see all cells."""
        groups = -(-tokens // MOST_ASKING)
        queries = -(-tokens // groups)
        asks = torch.arange(groups * queries, dtype=torch.int32, device=device)
        sees = torch.arange(tokens, tokens + cells, dtype=torch.int32, device=device)
        asks = asks.masked_fill(asks >= tokens, -1).view(groups, queries)
        return Places(asks, sees.expand(groups, cells))

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Let every token attend to every cell of the reduced grid."""
        q = self.q(x).flatten(1, -2).unflatten(-1, (self.num_heads, -1))
        kv = self.kv(self.reduce(x)).flatten(1, -2).unflatten(-1, (2, self.num_heads, -1))
        tokens, cells = q.shape[1], kv.shape[1]
        backend = self.kernel(x, tokens, cells)
        if backend is None:
            out = self._composed(q, kv)
        else:
            out = attend_groups(
                q[:, :, None].expand(-1, -1, 3, -1, -1),  # nobody sees tokens, but cells
                self.who(tokens, cells, x.device),
                scale=self.scale,
                pooled=kv,
                backend=backend,
            )
        out = self.proj_drop(self.proj(out))
        return out.unflatten(1, x.shape[1:-1])

    def _composed(
        self,
        q: Float[Tensor, "batch tokens heads head_dim"],
        kv: Float[Tensor, "batch cells 2 heads head_dim"],
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend in one window, which is the whole grid."""
        k, v = kv.permute(2, 0, 3, 1, 4)[:, :, None]
        # Batch, windows, heads, tokens, head_dim.
        qkv = q.transpose(1, 2)[:, None], k, v
        if torch.compiler.is_exporting():
            # How a view's axes can be put together depends on whether there is one key or more.
            qkv = tuple(copy_as(part, part.shape) for part in qkv)
        out = self.attend(*qkv, scale=self.scale)
        return copy_as(out.transpose(2, 3), (q.shape[0], q.shape[1], q.shape[2] * q.shape[3]))


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
