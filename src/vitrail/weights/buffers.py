"""What peers store beside their parameters: made from a configuration, and read for the window."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vitrail.models import SwinConfig, SwinV2Config
from vitrail.ops.relative import log_coordinates, relative_index
from vitrail.patterns import Window
from vitrail.shapes import Size


def square_index(config: SwinConfig, size: Size | None, i: int, j: int) -> Tensor:
    """Return the row of the bias table for each pair of tokens, ``[tokens, tokens]``."""
    del size, j
    return relative_index(config.windows[i])


def flat_index(config: SwinConfig, size: Size | None, i: int, j: int) -> Tensor:
    """Return the row of the bias table for each pair of tokens, in one line (torchvision)."""
    return square_index(config, size, i, j).flatten()


def coordinates(config: SwinConfig, size: Size | None, i: int, j: int) -> Tensor:
    """Return Swin V2's log-spaced offsets, ``[1, *offsets, axes]``."""
    del size, j
    assert isinstance(config, SwinV2Config)
    window = config.windows[i]
    table = log_coordinates(window, config.normalisers[i])
    return table.reshape(1, *(2 * m - 1 for m in window), len(window))


def shift_mask(config: SwinConfig, size: Size | None, i: int, j: int) -> Tensor | None:
    """Return 0 within and -100 across a shifted block's regions, ``[windows, tokens, tokens]``.

    The official classifier stores it for the one size it was built for. Blocks without a shift
    have none.
    """
    if size is None or j % 2 == 0:
        return None
    spatial = tuple(
        n // p // m**i for n, p, m in zip(size, config.patch, config.merge, strict=True)
    )
    window = config.windows[i]
    shift = tuple(m // 2 for m in window)
    pattern = Window(window, shift, "visible", "shortest")
    if not any(pattern.fit(spatial)[1]):
        return None
    label, _ = pattern.groups(spatial).labels
    return (label[:, :, None] != label[:, None, :]).to(torch.get_default_dtype()) * -100.0


def windows_of(buffers: Mapping[tuple[str, int], Tensor], axes: int) -> dict[int, Size]:
    """Read each stage's window from the buffers of a checkpoint, where it has any."""
    found: dict[int, Size] = {}
    for (what, stage), tensor in buffers.items():
        window = None
        if what == "coordinates" and tensor.ndim == axes + 2:
            window = tuple((n + 1) // 2 for n in tensor.shape[1:-1])
        elif what == "index":
            window = _window_of_index(tensor, axes)
        if window is not None:
            found[stage] = window
    return found


def normalisers_of(buffers: Mapping[tuple[str, int], Tensor], axes: int) -> dict[int, Size]:
    """Read the window in which each stage's coordinates span -1 to 1, where they are stored."""
    found = {}
    for (what, stage), tensor in buffers.items():
        if what != "coordinates" or tensor.ndim != axes + 2:
            continue
        lengths = []
        for axis, n in enumerate(tensor.shape[1:-1]):
            # The largest offset M - 1 became log2(1 + 8 (M - 1) / (P - 1)) / 3: solved for P.
            largest = (n - 1) // 2
            reach = 2 ** (3 * float(tensor[..., axis].max())) - 1
            lengths.append(1 + round(8 * largest / reach) if largest and reach > 0 else 1)
        found[stage] = tuple(lengths)
    return found


def _window_of_index(index: Tensor, axes: int) -> Size | None:
    """Return the window whose relative index this is: the steps of its first column show it."""
    tokens = index.shape[0] if index.ndim == 2 else math.isqrt(index.numel())
    if not tokens or tokens * tokens != index.numel():
        return None
    column = (index.reshape(tokens, tokens)[:, 0] - index.flatten()[0]).tolist()
    window: list[int] = []
    step, stride = 1, 1
    for _ in range(axes):
        m = 1
        while m * step < tokens and column[m * step] == m * stride:
            m += 1
        window.insert(0, m)
        step, stride = step * m, stride * (2 * m - 1)
    return tuple(window) if step == tokens else None
