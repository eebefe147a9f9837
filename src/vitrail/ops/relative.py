"""Where a key lies as seen from a query: indices and coordinates for relative position biases."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.shapes import Size


def offsets(window: Size, device: torch.device | None = None) -> Int[Tensor, "queries keys axes"]:
    """Return ``query - key`` along each axis, in tokens, for all pairs of a window's tokens."""
    lines = [torch.arange(m, device=device) for m in window]
    place = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)
    return place[:, None] - place[None, :]


def relative_index(
    window: Size, table_window: Size | None = None, device: torch.device | None = None
) -> Int[Tensor, "queries keys"]:
    """Return the row of a bias table for every pair of tokens of a window.

    The table has one row for each offset that fits ``table_window``, row-major over the axes. A
    smaller ``window`` is looked up by its true offsets, along every axis (ADR 8).

    Args:
        window: lengths of the window at hand, in tokens.
        table_window: lengths of the window that the table was made for; default ``window``.
        device: where the index is needed.
    Returns:
        Rows between 0 and ``prod(2 * table_window - 1) - 1``.
    Source: Liu et al. 2021, arXiv 2103.14030, section 3.2.
    """
    full = window if table_window is None else table_window
    index = torch.zeros((), dtype=torch.int64, device=device)
    for m, offset in zip(full, offsets(window, device).unbind(-1), strict=True):
        index = index * (2 * m - 1) + offset + (m - 1)
    return index


def sliced_index(
    window: Size, table_window: Size, device: torch.device | None = None
) -> Int[Tensor, "queries keys"]:
    """Return the corner of the full window's index, as Video Swin and MONAI do.

    Right only where the first axis alone is shorter; elsewhere most pairs get another offset's
    bias. Kept because their checkpoints' outputs depend on it (ADR 8).
    """
    tokens = math.prod(window)
    return relative_index(table_window, device=device)[:tokens, :tokens]


def log_coordinates(
    window: Size, normaliser: Size, device: torch.device | None = None
) -> Float[Tensor, "rows axes"]:
    """Return Swin V2's log-spaced coordinates of each row of the bias table.

    Args:
        window: window length along each axis, in tokens.
        normaliser: the window in which offsets span -1 to 1 (that of pre-training, if it differs).
        device: where the coordinates are needed.
    Returns:
        ``sign(d) * log2(1 + |8 d|) / log2(8)`` with ``d`` the offset over ``normaliser - 1``. A
        window of one token has offset 0 only, and coordinate 0. Always float32, and in the order
        of operations of the official code: wider models then agree with it to the last digit.
    Source: Liu et al. 2022, Swin Transformer V2, arXiv 2111.09883, section 3.3.
    """
    lines = [
        torch.arange(1 - m, m, dtype=torch.float32, device=device) / max(1, full - 1) * 8
        for m, full in zip(window, normaliser, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)
    return grid.sign() * torch.log2(1 + grid.abs()) / math.log2(8)


def offset_index(
    q_place: Int[Tensor, "groups queries"], k_place: Int[Tensor, "groups keys"], lengths: Size
) -> Int[Tensor, "groups queries keys"]:
    """Return the row of ``log_offsets(lengths)`` for every pair of tokens of each group.

    Args:
        q_place: row-major number of each query's token in a box of ``lengths`` tokens.
        k_place: row-major number of each key's token in that box.
        lengths: of the box, in tokens.
    Returns:
        Rows between 0 and ``prod(2 * lengths - 1) - 1``.
    """
    centre, step = 0, 1
    q_row, k_row = torch.zeros_like(q_place), torch.zeros_like(k_place)
    for n in reversed(lengths):
        # Rows of offsets are laid out row-major too: one difference then serves all axes. No
        # remainder, which ONNX does not take of a symbolic length.
        q_next, k_next = q_place // n, k_place // n
        q_row = q_row + (q_place - q_next * n) * step
        k_row = k_row + (k_place - k_next * n) * step
        q_place, k_place = q_next, k_next
        centre, step = centre + (n - 1) * step, step * (2 * n - 1)
    return q_row[:, :, None] - k_row[:, None, :] + centre


def log_offsets(
    lengths: Size, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "offsets axes"]:
    """Return log-spaced coordinates of every offset between two tokens of a box, row-major.

    Args:
        lengths: of the box, in tokens.
        device: where the coordinates are needed.
        dtype: of the coordinates; they are computed in float32 or wider.
    Returns:
        ``sign(d) * log2(1 + |d|) / 3`` for offsets ``d`` in tokens, not divided by any length: an
        offset of 7 tokens, the most in Swin V2's window of 8, is 1.
    """
    wide = torch.promote_types(dtype, torch.float32)
    lines = [torch.arange(1 - n, n, device=device).to(wide) for n in lengths]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)
    return (grid.sign() * torch.log2(1 + grid.abs()) / 3).to(dtype)
