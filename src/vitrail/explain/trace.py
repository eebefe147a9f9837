"""What one forward pass showed: plain values, with no reference to the model that made them.

A trace knows only grouped attention, ``[groups, heads, queries, keys]`` with the ``Groups`` of its
pattern, on grids of any rank. Everything that is drawn or measured later follows from that.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vitrail.attention.reference import probabilities
from vitrail.errors import UsageError
from vitrail.patterns import Groups, Pattern, Window
from vitrail.shapes import Size

# Of a token: its place on the grid, or the number of a prefix token (such as CLS), from 0.
Position = Size | int
CHUNK = 4_000_000  # weights computed at a time, 16 MB of them


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """Where a trace comes from.

    Args:
        name: the model's name in the catalog, or its class.
        weights: where the weights came from, in words, e.g. ``"bundled"`` or a path.
        trained: whether the weights were trained; random ones predict nothing.
        sha256: digest of the weights, see ``explain.digest``.
        parameters: how many numbers the model learns.
        patch: input samples per token of the first stage, per axis.
        overlap: samples that a patch reaches into its neighbours, before it along each axis.
        mixers: what moves information between a stage's tokens beside attention, in words.
        pool: how tokens become one output: ``"avg"``, ``"token"`` or ``""``, as in the config.
        transform: how the photo became the model's input, one step a line.
    """

    name: str
    weights: str
    trained: bool
    sha256: str
    parameters: int
    patch: Size
    overlap: Size
    pool: str = "avg"
    transform: tuple[str, ...] = ()
    mixers: tuple[str, ...] = ()

    @property
    def caveat(self) -> str | None:
        """Why maps made of attention alone are approximate for this model; None if they are not."""
        if not self.mixers:
            return None
        return (
            f"Approximate for this model: its {' and '.join(self.mixers)} move information between "
            "tokens too, which a map made of attention alone leaves out."
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BlockTrace:
    """The attention of one block: what any part of it is computed from, on demand.

    All weights of a large picture fit no memory; queries and keys do.

    Args:
        name: the block's module, e.g. ``"stages.0.blocks.1"``.
        stage: which stage, from 0.
        block: which block of the stage, from 0.
        pattern: which tokens may attend to which.
        spatial: lengths of the grid, in tokens.
        stride: input samples per token, per axis.
        groups: the pattern written down for this grid.
        q: queries, as the block's own attention was given them.
        k: keys, likewise.
        scale: multiplies ``q k^T``.
        region: labels of queries and keys, if the block was given some: others are hidden.
        mask_value: added to the scores of hidden keys.
        bias: what position alone adds to the scores, if the block has such a bias: the same for
            every group, or for each its own.
        error: greatest difference between ``attention @ v`` and what the block itself computed,
            over all groups, or of large pictures over a sample (see ``capture``).
        output: greatest magnitude of what the block itself computed, which ``error`` compares to.
        dim: channels of the features.
        rgb: the features after the block as colours (see ``features.principal_colours``).
        pooled: tokens along each axis that share one query, where queries are pooled. Such a block
            is kept on the grid that it reads, at the end of the stage before its own; a merge of
            as many tokens follows.
        source: for each place of a query, that of the pooled query in the layer's own order.
    """

    name: str
    stage: int
    block: int
    pattern: Pattern
    spatial: Size
    stride: Size
    groups: Groups
    q: Float[Tensor, "groups heads queries head_dim"]
    k: Float[Tensor, "groups heads keys head_dim"]
    scale: float = 1.0
    region: tuple[Int[Tensor, "groups queries"], Int[Tensor, "groups keys"]] | None = None
    mask_value: float = -math.inf
    bias: Float[Tensor, "*groups heads queries keys"] | None = None
    error: float = 0.0
    output: float = 1.0
    dim: int = 0
    rgb: UInt8[Tensor, "*spatial 3"] | None = None
    pooled: Size | None = None
    source: Int[Tensor, "groups queries"] | None = None

    @property
    def heads(self) -> int:
        """How many heads the block has."""
        return self.q.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Groups, heads, queries and keys: the shape of ``attention``, without computing it."""
        groups, heads, queries, _ = self.q.shape
        return groups, heads, queries, self.k.shape[2]

    @property
    def kind(self) -> str:
        """Short label: ``W`` for windows, ``SW`` for shifted ones, else the pattern's name."""
        if isinstance(self.pattern, Window):
            return "SW" if any(self.pattern.fit(self.spatial)[1]) else "W"
        return type(self.pattern).__name__

    @property
    def attention(self) -> Float[Tensor, "groups heads queries keys"]:
        """How each query divides its attention; rows sum to one.

        Computed whole at every call: for a large picture use ``rows`` or ``chunks``.
        """
        groups, _, queries, _ = self.shape
        return self.part(slice(0, groups), slice(0, queries))

    def rows(
        self, group: int, first: int = 0, count: int | None = None
    ) -> Float[Tensor, "heads queries keys"]:
        """Return how some queries of one group divide their attention; nothing else is computed.

        Args:
            group: which group, from 0.
            first: the first query, from 0.
            count: how many queries; default all that follow.
        Raises:
            UsageError: there is no such group, or no such query.
        """
        groups, _, queries, _ = self.shape
        count = queries - first if count is None else count
        if not (0 <= group < groups and first >= 0 and 1 <= count <= queries - first):
            raise UsageError(
                f"group={group}, first={first}, count={count} of {self.name}",
                f"a group from 0 to {groups - 1}, and queries of it from 0 to {queries - 1}",
                f"use group={max(0, min(group, groups - 1))}, first=0, count={queries}",
            )
        return self.part(slice(group, group + 1), slice(first, first + count))[0]

    def chunks(
        self, most: int = CHUNK
    ) -> Iterator[tuple[slice, slice, Float[Tensor, "groups heads queries keys"]]]:
        """Go through all weights, some groups or some queries of a group at a time.

        Args:
            most: weights in one piece; a single query's are never divided.
        Returns:
            Which groups, which queries, and their weights.
        """
        groups, heads, queries, keys = self.shape
        row = heads * keys
        step = max(1, most // (row * queries))
        part = queries if row * queries <= most else max(1, most // row)
        for group in range(0, groups, step):
            some = slice(group, min(group + step, groups))
            for first in range(0, queries, part):
                picked = slice(first, min(first + part, queries))
                yield some, picked, self.part(some, picked)

    def part(
        self, some: slice, picked: slice | Int[Tensor, "picked"]
    ) -> Float[Tensor, "groups heads queries keys"]:
        """Return the weights of some groups' queries, of every such group the same ones.

        Args:
            some: which groups.
            picked: which of their queries: a slice, or numbers.
        """
        bias, region = self.bias, self.region
        if bias is not None:
            own = bias.ndim == 4 and bias.shape[0] > 1
            bias = (bias[some] if own else bias)[..., picked, :]
        if region is not None:
            region = (region[0][None, some, picked], region[1][None, some])
        return probabilities(
            self.q[None, some, :, picked],
            self.k[None, some],
            scale=self.scale,
            bias=bias,
            region=region,
            mask_value=self.mask_value,
        )[0]

    def at(self, slots: Int[Tensor, "picked"]) -> Float[Tensor, "picked heads keys"]:
        """Return the weights of single queries, wherever their groups are.

        Each takes a copy of its group's keys: for queries of few large groups use ``part``.

        Args:
            slots: each query as ``group * queries + query``.
        """
        queries = self.shape[2]
        group, picked = slots // queries, slots % queries
        bias, region = self.bias, self.region
        if bias is not None:
            if bias.ndim == 4 and bias.shape[0] > 1:
                bias = bias[group, :, picked][:, :, None]
            else:
                bias = (bias[0] if bias.ndim == 4 else bias)[:, picked].transpose(0, 1)[:, :, None]
        if region is not None:
            region = (region[0][group, picked][None, :, None], region[1][group][None])
        return probabilities(
            self.q[group, :, picked][None, :, :, None],
            self.k[group][None],
            scale=self.scale,
            bias=bias,
            region=region,
            mask_value=self.mask_value,
        )[0, :, :, 0]

    def sample(self, most: int = CHUNK) -> "BlockTrace":
        """Return this block with some of its groups, or some queries of one group, evenly spread.

        Args:
            most: weights that it has then, over all heads; a block that has no more is returned
                as it is.
        """
        groups, heads, queries, keys = self.shape
        row = heads * keys
        if groups * queries * row <= most:
            return self
        some = spread(groups, most // (row * queries))
        picked = spread(queries, most // (row * len(some)))
        whole, bias, region = self.groups, self.bias, self.region
        if bias is not None:
            own = bias.ndim == 4 and bias.shape[0] > 1
            bias = (bias[some] if own else bias)[..., picked, :]
        return replace(
            self,
            groups=replace(
                whole,
                q_index=whole.q_index[some][:, picked],
                k_index=whole.k_index[some],
                q_region=None if whole.q_region is None else whole.q_region[some][:, picked],
                k_region=None if whole.k_region is None else whole.k_region[some],
                k_box=None if whole.k_box is None else whole.k_box[some],
            ),
            q=self.q[some][:, :, picked],
            k=self.k[some],
            bias=bias,
            region=None if region is None else (region[0][some][:, picked], region[1][some]),
        )

    def locate(self, position: Position) -> tuple[int, int]:
        """Return the group of the token at ``position`` and its place among the queries.

        Raises:
            UsageError: if there is no such token.
        """
        token = self._token(position)
        group, query = (self.groups.q_index == token).nonzero()[0].tolist()
        return group, query

    def row(self, position: Position, head: int | None = None) -> Float[Tensor, "keys"]:
        """Return how the token at ``position`` divides its attention among its group's keys.

        Args:
            position: of the query on the grid, or the number of a prefix token.
            head: which head, from 0; default the mean of all.
        """
        group, query = self.locate(position)
        rows = self.rows(group, query, 1)[:, 0]
        if head is None:
            return rows.mean(0)
        if not 0 <= head < self.heads:
            raise UsageError(
                f"head={head} of {self.name}",
                f"0 to {self.heads - 1}, or None for the mean",
                f"use head={max(0, min(head, self.heads - 1))}",
            )
        return rows[head]

    def attends(self, position: Position, head: int | None = None) -> Float[Tensor, "*spatial"]:
        """Return the weights of ``row`` at their places on the grid, un-shifted and un-padded.

        A pooled key has no single place: its weight is spread evenly over the tokens of its box,
        and added where boxes overlap. What went to padding (visible in some checkpoints) and to
        prefix tokens is left out, so that the map may sum to less than one.
        """
        group, _ = self.locate(position)
        index, row = self.groups.k_index[group] - self.pattern.prefix, self.row(position, head)
        tokens = math.prod(self.spatial)
        here = (index >= 0) & (index < tokens)
        flat = torch.zeros(tokens, dtype=row.dtype)
        grid = flat.index_add(0, index[here], row[here]).reshape(self.spatial)
        if self.groups.k_box is not None:
            for key in (index >= tokens).nonzero()[:, 0].tolist():
                bounds = self.groups.k_box[group, key].view(-1, 2).tolist()
                part = grid[tuple(slice(first, last) for first, last in bounds)]
                part += row[key] / part.numel()
        return grid

    def box(self, position: Size) -> tuple[tuple[int, int], ...]:
        """Return the first and one-past-last input sample of a token, per axis."""
        self._token(position)
        return tuple((p * s, (p + 1) * s) for p, s in zip(position, self.stride, strict=True))

    def _token(self, position: Position) -> int:
        """Return the number of a token in the list: prefix tokens, then the grid."""
        prefix = self.pattern.prefix
        if isinstance(position, int):
            if not 0 <= position < prefix:
                raise UsageError(
                    f"position={position}, a prefix token, of {self.name} with {prefix} of them",
                    "the number of a prefix token from 0, or a place on the grid",
                    f"use a place, e.g. position={(0,) * len(self.spatial)}",
                )
            return position
        inside = len(position) == len(self.spatial) and all(
            0 <= p < n for p, n in zip(position, self.spatial, strict=True)
        )
        if not inside:
            raise UsageError(
                f"position={tuple(position)} on a grid of {self.spatial} tokens ({self.name})",
                f"{len(self.spatial)} whole numbers from 0, each below its axis' length",
                f"use a position up to {tuple(n - 1 for n in self.spatial)}",
            )
        token = 0
        for p, n in zip(position, self.spatial, strict=True):
            token = token * n + p
        return prefix + token


def spread(count: int, most: int) -> Int[Tensor, "some"]:
    """Return about ``most`` numbers below ``count``, evenly spread; the first is always there.

    Where it is more than one, so is the last.
    """
    if most >= count:
        return torch.arange(count)
    return torch.linspace(0, count - 1, max(1, most)).round().long().unique()


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeTrace:
    """The step between two stages.

    Args:
        stage: the stage that the merge opens.
        before: lengths of the grid that goes in, in tokens.
        after: lengths of the grid that comes out.
        factor: tokens along each axis that become one.
        overlap: tokens before its children that the merge looks at too, along each axis.
        share: what each child gives to its token (see ``merging.merge_shares``); None for a merge
            of a kind that is not known.
    """

    stage: int
    before: Size
    after: Size
    factor: Size
    overlap: Size = ()
    share: Float[Tensor, "*spatial children"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trace:
    """One forward pass over one image.

    Args:
        model: where it comes from.
        spatial: lengths of the input, in samples (pixels).
        blocks: every block, in the order in which they ran.
        merges: every step between stages.
        logits: the model's output, one number a class.
        classes: names of the classes, where they are known.
        dense: the logits of every sample, of a model of segmentation, whose ``logits`` are empty.
    """

    model: ModelFacts
    spatial: Size
    blocks: tuple[BlockTrace, ...]
    merges: tuple[MergeTrace, ...]
    logits: Float[Tensor, "classes"]
    classes: tuple[str, ...] | None = None
    dense: Float[Tensor, "outputs *samples"] | None = None

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the most probable classes with their probabilities, best first."""
        if self.logits.numel() == 0:
            return []
        values, order = self.logits.softmax(0).topk(min(count, len(self.logits)))
        return [
            (self.classes[i] if self.classes else f"class {i}", p)
            for i, p in zip(order.tolist(), values.tolist(), strict=True)
        ]
