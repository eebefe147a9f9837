"""A bias that depends on the query: relative positions, decomposed into one vector an axis.

Source: Li et al. 2022, MViTv2, arXiv 2112.01526, section 4.1; ViTDet, SAM and SAM 2 have it too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class QueryBias:
    """Add ``q . R_h + q . R_w``: for each axis the product of a query and an offset's vector.

    Queries and keys of every group are boxes of tokens, row-major.

    Args:
        tables: for each axis, a vector for every place of a query and every place of a key on it:
            ``(queries, keys, head_dim)``, for all heads alike.
    """

    tables: Sequence[Float[Tensor, "_ _ head_dim"]]

    def terms(
        self, q: Float[Tensor, "batch groups heads queries head_dim"]
    ) -> Float[Tensor, "batch groups heads queries terms"]:
        """Return what a key adds to each query's score by its place, axis after axis."""
        axes = len(self.tables)
        grid = q.unflatten(-2, [len(table) for table in self.tables])
        parts = []
        for axis, table in enumerate(self.tables):
            rows = grid.movedim(3 + axis, -2)
            terms = torch.einsum("...nd,nmd->...nm", rows, table.to(q.dtype))
            parts.append(terms.movedim(-2, 3 + axis).flatten(3, 2 + axes))
        return torch.cat(parts, dim=-1)

    def key_terms(self, device: torch.device) -> Int[Tensor, "axes keys"]:
        """Return which terms each key adds, one along each axis."""
        lengths = [table.shape[1] for table in self.tables]
        lines, before = [], 0
        for n in lengths:
            lines.append(torch.arange(before, before + n, dtype=torch.int32, device=device))
            before += n
        return torch.stack(torch.meshgrid(*lines, indexing="ij")).flatten(1)

    def dense(
        self, q: Float[Tensor, "batch groups heads queries head_dim"]
    ) -> Float[Tensor, "batch groups heads queries keys"]:
        """Return the number of every pair."""
        lengths = [table.shape[1] for table in self.tables]
        total = q.new_zeros(())
        for axis, part in enumerate(self.terms(q).split(lengths, dim=-1)):
            view = [1] * len(lengths)
            view[axis] = lengths[axis]
            total = total + part.view(*part.shape[:-1], *view)
        return total.expand(*q.shape[:-1], *lengths).reshape(*q.shape[:-1], math.prod(lengths))
