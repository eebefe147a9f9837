"""Cut a grid of tokens into windows and put it together again.

Every function takes ``(batch, *spatial, channels)`` and serves one, two and three dimensions from
the same lines. None branches on a length, so all of them trace with symbolic sizes.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import UsageError
from vitrail.shapes import Size, known, sym_max


def padded_lengths(spatial: Sequence[int], multiple: Sequence[int]) -> Size:
    """Return the least lengths that ``multiple`` divides and that hold ``spatial`` tokens."""
    return tuple((n + m - 1) // m * m for n, m in zip(spatial, multiple, strict=True))


def at_least(spatial: Sequence[int], shortest: Sequence[int]) -> Size:
    """Return ``spatial``, and ``shortest`` where that is longer; without a branch on a length."""
    return tuple(sym_max(n, m) for n, m in zip(spatial, shortest, strict=True))


def pad(
    x: Shaped[Tensor, "batch *spatial channels"], lengths: Sequence[int]
) -> Shaped[Tensor, "batch *padded channels"]:
    """Append zeros to every axis of ``x`` until the grid has ``lengths`` tokens.

    Args:
        x: tokens on a grid.
        lengths: lengths after padding, in tokens; never less than those of ``x``.
    Returns:
        The padded grid, which is ``x`` where it is long enough; the tokens keep their places.
    """
    amounts = [0, 0]
    for n, length in zip(reversed(x.shape[1:-1]), reversed(lengths), strict=True):
        amounts += [0, length - n]
    if all(known(amount == 0) for amount in amounts):  # padding by nothing would copy
        return x
    return F.pad(x, amounts)


def crop(
    x: Shaped[Tensor, "batch *padded channels"], spatial: Sequence[int]
) -> Shaped[Tensor, "batch *spatial channels"]:
    """Undo ``pad``: keep the first ``spatial`` tokens along every axis."""
    for axis, n in enumerate(spatial, start=1):
        x = x.narrow(axis, 0, n)
    return x


def shift(
    x: Shaped[Tensor, "batch *spatial channels"], amount: Sequence[int]
) -> Shaped[Tensor, "batch *spatial channels"]:
    """Roll the grid towards its origin by ``amount`` tokens along every axis.

    Pad first, shift second: rolling an unpadded map would bring tokens of opposite edges into one
    window with no padding between them.
    """
    for axis, s in enumerate(amount, start=1):
        if not known(s == 0):
            x = _swap_ends(x, axis, s)
    return x


def unshift(
    x: Shaped[Tensor, "batch *spatial channels"], amount: Sequence[int]
) -> Shaped[Tensor, "batch *spatial channels"]:
    """Undo ``shift``."""
    for axis, s in enumerate(amount, start=1):
        if not known(s == 0):
            x = _swap_ends(x, axis, x.shape[axis] - s)
    return x


def _swap_ends(x: Tensor, axis: int, cut: int) -> Tensor:
    """Roll towards the origin by ``cut``: as torch.roll does it, but ONNX takes symbolic cuts."""
    return torch.cat((x.narrow(axis, cut, x.shape[axis] - cut), x.narrow(axis, 0, cut)), axis)


def partition(
    x: Shaped[Tensor, "batch *spatial channels"], window: Size
) -> Shaped[Tensor, "batch windows tokens channels"]:
    """Cut ``x`` into non-overlapping windows.

    Args:
        x: tokens on a grid.
        window: window length along each spatial axis, in tokens.
    Returns:
        Windows in row-major order, tokens inside a window in row-major order.
    Raises:
        UsageError: if a window length does not divide its axis.
    Source: Liu et al. 2021, arXiv 2103.14030, section 3.2.
    """
    batch, *spatial, channels = x.shape
    _check_divides(spatial, window)
    counts = [n // m for n, m in zip(spatial, window, strict=True)]
    cut = [length for pair in zip(counts, window, strict=True) for length in pair]
    axes = len(window)
    x = x.reshape(batch, *cut, channels)
    x = x.permute(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)
    return copy_as(x, (batch, math.prod(counts), math.prod(window), channels))


def unpartition(
    x: Shaped[Tensor, "batch windows tokens channels"], window: Size, spatial: Sequence[int]
) -> Shaped[Tensor, "batch *spatial channels"]:
    """Undo ``partition``.

    Args:
        x: windows in row-major order.
        window: window length along each spatial axis, in tokens.
        spatial: lengths of the grid that was cut, in tokens.
    Returns:
        Tokens on their grid.
    Raises:
        UsageError: if a window length does not divide its axis.
    """
    batch, _, _, channels = x.shape
    _check_divides(spatial, window)
    counts = [n // m for n, m in zip(spatial, window, strict=True)]
    axes = len(window)
    x = x.reshape(batch, *counts, *window, channels)
    order = [axis for pair in zip(range(1, axes + 1), range(axes + 1, 2 * axes + 1), strict=True)
             for axis in pair]  # fmt: skip
    return copy_as(x.permute(0, *order, 2 * axes + 1), (batch, *spatial, channels))


def copy_as(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Copy a permuted ``x`` into memory in row-major order, and give it another shape.

    Not ``reshape``: it copies only where it must, and that question would bind an exported graph
    to inputs with more than one window along an axis.
    """
    return x.clone(memory_format=torch.contiguous_format).view(shape)


def _check_divides(spatial: Sequence[int], window: Size) -> None:
    for n, m in zip(spatial, window, strict=True):
        if m < 1 or n % m != 0:
            raise UsageError(
                f"window={window} on a grid of {tuple(spatial)} tokens",
                "a window of at least one token whose length divides every axis",
                f"pad the grid first, to {padded_lengths(spatial, [max(1, m) for m in window])}",
            )
