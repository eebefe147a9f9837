"""Standard attention: every token sees every token, prefix tokens included."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.layers.grouped_attention import GroupedAttention
from vitrail.patterns import Global
from vitrail.shapes import Size


class GlobalAttention(GroupedAttention):
    """Let every token see every token (ViT).

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom. With prefix tokens the layer takes the list of all tokens,
            ``(batch, prefix + tokens, dim)``, else a grid.
        options: as ``GroupedAttention``.
    Raises:
        UsageError: a bias by offset for prefix tokens, which have no place.
    Source: Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, arXiv 2010.11929.
    """

    def __init__(self, dim: int, num_heads: int, pattern: Global, **options: Any) -> None:
        if pattern.prefix and options.get("bias") is not None:
            raise UsageError(
                f"a bias by offset with prefix={pattern.prefix}",
                "no prefix tokens, as they have no place, or no bias",
                "use bias=None, or Global(prefix=0)",
            )
        super().__init__(dim, num_heads, pattern, **options)

    def arrange(
        self, x: Float[Tensor, "batch *spatial channels"]
    ) -> Float[Tensor, "batch 1 tokens channels"]:
        """Put all tokens into one group."""
        return x.flatten(1, -2)[:, None]

    def restore(
        self, x: Float[Tensor, "batch 1 tokens channels"], spatial: Size
    ) -> Float[Tensor, "batch *spatial channels"]:
        """Put the tokens back on their grid, or list."""
        return x.view(x.shape[0], *spatial, x.shape[-1])
