"""Window attention, regular and shifted, in any rank."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import Places, Region, attend_groups
from vitrail.layers.attend import Attend
from vitrail.layers.offset_bias import OffsetBias
from vitrail.layers.position import BiasLookup, ContinuousBias, RelativeBias
from vitrail.ops.windows import (
    crop,
    known_zero,
    pad,
    padded_lengths,
    partition,
    places,
    regions,
    shift,
    unpartition,
    unshift,
)
from vitrail.patterns import Window


class WindowAttention(nn.Module):
    """Multi-head attention within the windows of a pattern, with a relative position bias.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom.
        qkv_bias: queries, keys and values have a bias.
        bias: what is added to scores by offset; default a table with a row for each.
        bias_lookup: how a window smaller than the pattern's finds its row of that table.
        mask_value: added to scores across regions; minus infinity unless a checkpoint needs -100.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    Source: Liu et al. 2021, Swin Transformer, arXiv 2103.14030, section 3.2.
    """

    bias: RelativeBias | ContinuousBias | OffsetBias

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Window,
        *,
        qkv_bias: bool = True,
        bias: OffsetBias | None = None,
        bias_lookup: BiasLookup = "offset",
        mask_value: float = -math.inf,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.pattern = pattern
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.bias = bias or RelativeBias(pattern.size, num_heads, lookup=bias_lookup)
        self.attend = Attend(mask_value=mask_value, dropout=attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def extra_repr(self) -> str:
        """Show the heads, and who sees whom."""
        return f"num_heads={self.num_heads}, {self.pattern}"

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch triple"]:
        """Project to queries, keys and values, side by side, each head by head."""
        return self.qkv(x)

    def project_tokens(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial triple"]:
        """Project the tokens where they are, without padding."""
        return self.project(x)

    def heads(
        self, windows: Float[Tensor, "batch windows tokens dim"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Project to queries, keys and values, ``(batch, windows, heads, tokens, head_dim)``."""
        qkv = self.project(windows).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
        return q, k, v

    def temperature(self) -> Float[Tensor, " heads"] | None:
        """Return what multiplies the cosine of a query and a key; None: their product counts."""
        return None

    def padding_vector(self) -> Tensor | None:
        """Return what ``project`` makes of padding, if not nothing."""
        return self.qkv.bias

    def region(
        self, spatial: tuple[int, ...], window: tuple[int, ...], amount: tuple[int, ...],
        device: torch.device,
    ) -> Region | None:  # fmt: skip
        """Return the labels of queries and keys, or None where every window is all its own."""
        mask_padding = self.pattern.padding == "masked"
        if known_zero(*amount):
            lengths = padded_lengths(spatial, window)
            padding = [length - n for n, length in zip(spatial, lengths, strict=True)]
            if not mask_padding or known_zero(*padding):
                return None
        labels = regions(spatial, window, amount, mask_padding=mask_padding, device=device)
        return labels, labels

    def places(
        self, spatial: tuple[int, ...], window: tuple[int, ...], amount: tuple[int, ...],
        device: torch.device,
    ) -> Places:  # fmt: skip
        """Return which tokens meet in every window, and which of them may see one another."""
        index, region = places(spatial, window, amount, device=device)
        return Places(index, index, region, region, unique_keys=True)

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Let every token attend to the tokens that the pattern allows it."""
        window, amount = self.pattern.fit(x.shape[1:-1])
        backend = self.kernel(x, window, amount)
        if backend is None:
            return self._composed(x, window, amount)
        return self._in_place(x, window, amount, backend)

    def kernel(self, x: Tensor, window: tuple[int, ...], amount: tuple[int, ...]) -> str | None:
        """Return who attends in place, or None where windows are to be cut."""
        tokens, shifted = math.prod(window), not known_zero(*amount)
        head_dim = x.shape[-1] // self.num_heads
        return self.attend.kernel(x, head_dim, queries=tokens, keys=tokens, region=shifted)

    def fill(self, x: Tensor) -> Float[Tensor, "3 heads head_dim"] | None:
        """Return queries, keys and values of padding in the type of ``x``; None: it is not seen."""
        if self.pattern.padding != "visible":
            return None
        fill = self.padding_vector()
        fill = x.new_zeros(3 * x.shape[-1]) if fill is None else fill
        return fill.view(3, self.num_heads, -1)

    def _in_place(
        self, x: Tensor, window: tuple[int, ...], amount: tuple[int, ...], backend: str
    ) -> Tensor:
        """Attend where the tokens are: padding is neither projected nor stored."""
        spatial, heads = x.shape[1:-1], self.num_heads
        out = attend_groups(
            self.project_tokens(x).flatten(1, -2).unflatten(-1, (3, heads, -1)),
            self.places(spatial, window, amount, x.device),
            scale=self.scale,
            bias=self.bias(window)[None],
            temperature=self.temperature(),
            fill=self.fill(x),
            mask_value=self.attend.mask_value,
            backend=backend,
        )
        return self.proj_drop(self.proj(out)).view(x.shape)

    def _composed(self, x: Tensor, window: tuple[int, ...], amount: tuple[int, ...]) -> Tensor:
        """Cut the tokens into windows, attend, and put them together again."""
        spatial = x.shape[1:-1]
        lengths = padded_lengths(spatial, window)
        windows = partition(shift(pad(x, lengths), amount), window)
        q, k, v = self.heads(windows)
        region = self.region(spatial, window, amount, x.device)
        windows = self.attend(q, k, v, scale=self.scale, bias=self.bias(window), region=region)
        windows = self.proj_drop(self.proj(windows.transpose(2, 3).flatten(3)))
        return crop(unshift(unpartition(windows, window, lengths), amount), spatial)
