"""Sets of tokens on a grid, kept as tiles: lines of tokens that are alike are one.

They let the receptive field of one token be followed through grids of any size: what windows of a
grid of 4096 x 4096 tokens lead to is made of some hundreds of tiles along each axis.
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
        mask: which tiles of the box hold the tokens, all of a tile's or none; None for all.
        edges: where the tiles begin along each axis, and where the last ends.
    """

    first: Size
    lengths: Size
    mask: Bool[Tensor, "*tiles"] | None = None
    edges: tuple[Int[Tensor, " _"], ...] = ()

    @classmethod
    def of(cls, first: Size, mask: Bool[Tensor, "*box"]) -> "TokenSet":
        """Return the tokens where a mask over a box is true, in the least box around them.

        Args:
            first: the place of the mask's first token on the grid.
            mask: true somewhere.
        """
        edges = [torch.arange(a, a + n + 1) for a, n in zip(first, mask.shape, strict=True)]
        found = cls.of_tiles(edges, mask)
        assert found is not None
        return found

    @classmethod
    def of_tiles(cls, edges: Sequence[Tensor], mask: Bool[Tensor, "*tiles"]) -> "TokenSet | None":
        """Return the tokens of some tiles, in as few tiles as hold them; None for no token.

        Args:
            edges: where tiles begin along each axis, and where the last ends.
            mask: which tiles.
        """
        kept = []
        for axis, line in enumerate(edges):
            n = mask.shape[axis]
            alike = mask.narrow(axis, 1, n - 1) == mask.narrow(axis, 0, n - 1)
            others = [other for other in range(mask.ndim) if other != axis]
            new = torch.ones(n, dtype=torch.bool)
            new[1:] = ~(alike.all(others) if others else alike)
            if not new.all():
                rows = new.nonzero().flatten()
                mask, line = mask.index_select(axis, rows), line[_and_last(new)]
            # Of lines that are empty, one at most is left at each end.
            for end in (0, -1):
                if len(line) > 2 and not mask.select(axis, end).any():
                    inner = slice(1, None) if end == 0 else slice(-1)
                    mask, line = mask[(slice(None),) * axis + (inner,)], line[inner]
            kept.append(line)
        first = tuple(int(line[0]) for line in kept)
        lengths = tuple(int(line[-1] - line[0]) for line in kept)
        if mask.numel() == 1:
            return cls(first, lengths) if mask.any() else None
        return cls(first, lengths, mask, tuple(kept))

    @classmethod
    def whole(cls, spatial: Size) -> "TokenSet":
        """Return all tokens of a grid."""
        return cls((0,) * len(spatial), tuple(spatial))

    @property
    def stop(self) -> Size:
        """The place past the last of the box, along each axis."""
        return tuple(a + n for a, n in zip(self.first, self.lengths, strict=True))

    @property
    def tiles(self) -> tuple[list[Int[Tensor, " _"]], Bool[Tensor, "*tiles"]]:
        """The edges of the tiles along each axis, and which of them hold the tokens."""
        if self.mask is not None:
            return [*self.edges], self.mask
        ends = zip(self.first, self.stop, strict=True)
        return [torch.tensor(pair) for pair in ends], torch.ones((1,) * len(self.first)).bool()

    @property
    def box(self) -> Bool[Tensor, "*box"]:
        """The mask over every token of the box."""
        if self.mask is None:
            return torch.ones((), dtype=torch.bool).expand(self.lengths)
        mask = self.mask
        for axis, line in enumerate(self.edges):
            mask = mask.repeat_interleave(line.diff(), axis)
        return mask

    def dense(self, spatial: Size) -> Bool[Tensor, "*spatial"]:
        """Return the set as a mask over the whole grid."""
        return self.within((0,) * len(spatial), spatial)

    def within(self, first: Size, lengths: Size) -> Bool[Tensor, "*lengths"]:
        """Return the set as a mask over a box that holds all of it."""
        mask = torch.zeros(lengths, dtype=torch.bool)
        bounds = zip(self.first, self.stop, first, strict=True)
        mask[tuple(slice(a - o, b - o) for a, b, o in bounds)] = self.box
        return mask

    def covers(self, spatial: Size) -> bool:
        """Return whether every token of the grid is in the set."""
        return self.mask is None and self.lengths == spatial

    def missing(self, first: Size, stop: Size) -> "TokenSet | None":
        """Return the tokens of a box around the set that are not in the set."""
        ends = [torch.tensor(pair) for pair in zip(first, stop, strict=True)]
        own, _ = self.tiles
        edges = [torch.cat((e, o)).unique() for e, o in zip(ends, own, strict=True)]
        return TokenSet.of_tiles(edges, ~_on(edges, [self]))

    def spread(self, spans: Sequence[Spans], *, of_box: bool = False) -> "TokenSet | None":
        """Return all partners of the set's tokens, in a relation that is a product of axes.

        Args:
            spans: the relation along each axis, with a row for every place of the grid.
            of_box: there are rows for the places of the set's box alone.
        Returns:
            The set on the partners' grid, in the box around it; None for no partner.
        """
        edges, mask = self.tiles
        for axis, (line, start, n) in enumerate(zip(spans, self.first, self.lengths, strict=True)):
            own = line if of_box else line[start : start + n]
            found = _along(mask, axis, edges[axis], own)
            if found is None:
                return None
            edges[axis], mask = found
        return TokenSet.of_tiles(edges, mask)


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


def _on(edges: Sequence[Tensor], sets: Iterable[TokenSet]) -> Bool[Tensor, "*tiles"]:
    """Return sets as a mask over tiles that none of their own edges cuts."""
    mask = torch.zeros([len(line) - 1 for line in edges], dtype=torch.bool)
    for one in sets:
        place, (own, part) = [], one.tiles
        for axis, (line, lines) in enumerate(zip(own, edges, strict=True)):
            start, stop = torch.searchsorted(lines, line[[0, -1]]).tolist()
            place.append(slice(start, stop))
            index = torch.searchsorted(line, lines[start:stop], right=True) - 1
            part = part.index_select(axis, index)
        mask[tuple(place)] |= part
    return mask


def _along(mask: Tensor, axis: int, edges: Tensor, line: Spans) -> tuple[Tensor, Tensor] | None:
    """Spread tiles along one axis; return the partners' edges too, or None for no partner."""
    low, high = line.mT.contiguous()
    in_order = bool((low < high).all() and (low.diff() >= 0).all() and (high.diff() >= 0).all())
    starts = edges[:-1] - edges[0]
    apart = high[:-1] < low[1:]
    apart[starts[1:] - 1] = False  # what lies between two tiles does not matter
    if in_order and not apart.any():  # the partners of each tile follow one another
        low, high = low[starts], high[edges[1:] - 1 - edges[0]]
    else:
        mask = mask.repeat_interleave(edges.diff(), axis)
    some = low < high
    if not some.any():
        return None
    if not some.all():
        mask, low, high = mask[(slice(None),) * axis + (some,)], low[some], high[some]
    edges = torch.cat((low, high)).unique()
    if in_order:
        # The tiles of a partner follow one another, from the first whose span reaches it.
        start = torch.searchsorted(high, edges[:-1], right=True)
        end = torch.searchsorted(low, edges[:-1], right=True) - 1
        most = int((end - start).max()) + 1
        if most <= _FEW and bool((start <= end).all()):
            found = mask.index_select(axis, start)
            for step in range(1, most):
                found = found | mask.index_select(axis, torch.minimum(start + step, end))
            return edges, found
    # Ones where a span begins and minus ones where it ends: their running sums count.
    here = mask.movedim(axis, 0).int()
    counts = torch.zeros(len(edges), *here.shape[1:], dtype=torch.int32)
    counts.index_add_(0, torch.searchsorted(edges, low), here)
    counts.index_add_(0, torch.searchsorted(edges, high), -here)
    return edges, (counts.cumsum(0, dtype=torch.int32)[:-1] > 0).movedim(0, axis)


_FEW = 16  # tiles of a partner up to which looking at each is faster than counting


def _and_last(new: Tensor) -> Tensor:
    """Return which edges are kept of those of the lines that are: theirs, and the last one."""
    return torch.cat((new, torch.ones(1, dtype=torch.bool)))


def _belong(a: TokenSet, b: TokenSet) -> bool:
    """Return whether two boxes overlap, or one box around both is hardly larger than they are."""
    ends = list(zip(a.first, a.stop, b.first, b.stop, strict=True))
    if all(max(p, r) < min(q, s) for p, q, r, s in ends):
        return True
    around = math.prod(max(q, s) - min(p, r) for p, q, r, s in ends)
    return around <= 2 * (math.prod(a.lengths) + math.prod(b.lengths))


def _union(a: TokenSet, b: TokenSet) -> TokenSet:
    edges = [torch.cat(lines).unique() for lines in zip(a.tiles[0], b.tiles[0], strict=True)]
    found = TokenSet.of_tiles(edges, _on(edges, (a, b)))
    assert found is not None
    return found
