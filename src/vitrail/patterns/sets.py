"""Sets of tokens on a grid, kept as small as the box around them.

They let the receptive field of one token be followed through grids of any size: windows of a
grid of 4096 x 4096 tokens lead to sets of some hundreds of tokens along each axis.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitrail.shapes import Size

Spans = Int[Tensor, "_ 2"]
"""A relation along one axis: for each place its first partner, and the one past its last."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenSet:
    """Tokens of a grid, all of them in one box.

    Args:
        first: the place of the box's first token on the grid.
        lengths: of the box.
        mask: which tokens of the box; None for all.
    """

    first: Size
    lengths: Size
    mask: Bool[Tensor, "*box"] | None = None

    @classmethod
    def of(cls, first: Size, mask: Bool[Tensor, "*box"]) -> "TokenSet":
        """Return the tokens where a mask over a box is true, in the least box around them.

        Args:
            first: the place of the mask's first token on the grid.
            mask: true somewhere.
        """
        shape = mask.shape
        if mask.all():
            return cls(first, tuple(shape))
        for axis in range(mask.ndim):
            others = [other for other in range(mask.ndim) if other != axis]
            there = (mask.any(others) if others else mask).nonzero()[:, 0]
            start, stop = int(there[0]), int(there[-1]) + 1
            mask = mask.narrow(axis, start, stop - start)
            first = (*first[:axis], first[axis] + start, *first[axis + 1 :])
        full = mask.shape != shape and bool(mask.all())
        return cls(first, tuple(mask.shape), None if full else mask)

    @classmethod
    def whole(cls, spatial: Size) -> "TokenSet":
        """Return all tokens of a grid."""
        return cls((0,) * len(spatial), tuple(spatial))

    @property
    def stop(self) -> Size:
        """The place past the last of the box, along each axis."""
        return tuple(a + n for a, n in zip(self.first, self.lengths, strict=True))

    @property
    def box(self) -> Bool[Tensor, "*box"]:
        """The mask over the box."""
        return (
            torch.ones((), dtype=torch.bool).expand(self.lengths)
            if self.mask is None
            else self.mask
        )

    @property
    def places(self) -> Int[Tensor, "tokens axes"]:
        """Where each token lies, in row-major order."""
        return self.box.nonzero() + torch.tensor(self.first)

    def dense(self, spatial: Size) -> Bool[Tensor, "*spatial"]:
        """Return the set as a mask over the whole grid."""
        return self.within((0,) * len(spatial), spatial)

    def within(self, first: Size, lengths: Size) -> Bool[Tensor, "*lengths"]:
        """Return the set as a mask over a box that holds all of it."""
        mask = torch.zeros(lengths, dtype=torch.bool)
        mask[self._slices(first)] = self.box
        return mask

    def covers(self, spatial: Size) -> bool:
        """Return whether every token of the grid is in the set."""
        return self.mask is None and self.lengths == spatial

    def spread(self, spans: Sequence[Spans]) -> "TokenSet | None":
        """Return all partners of the set's tokens, in a relation that is a product of axes.

        Args:
            spans: the relation along each axis, with a row for every place of the grid.
        Returns:
            The set on the partners' grid, in the box around it; None for no partner.
        """
        if self.mask is not None:
            return _spread(self.first, self.mask, spans)
        sides = [
            _spread((start,), torch.ones(n, dtype=torch.bool), [line])
            for start, n, line in zip(self.first, self.lengths, spans, strict=True)
        ]
        there = [side for side in sides if side is not None]
        if len(there) < len(sides):
            return None
        first = tuple(side.first[0] for side in there)
        if all(side.mask is None for side in there):
            return TokenSet(first, tuple(side.lengths[0] for side in there))
        mask = torch.ones((), dtype=torch.bool)
        for side in there:
            mask = mask[..., None] & side.box
        return TokenSet.of(first, mask)

    def _slices(self, origin: Size) -> tuple[slice, ...]:
        bounds = zip(self.first, self.stop, origin, strict=True)
        return tuple(slice(a - o, b - o) for a, b, o in bounds)


def tokens_at(places: Int[Tensor, "*any axes"]) -> TokenSet:
    """Return the tokens at one or more places of a grid."""
    places = places.flatten(0, -2)
    first, last = places.aminmax(dim=0)
    lengths = (last - first + 1).tolist()
    number = torch.zeros(len(places), dtype=torch.int64)
    for place, start, n in zip(places.unbind(-1), first, lengths, strict=True):
        number = number * n + (place - start)
    mask = torch.zeros(math.prod(lengths), dtype=torch.bool)
    mask[number] = True
    return TokenSet.of(tuple(first.tolist()), mask.view(lengths))


def joined(sets: Iterable[TokenSet | None]) -> list[TokenSet]:
    """Return the same tokens in boxes that do not overlap; boxes near one another become one."""
    apart: list[TokenSet] = []
    for one in sets:
        if one is None:
            continue
        while (other := next((o for o in apart if _belong(o, one)), None)) is not None:
            apart.remove(other)
            one = _union(other, one)
        apart.append(one)
    return apart


def boxes_filled(boxes: Int[Tensor, "boxes bounds"]) -> TokenSet:
    """Return the tokens in any of some boxes.

    Args:
        boxes: one or more; axis by axis the first token and the one past the last.
    """
    low, high = boxes[:, ::2], boxes[:, 1::2]
    first, stop = low.amin(0), high.amax(0)
    # Signs at the corners of each box, whose running sums along every axis count the boxes.
    corners = torch.zeros((stop - first + 1).tolist(), dtype=torch.int64)
    for ends in itertools.product((0, 1), repeat=len(first)):
        place = tuple(boxes[:, 2 * axis + end] - first[axis] for axis, end in enumerate(ends))
        sign = torch.full((len(boxes),), (-1) ** sum(ends))
        corners.index_put_(place, sign, accumulate=True)
    for axis in range(len(first)):
        corners = corners.cumsum(axis)
    inside = corners[tuple(slice(n - 1) for n in corners.shape)] > 0
    return TokenSet.of(tuple(first.tolist()), inside)


def _spread(first: Size, mask: Bool[Tensor, "*box"], spans: Sequence[Spans]) -> TokenSet | None:
    begins = []
    for axis, (start, line) in enumerate(zip(first, spans, strict=True)):
        low, high = line[start : start + mask.shape[axis]].unbind(-1)
        if not (low < high).any():
            return None
        begin, mask = _along(mask, axis, low, high)
        begins.append(begin)
    return TokenSet.of(tuple(begins), mask) if mask.any() else None


def _along(mask: Tensor, axis: int, low: Tensor, high: Tensor) -> tuple[int, Tensor]:
    """Spread a mask along one axis; return the first partner's place too."""
    begin, stop = int(low[low < high].min()), int(high[low < high].max())
    in_order = bool((low < high).all() and (low.diff() >= 0).all() and (high.diff() >= 0).all())
    if in_order:
        partners = torch.arange(begin, stop)
        # A partner's places follow one another, from the first whose span reaches it.
        start = torch.searchsorted(high.contiguous(), partners, right=True)
        end = torch.searchsorted(low.contiguous(), partners, right=True) - 1
        most = int((end - start).max()) + 1
        if most <= _FEW and bool((start <= end).all()):
            found = mask.index_select(axis, start)
            for step in range(1, most):
                found = found | mask.index_select(axis, torch.minimum(start + step, end))
            return begin, found
    lines = mask.movedim(axis, 0)
    lines, low, high = (part[low < high] for part in (lines, low, high))
    # Ones where a span begins and minus ones where it ends: their running sums count.
    here = lines.int()
    counts = torch.zeros(stop - begin + 1, *lines.shape[1:], dtype=torch.int32)
    counts.index_add_(0, low - begin, here).index_add_(0, high - begin, -here)
    return begin, (counts.cumsum(0, dtype=torch.int32)[:-1] > 0).movedim(0, axis)


_FEW = 16  # places of a partner up to which looking at each is faster than counting


def _belong(a: TokenSet, b: TokenSet) -> bool:
    """Return whether two boxes overlap, or one box around both is hardly larger than they are."""
    ends = list(zip(a.first, a.stop, b.first, b.stop, strict=True))
    if all(max(p, r) < min(q, s) for p, q, r, s in ends):
        return True
    around = math.prod(max(q, s) - min(p, r) for p, q, r, s in ends)
    return around <= 2 * (math.prod(a.lengths) + math.prod(b.lengths))


def _union(a: TokenSet, b: TokenSet) -> TokenSet:
    first = tuple(map(min, a.first, b.first))
    lengths = tuple(max(p, q) - f for p, q, f in zip(a.stop, b.stop, first, strict=True))
    for one in (a, b):
        if one.mask is None and one.lengths == lengths:
            return one
    mask = torch.zeros(lengths, dtype=torch.bool)
    for one in (a, b):
        mask[one._slices(first)] |= one.box
    return TokenSet.of(first, mask)
