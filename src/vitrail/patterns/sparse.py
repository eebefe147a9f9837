"""Sparse attention on the flattened list of tokens: about ``2 N sqrt(N)`` pairs in two steps.

Source: Child et al. 2019, Generating Long Sequences with Sparse Transformers, arXiv 1904.10509,
section 4.2. Differs from the paper in that nothing is causal, that one token a block is its
summary (the paper's ``c`` is 1), and that ``SparseStrided``'s local part cuts the list into blocks
where the paper slides a window: both parts are views of the list, and each token is a query once.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from vitrail.patterns.base import Cut, Groups, Pattern, check_whole, check_word
from vitrail.patterns.lines import arange
from vitrail.patterns.sets import TokenSet
from vitrail.shapes import Size, known

Part = Literal["local", "residue"]


@dataclass(frozen=True, slots=True)
class SparseFixed(Pattern):
    """Tokens see their own block and the last token of every other block.

    Blocks cut the row-major list of a grid of any rank. A last block that is not full is padded;
    its last token is the last real one.

    Args:
        block: tokens of a block; None: ``ceil(sqrt(N))`` of the ``N`` tokens at hand.
    Raises:
        UsageError: a block that is no whole number, or below one.
    """

    block: int | None = None

    def __post_init__(self) -> None:
        _check_block(self.block)

    def fit(self, spatial: Size) -> tuple[int, int]:
        """Return how many blocks the list of ``spatial`` tokens has, and the tokens of each.

        Arithmetic without branches on a length, so that it also runs on symbolic ones.
        """
        return _fit(self.block, spatial)

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the blocks down: queries are a block, keys that block and then all last tokens.

        Queries, and the first keys: the padded list as ``(blocks, block)``. The other keys, one a
        block in their order, are the same for all groups; a group's own last token, which its
        block has already, is masked there (index and region -1), so that no key counts twice.
        """
        blocks, block = self.fit(spatial)
        tokens = math.prod(spatial)
        own, full = _cut(tokens, blocks, block, device)
        number = arange(blocks, device)
        last = ((number + 1) * block).clamp(max=tokens) - 1
        others = torch.where(number[:, None] == number, -1, last)
        keys = torch.cat((own, others), dim=1)
        cut = Cut((blocks, block), (1,)) if full else None
        return Groups(own, keys, own.clamp(max=0), keys.clamp(max=0), cut=cut)

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: a block squared, and one more key for each other block."""
        blocks, block = self.fit(spatial)
        tokens = math.prod(spatial)
        rest = tokens % block
        return (tokens - rest) * block + rest**2 + tokens * (blocks - 1)

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the blocks of some tokens, and all last tokens; see the base class."""
        blocks, block = self.fit(spatial)
        own = _listed(tokens, spatial, blocks, block).any(1, keepdim=True)
        found = own.expand(blocks, block).clone()
        found[:, -1] = True
        found.view(-1)[math.prod(spatial) - 1] = True
        return [_on_grid(found, spatial)]

    def scores(self, spatial: Size) -> int:
        """Count all products: padding and each block's masked last token included."""
        blocks, block = self.fit(spatial)
        return blocks * block * (block + blocks)


@dataclass(frozen=True, slots=True)
class SparseStrided(Pattern):
    """Tokens see their own block, or the tokens at the same place of every block.

    Blocks cut the row-major list of a grid of any rank. Layers alternate the two parts: after
    both, every token has met every other, if the blocks are full; a last block that is not takes
    another turn to reach the places it lacks. With a block as long as the last axis of a 2-D grid,
    ``"local"`` is a row and ``"residue"`` a column.

    Args:
        block: tokens of a block; None: ``ceil(sqrt(N))`` of the ``N`` tokens at hand.
        part: ``"local"``: the own block; ``"residue"``: all tokens whose number in the list leaves
            the same rest when divided by ``block``.
    Raises:
        UsageError: a block that is no whole number, or below one, or an unknown part.
    """

    block: int | None = None
    part: Part = "local"

    def __post_init__(self) -> None:
        _check_block(self.block)
        check_word("part", self.part, get_args(Part))

    def fit(self, spatial: Size) -> tuple[int, int]:
        """Return how many blocks the list of ``spatial`` tokens has, and the tokens of each.

        Arithmetic without branches on a length, so that it also runs on symbolic ones.
        """
        return _fit(self.block, spatial)

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the groups down: the padded list as ``(blocks, block)``, transposed for residues.

        ``"local"``: one group a block, in order. ``"residue"``: ``block`` groups, one a rest in
        rising order, of ``blocks`` places each. Keys are the queries, in the same order.
        """
        blocks, block = self.fit(spatial)
        index, full = _cut(math.prod(spatial), blocks, block, device)
        inner = 1
        if self.part == "residue":
            index, inner = index.T.clone(memory_format=torch.contiguous_format), 0
        region = None if full else index.clamp(max=0)
        cut = Cut((blocks, block), (inner,)) if full else None
        return Groups(index, index, region, region, full=full, unique_keys=True, cut=cut)

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: the real tokens of every group, squared."""
        _, block = self.fit(spatial)
        full, rest = divmod(math.prod(spatial), block)
        if self.part == "local":
            return full * block**2 + rest**2
        return rest * (full + 1) ** 2 + (block - rest) * full**2

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the blocks, or the places in all blocks, of some tokens; see the base class."""
        blocks, block = self.fit(spatial)
        axis = 1 if self.part == "local" else 0
        found = _listed(tokens, spatial, blocks, block).any(axis, keepdim=True)
        return [_on_grid(found.expand(blocks, block), spatial)]

    def scores(self, spatial: Size) -> int:
        """Count all products: every group is full, padding included."""
        blocks, block = self.fit(spatial)
        return blocks * block * (block if self.part == "local" else blocks)


def _check_block(block: int | None) -> None:
    if block is not None:
        check_whole("block", block, 1)


def _fit(block: int | None, spatial: Size) -> tuple[int, int]:
    """Return blocks and block for a grid of ``spatial`` tokens.

    It also runs on symbolic lengths, in compiled and exported graphs and in ONNX, so a layer may
    call it in its forward. Hence a power and not ``math.isqrt``; half a token less keeps the root
    clear of whole numbers, where rounding would decide, even in ONNX's float32 (to 2**20 tokens).
    """
    tokens = math.prod(spatial)
    if block is None:
        block = math.ceil((tokens - 0.5) ** 0.5)
    return (tokens + block - 1) // block, block


def _listed(
    tokens: TokenSet, spatial: Size, blocks: int, block: int
) -> Bool[Tensor, "blocks block"]:
    """Return a set as the padded list of all tokens, cut into blocks."""
    listed = torch.zeros(blocks * block, dtype=torch.bool)
    listed[: math.prod(spatial)] = tokens.dense(spatial).flatten()
    return listed.view(blocks, block)


def _on_grid(listed: Bool[Tensor, "blocks block"], spatial: Size) -> TokenSet:
    """Undo ``_listed``."""
    mask = listed.flatten()[: math.prod(spatial)].view(spatial)
    return TokenSet.of((0,) * len(spatial), mask)


def _cut(
    tokens: int, blocks: int, block: int, device: torch.device | None
) -> tuple[torch.Tensor, bool]:
    """Return ``[blocks, block]``, the numbers of a list padded with -1, and whether none is."""
    index = arange(blocks * block, device)
    index = index.masked_fill(index >= tokens, -1).view(blocks, block)
    return index, known(blocks * block == tokens)
