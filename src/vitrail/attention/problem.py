"""What an implementation of attention needs to decide whether it can serve."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Labels of queries and of keys, one set for the whole batch or one for each of its members.
Region = tuple[Int[Tensor, "#batch windows queries"], Int[Tensor, "#batch windows keys"]]

# One set of numbers for every window, or a set for each, or for each and sample.
Bias = (
    Float[Tensor, "heads queries keys"]
    | Float[Tensor, "#windows heads queries keys"]
    | Float[Tensor, "#batch #windows heads queries keys"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One call of ``attend`` or ``attend_groups``, without its numbers.

    Args:
        queries: queries of a group.
        keys: keys of a group.
        head_dim: channels of a head.
        dtype: of q, k and v.
        device: kind of device, e.g. ``"cpu"``.
        has_bias: a bias is added to the scores.
        has_region: labels restrict which tokens attend to which.
        bias_gradient: the bias needs a gradient.
        dropout: probability of dropping an attention weight.
        in_place: the layer can read and write its tokens where they are, by ``attend_groups``.
        observed: a hook waits for the queries, keys and values of ``Attend``.
        exporting: a graph for another runtime is being written.
        query_bias: a bias depends on the query.
        gradients: something may need a gradient.
    """

    queries: int
    keys: int
    head_dim: int
    dtype: torch.dtype
    device: str
    has_bias: bool
    has_region: bool
    bias_gradient: bool
    dropout: float
    in_place: bool = False
    observed: bool = False
    exporting: bool = False
    query_bias: bool = False
    gradients: bool = False

    @classmethod
    def of(
        cls,
        q: Float[Tensor, "batch windows heads queries head_dim"],
        k: Float[Tensor, "batch windows heads keys head_dim"],
        bias: Tensor | None,
        region: Region | None,
        dropout: float,
    ) -> "Problem":
        """Describe a call by its tensors."""
        return cls(
            queries=q.shape[-2],
            keys=k.shape[-2],
            head_dim=q.shape[-1],
            dtype=q.dtype,
            device=q.device.type,
            has_bias=bias is not None,
            has_region=region is not None,
            bias_gradient=torch.is_grad_enabled() and bias is not None and bias.requires_grad,
            dropout=dropout,
        )

    @classmethod
    def of_groups(
        cls,
        qkv: Float[Tensor, "batch tokens 3 heads head_dim"],
        q_index: Int[Tensor, "groups queries"],
        k_index: Int[Tensor, "groups keys"],
        bias: Tensor | None,
        q_region: Tensor | None,
    ) -> "Problem":
        """Describe a call of ``attend_groups`` by its tensors."""
        return cls(
            queries=q_index.shape[-1],
            keys=k_index.shape[-1],
            head_dim=qkv.shape[-1],
            dtype=qkv.dtype,
            device=qkv.device.type,
            has_bias=bias is not None,
            has_region=q_region is not None,
            bias_gradient=torch.is_grad_enabled() and bias is not None and bias.requires_grad,
            dropout=0.0,
            in_place=True,
        )
