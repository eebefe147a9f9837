"""One call of attention by groups, as every kernel gets it."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

# Of qkv, pooled, bias, logit_scale and padding_kv; None for what is absent or not wanted.
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


@dataclass(frozen=True, slots=True)
class KernelCall:
    """What a kernel computes, in the order of the operation's arguments.

    Args:
        qkv: queries, keys and values of every token, in any strides.
        pooled: further keys and values, as ``qkv``'s.
        q_index: token of each query; -1 for none. Every token is one query.
        k_index: token of each key; from the number of tokens on a pooled cell; -1 for none.
        q_region: label of each query; it sees the keys of its own. None: all of its group.
        k_region: label of each key.
        bias: added to the scores: one set for every group, or one for each.
        logit_scale: queries and keys get unit length, and scores are multiplied by it.
        padding_kv: keys and values of padding that is seen, behind queries; None: it is not.
        scale: multiplies ``q k^T``.
        mask_value: added to scores across labels; minus infinity hides them.
        unique_keys: no key stands in two groups: its gradient is written, not added.
        terms: of each query, what a key adds to the score by its place along one axis.
        key_terms: which of them a key adds, axis by axis.
    """

    qkv: Float[Tensor, "batch tokens 3 heads head_dim"]
    pooled: Float[Tensor, "batch cells 2 heads head_dim"] | None
    q_index: Int[Tensor, "groups queries"]
    k_index: Int[Tensor, "groups keys"]
    q_region: Int[Tensor, "groups queries"] | None
    k_region: Int[Tensor, "groups keys"] | None
    bias: Float[Tensor, "#groups heads queries keys"] | None
    logit_scale: Float[Tensor, " heads"] | None
    padding_kv: Float[Tensor, "3 heads head_dim"] | None
    scale: float
    mask_value: float
    unique_keys: bool
    terms: Float[Tensor, "batch groups heads queries terms"] | None = None
    key_terms: Int[Tensor, "axes keys"] | None = None

    def gradients(self, found: Sequence[Tensor | None], needs: Sequence[bool]) -> Gradients:
        """Return the wanted gradients out of those that a kernel computed, each like its tensor.

        Args:
            found: gradients of qkv, pooled, bias, logit_scale and padding_kv, in any dtype; those
                of absent tensors are skipped.
            needs: which of the five are wanted.
        """
        like = (self.qkv, self.pooled, self.bias, self.logit_scale, self.padding_kv)
        return tuple(  # type: ignore[return-value]  # five of them
            gradient.to(x.dtype).contiguous()
            if wanted and x is not None and gradient is not None
            else None
            for gradient, x, wanted in zip(found, like, needs, strict=True)
        )
