"""Attention as a module without parameters: one call of a layer, and what computes it."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vitrail.attention.apart import Tokens, apart_into_groups, key_index, one_sample, projected
from vitrail.attention.arrange import Heads, into_groups, read, write
from vitrail.attention.grouped import attend_groups
from vitrail.attention.kernels import KERNELS, choose_kernel
from vitrail.attention.problem import Bias, Problem, Region
from vitrail.attention.query_bias import QueryBias
from vitrail.attention.select import attend
from vitrail.ops.windows import copy_as
from vitrail.patterns import Groups

MOST_QUERIES = 256  # of a group, where one group is shared out among threads


class Attend(nn.Module):
    """Attend by groups, by the implementation that suits the problem.

    A layer calls ``grouped`` once. Where no kernel reads tokens in place, they are arranged in
    groups and the module itself is called with queries, keys and values: a hook on it sees what
    attends to what.

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

    def grouped(
        self,
        x: Float[Tensor, "batch *spatial channels"],
        project: Callable[[Tensor], Tensor] | None,
        groups: Groups,
        *,
        heads: tuple[int, int],
        scale: float,
        bias: Bias | None = None,
        queries: Float[Tensor, "batch *q_spatial dim"] | None = None,
        pooled: Float[Tensor, "batch cells double"] | None = None,
        query_bias: QueryBias | None = None,
        logit_scale: Float[Tensor, " heads"] | None = None,
        padding_kv: Float[Tensor, " triple"] | None = None,
    ) -> Float[Tensor, "batch *q_spatial dim"]:
        """Let each query attend to the keys of its group.

        Args:
            x: tokens.
            project: from tokens to queries, keys and values side by side, each head by head; to
                keys and values alone where ``queries`` are given; None: tokens are no keys.
            groups: which tokens meet.
            heads: how many, and the channels of each.
            scale: multiplies ``q k^T``.
            bias: added to the scores: one for every group, or one for each.
            query_bias: a further bias, which depends on the query.
            queries: projected queries, where ``project`` does not make them of the tokens.
            pooled: projected keys and values of pooled cells; of all keys, where ``project`` is
                None.
            logit_scale: cosine attention: queries and keys get unit length, and scores are
                multiplied by it, head by head.
            padding_kv: keys and values of padding that is seen, behind queries, as ``project``
                makes them.
        Returns:
            Heads side by side, on the grid of the tokens, or of ``queries``.
        """
        shape, sized = x.shape[:-1], x if queries is None else queries
        given = Tokens(
            x.flatten(1, -2), project, None if queries is None else queries.flatten(1, -2), pooled,
            padding_kv,
        )  # fmt: skip
        if groups.q_index.ndim == 3:
            given, groups = one_sample(given, groups)
            if bias is not None and bias.ndim > 3:
                bias = bias.expand(shape[0], *bias.shape[-4:]).flatten(0, 1)
        heads, count = Heads(*heads), given.num_queries
        backend = self.kernel(x, groups, heads, bias=bias is not None, apart=queries is not None,
                              query_bias=query_bias is not None)  # fmt: skip
        if backend is not None:
            out = self._in_place(
                given, groups, heads, backend, scale, bias, logit_scale, query_bias
            )
        else:
            if given.project is None or groups.q_index is not groups.k_index or queries is not None:
                q, k, v = apart_into_groups(given, groups, heads)
            else:
                q, k, v = into_groups(given.x, given.project, groups, heads, given.padding)
            if query_bias is not None:
                dense = query_bias.dense(q)
                bias = dense if bias is None else bias + dense
            if logit_scale is not None:
                q, k = _unit(q, logit_scale[:, None, None]), _unit(k)
            region = _region(groups)
            out = self(q, k, v, scale=scale, bias=bias, region=region)
            out = write(_joined(out.transpose(2, 3)), groups, count)
        return out.view(*sized.shape[:-1], out.shape[-1])

    def _in_place(
        self, given: Tokens, groups: Groups, heads: Heads, backend: str, scale: float,
        bias: Bias | None, logit_scale: Tensor | None, query_bias: QueryBias | None,
    ) -> Tensor:  # fmt: skip
        """Attend where the tokens are: padding is neither projected nor stored."""
        pooled = given.pooled
        if given.queries is None:
            assert given.project is not None
            qkv = given.project(given.x).unflatten(-1, (3, *heads))
        else:
            # Queries stand for the tokens, and are no keys: those are all cells behind them.
            q, pooled = projected(given, heads)
            qkv = q.unflatten(-1, heads)[:, :, None].expand(-1, -1, 3, -1, -1)
            if groups.all_keys:
                rows = torch.arange(pooled.shape[1], dtype=torch.int32, device=pooled.device)[None]
            else:
                rows = key_index(given, groups)
            k_index = torch.where(rows < 0, -1, rows + q.shape[1])
            groups = replace(groups, k_index=k_index)
            if bias is None and query_bias is None:
                groups = _shared_out(groups)
        terms = key_terms = None
        if query_bias is not None:
            rows = read(qkv[:, :, 0].flatten(2), groups.q_index, groups.cut)
            terms = query_bias.terms(rows.unflatten(-1, heads).transpose(2, 3))
            key_terms = query_bias.key_terms(rows.device)
        padding = None if given.padding is None else given.padding.view(3, *heads)
        return attend_groups(
            qkv, groups, scale=scale,
            bias=bias[None] if bias is not None and bias.ndim == 3 else bias,
            pooled=None if pooled is None else pooled.unflatten(-1, (2, *heads)),
            logit_scale=logit_scale, padding_kv=padding, mask_value=self.mask_value,
            terms=terms, key_terms=key_terms, backend=backend,
        )  # fmt: skip

    def kernel(
        self,
        x: Tensor,
        groups: Groups,
        heads: Heads,
        *,
        bias: bool = True,
        apart: bool = False,
        query_bias: bool = False,
    ) -> str | None:
        """Return the kernel that attends in place, or None where tokens are arranged in groups.

        Args:
            x: tokens of a layer.
            groups: which tokens meet.
            heads: how channels are divided.
            bias: a bias is added to the scores.
            apart: queries come apart from keys.
            query_bias: a further bias depends on the query.
        """
        problem = self.problem(x, groups, heads, bias=bias, apart=apart, query_bias=query_bias)
        return choose_kernel(problem, self.backend)

    def problem(
        self,
        x: Tensor,
        groups: Groups,
        heads: Heads,
        *,
        bias: bool = True,
        apart: bool = False,
        query_bias: bool = False,
    ) -> Problem:
        """Describe a layer's call; for the arguments see ``kernel``."""
        device, dtype = x.device.type, x.dtype
        autocast = device != "meta" and torch.is_autocast_enabled(device)
        if autocast and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
        # One group has nothing to gather: SDPA serves, but for queries apart and a named backend.
        one = groups.cut is not None and not groups.cut.outer
        return Problem(
            queries=groups.q_index.shape[-1],
            keys=groups.k_index.shape[-1],
            head_dim=heads.dim,
            dtype=dtype,
            device=device,
            has_bias=bias,
            has_region=groups.q_region is not None,
            bias_gradient=bias and self.training and torch.is_grad_enabled(),
            dropout=self.dropout if self.training else 0.0,
            in_place=not one or (apart and self.backend is not None),
            observed=self._observed(),
            exporting=torch.compiler.is_exporting(),
            query_bias=query_bias,
            gradients=torch.is_grad_enabled(),
        )

    def _observed(self) -> bool:
        """Return whether a hook waits for queries, keys and values, or a subclass computes."""
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


def _joined(rows: Tensor) -> Tensor:
    """Join the channels of all heads."""
    # Whether a view serves would bind an exported graph to more than one query.
    if torch.compiler.is_exporting():
        return copy_as(rows, (*rows.shape[:3], rows.shape[3] * rows.shape[4]))
    return rows.flatten(3)


def _region(groups: Groups) -> Region | None:
    if groups.q_region is None or groups.k_region is None:
        return None
    return groups.q_region[None], groups.k_region[None]


def _shared_out(groups: Groups) -> Groups:
    """Divide the queries of one group among several, for threads to share; all see all keys."""
    one, queries = groups.q_index.shape
    if one != 1 or queries <= MOST_QUERIES or groups.q_region is not None:
        return groups
    count = -(-queries // MOST_QUERIES)
    each = -(-queries // count)
    index = torch.nn.functional.pad(groups.q_index[0], (0, count * each - queries), value=-1)
    keys = groups.k_index.expand(count, -1)
    return replace(groups, q_index=index.view(count, each), k_index=keys, unique_keys=False)


def _unit(x: Tensor, factor: Tensor | None = None) -> Tensor:
    """Return rows at unit length, times a factor."""
    # At least float32: the least divisor of a zero vector (padding) is zero in float16.
    wide = functional.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
    return (wide if factor is None else wide * factor).to(x.dtype)
