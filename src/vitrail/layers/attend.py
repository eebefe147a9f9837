"""Attention as a module without parameters, so that a hook can see what goes in and out."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import KERNELS, Bias, Problem, Region, attend, choose_kernel


class Attend(nn.Module):
    """Attend within windows, by the implementation that suits the problem.

    Args:
        mask_value: added to scores across regions; minus infinity unless a checkpoint needs -100.
        dropout: probability of dropping an attention weight while training.
        backend: name of one implementation; default the best one for each call. That of a kernel
            (``"cpp"``, ``"triton"``) lets a layer attend in place wherever the kernel can serve;
            ``vitrail.attention.explain`` says where and why not.
    """

    def __init__(
        self,
        *,
        mask_value: float = -math.inf,
        dropout: float = 0.0,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        self.mask_value = mask_value
        self.dropout = dropout
        self.backend = backend

    def forward(
        self,
        q: Float[Tensor, "batch windows heads queries head_dim"],
        k: Float[Tensor, "batch windows heads keys head_dim"],
        v: Float[Tensor, "batch windows heads keys head_dim"],
        *,
        scale: float,
        bias: Bias | None = None,
        region: Region | None = None,
    ) -> Float[Tensor, "batch windows heads queries head_dim"]:
        """See ``vitrail.attention.attend``."""
        return attend(
            q,
            k,
            v,
            scale=scale,
            bias=bias,
            region=region,
            mask_value=self.mask_value,
            dropout=self.dropout if self.training else 0.0,
            backend=None if self.backend in KERNELS else self.backend,
        )

    def kernel(
        self,
        x: Float[Tensor, "batch *spatial dim"],
        head_dim: int,
        *,
        queries: int,
        keys: int,
        bias: bool = True,
        region: bool = False,
    ) -> str | None:
        """Return who attends in place, without this module, or None where it is to be called.

        Args:
            x: what the layer got.
            head_dim: channels of a head.
            queries: tokens that ask, per group.
            keys: tokens that answer, per group.
            bias: a bias is added to the scores.
            region: labels restrict who sees whom.
        """
        return choose_kernel(
            self.problem(x, head_dim, queries=queries, keys=keys, bias=bias, region=region),
            self.backend,
        )

    def problem(
        self,
        x: Float[Tensor, "batch *spatial dim"],
        head_dim: int,
        *,
        queries: int,
        keys: int,
        bias: bool = True,
        region: bool = False,
    ) -> Problem:
        """Describe a layer's call; for the arguments see ``kernel``."""
        device, dtype = x.device.type, x.dtype
        autocast = device != "meta" and torch.is_autocast_enabled(device)
        if autocast and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
        return Problem(
            queries=queries,
            keys=keys,
            head_dim=head_dim,
            dtype=dtype,
            device=device,
            has_bias=bias,
            has_region=region,
            bias_gradient=bias and self.training and torch.is_grad_enabled(),
            dropout=self.dropout if self.training else 0.0,
            in_place=True,
            observed=self._observed(),
            exporting=torch.compiler.is_exporting(),
        )

    def _observed(self) -> bool:
        """Tell whether somebody waits for queries, keys and values, or computes in our stead."""
        hooks = (
            self._forward_hooks,
            self._forward_pre_hooks,
            self._backward_hooks,
            self._backward_pre_hooks,
        )
        return type(self) is not Attend or any(len(kind) > 0 for kind in hooks)

    def extra_repr(self) -> str:
        """Show what differs from the default."""
        return f"backend={self.backend}, mask_value={self.mask_value}, dropout={self.dropout}"
