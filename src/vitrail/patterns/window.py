"""Window attention, regular and shifted: tokens see the tokens of their own window.

Source: Liu et al. 2021, Swin Transformer, arXiv 2103.14030, section 3.2.
Differs from the official code in that padding is a region of its own (ADR 2), and that the shift
stops along each axis on its own once one window covers it (ADR 3); ``padding="visible"`` and
``shift_rule`` bring the other behaviours back where a checkpoint needs them.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch

from vitrail.errors import UsageError
from vitrail.patterns.base import (
    Groups,
    Padding,
    Pattern,
    check_axes,
    check_word,
    window_cut,
)
from vitrail.patterns.lines import arange, cross, within
from vitrail.patterns.sets import TokenSet, joined
from vitrail.shapes import Size, as_size, known, sym_min

ShiftRule = Literal["axis", "clamp", "shortest", "always", "never"]


@dataclass(frozen=True, slots=True)
class Window(Pattern):
    """Tokens see the tokens of their own (shifted) window.

    Args:
        size: tokens along each axis, e.g. ``(7, 7)``.
        shift: tokens along each axis, e.g. ``(3, 3)``; zeros for a regular window.
        padding: ``"masked"``: tokens never see padding; ``"visible"``: padding joins the softmax
            as it does in every peer.
        shift_rule: what a short axis does. ``"axis"``: it is padded up to one window, unshifted
            (torchvision); ``"clamp"``: the window shrinks to the axis, unshifted (timm, video);
            ``"shortest"``: once the window covers the shortest axis, every axis takes that length
            as its window and none is shifted (official classifier, transformers). ``"always"``
            and ``"never"`` leave the window alone and shift on maps of any size, or of none (what
            transformers' Swin V2 and backbones decide when they are built).
    Raises:
        UsageError: a length below one, a shift outside its window, or an unknown word.
    """

    size: Size
    shift: Size
    padding: Padding = "masked"
    shift_rule: ShiftRule = "axis"

    def __post_init__(self) -> None:
        axes = len(self.size)
        object.__setattr__(self, "size", as_size(self.size, axes, "window"))
        object.__setattr__(self, "shift", as_size(self.shift, axes, "shift", minimum=0))
        if any(s >= m for s, m in zip(self.shift, self.size, strict=True)):
            raise UsageError(
                f"shift={self.shift} for window={self.size}",
                "a shift smaller than its window along every axis",
                f"use shift={tuple(m // 2 for m in self.size)}",
            )
        check_word("padding", self.padding, ("masked", "visible"))
        check_word("shift_rule", self.shift_rule, get_args(ShiftRule))

    def fit(self, spatial: Size) -> tuple[Size, Size]:
        """Return the window and the shift that this pattern uses on ``spatial`` tokens.

        Whole-number arithmetic without branches, so that it also runs on symbolic lengths.
        """
        check_axes("window", self.size, spatial)
        if self.shift_rule in ("always", "never"):
            return self.size, self.shift if self.shift_rule == "always" else (0,) * len(spatial)
        if self.shift_rule == "shortest":
            shortest = sym_min(*spatial, *self.size)
            # 1 while every axis is longer than its window, 0 once one window covers an axis.
            free = sym_min(*(_longer(n, m) for n, m in zip(spatial, self.size, strict=True)))
            window = tuple(m * free + shortest * (1 - free) for m in self.size)
            return window, tuple(s * free for s in self.shift)
        free_axes = tuple(_longer(n, m) for n, m in zip(spatial, self.size, strict=True))
        shift = tuple(s * free for s, free in zip(self.shift, free_axes, strict=True))
        if self.shift_rule == "clamp":
            return tuple(sym_min(n, m) for n, m in zip(spatial, self.size, strict=True)), shift
        return self.size, shift

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the windows down, row-major, and the tokens of each, row-major."""
        window, shift = self.fit(spatial)
        lengths = [(n + m - 1) // m * m for n, m in zip(spatial, window, strict=True)]
        full = all(known(n == length) for n, length in zip(spatial, lengths, strict=True))
        regular = all(known(s == 0) for s in shift)
        lines, sides = [], []
        for n, length, s in zip(spatial, lengths, shift, strict=True):
            place = arange(length, device)
            if not regular:
                # Pad first, then roll (ADR 37): the last ``s`` places hold the first ones, and
                # what was brought round from the other side is a region of its own.
                sides.append((place >= length - s).to(torch.int32))
                place = place + s - sides[-1] * length
            lines.append(place if full else within(place, n))
        index, region, cut = cross(lines, window, spatial, marked=not full), None, None
        if not regular:
            region = cross(sides, window, (2,) * len(spatial), marked=False)
            if self.padding == "masked" and not full:
                region = region.masked_fill(index < 0, -1)
        elif full:
            cut = window_cut(spatial, window)
        elif self.padding == "masked":
            region = index.clamp(max=0)
        return Groups(index, index, region, region, full=full, unique_keys=True, cut=cut,
                      extent=window)  # fmt: skip

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: along each axis, the squared lengths of the runs of tokens."""
        total = 1
        for n, m, s in zip(spatial, *self.fit(spatial), strict=True):
            # Runs end where a shifted window ends; the wrapped part is a run of its own.
            cuts = sorted({0, n, *range(s, n, m)})
            total *= sum((b - a) ** 2 for a, b in pairwise(cuts))
        return total

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the tokens of all windows that hold some tokens; see the base class."""
        spans = []
        box = zip(tokens.first, tokens.stop, spatial, *self.fit(spatial), strict=True)
        for first, stop, n, m, s in box:
            start = (torch.arange(first, stop) - s).div(m, rounding_mode="floor") * m + s
            spans.append(torch.stack((start, start + m), dim=-1).clamp(0, n))
        return joined([tokens.spread(spans, of_box=True)])

    def scores(self, spatial: Size) -> int:
        """Count all products: every window is full, padding included."""
        window, _ = self.fit(spatial)
        windows = math.prod(-(-n // m) for n, m in zip(spatial, window, strict=True))
        return windows * math.prod(window) ** 2


def _longer(length: int, window: int) -> int:
    """Return 1 if the axis needs more than one window, else 0, without a branch.

    Nothing here is ever negative: ONNX divides towards zero, Python towards minus infinity.
    """
    return sym_min(1, (length - 1) // window)
