"""Defects of public implementations, put into ours: each must turn a law red.

Every function is a context in which one line of the library is wrong in a way that some peer is, or
was. ``test_defects.py`` shows that the law which forbids it passes without, and fails within.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.laws.peers import rolled_then_padded
from vitrail.attention import reference
from vitrail.layers import Attend, PreNormBlock, WindowAttention, merge, position
from vitrail.ops import relative
from vitrail.ops.windows import pad, padded_lengths, partition, unpartition
from vitrail.patterns import Groups, Window
from vitrail.shapes import Size


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


def _groups(change: Callable[..., Groups]) -> Any:
    """Let windows be ``change(pattern, spatial, right)``, for layers, pictures and counts alike."""
    right = Window.groups

    def groups(self: Window, spatial: Size, device: torch.device | None = None) -> Groups:
        del device
        return change(self, spatial, right)

    return _replaced(Window, "groups", groups)


def _labelled(groups: Groups, label: Tensor) -> Groups:
    return replace(groups, q_region=label, k_region=label, cut=None)


def roll_before_padding() -> Any:
    """timm: the map is rolled, then padded; the mask is that of a padded, rolled map."""

    def change(pattern: Window, spatial: Size, right: Callable[..., Groups]) -> Groups:
        del right
        return rolled_then_padded(pattern, spatial)

    return _groups(change)


def no_shift_mask() -> Any:
    """Tokens that the roll brought round from the other edge are seen like neighbours."""

    def change(pattern: Window, spatial: Size, right: Callable[..., Groups]) -> Groups:
        groups = right(pattern, spatial)
        return _labelled(groups, groups.labels[0].clamp(max=0))

    return _groups(change)


def mask_of_the_unpadded_map() -> Any:
    """The mask is made for the map before padding: its borders lie elsewhere."""

    def change(pattern: Window, spatial: Size, right: Callable[..., Groups]) -> Groups:
        window, amount = pattern.fit(spatial)
        short = tuple(n - n % m if n >= m else m for n, m in zip(spatial, window, strict=True))
        labels = right(Window(window, amount, shift_rule="always"), short).labels[0]
        grid = unpartition(labels[None, ..., None], window, short)
        label = partition(pad(grid, padded_lengths(spatial, window)), window)[0, ..., 0]
        return _labelled(right(pattern, spatial), label)

    return _groups(change)


def swapped_axes() -> Any:
    """MONAI#4693: height and width change places where the mask is made."""

    def change(pattern: Window, spatial: Size, right: Callable[..., Groups]) -> Groups:
        window, amount = (part[::-1] for part in pattern.fit(spatial))
        other = Window(window, amount, pattern.padding, "always")
        return _labelled(right(pattern, spatial), right(other, spatial[::-1]).labels[0])

    return _groups(change)


def visible_padding() -> Any:
    """All peers: padding joins the softmax."""

    def change(pattern: Window, spatial: Size, right: Callable[..., Groups]) -> Groups:
        return _labelled(right(pattern, spatial), right(_visible(pattern), spatial).labels[0])

    return _groups(change)


def _visible(pattern: Window) -> Window:
    return replace(pattern, padding="visible")


def mask_added_twice() -> Any:
    """transformers' Swin V2: -100 becomes -200."""
    right = reference.probabilities

    def probabilities(q: Tensor, k: Tensor, *, mask_value: float, **options: Any) -> Tensor:
        return right(q, k, mask_value=2 * mask_value, **options)

    return _replaced(reference, "probabilities", probabilities)


def sliced_bias_index() -> Any:
    """Video Swin, MONAI: a shrunken window takes the corner of the full window's index."""
    return _replaced(position, "_LOOKUPS", {"offset": relative.sliced_index})


def window_remembered() -> Any:
    """transformers: one small input changes window and shift for good."""
    right = WindowAttention.forward

    def forward(self: WindowAttention, x: Tensor) -> Tensor:
        pattern: Any = self.pattern
        size, amount = pattern.fit(x.shape[1:-1])
        self.pattern = Window(size, amount, pattern.padding, pattern.shift_rule)
        return right(self, x)

    return _replaced(WindowAttention, "forward", forward)


def window_of_one_divides_by_zero() -> Any:
    """Swin V2's official code: offsets over ``window - 1``."""

    def log_coordinates(
        window: Size, normaliser: Size, device: torch.device | None = None
    ) -> Tensor:
        lines = [torch.arange(1 - m, m) / (full - 1) for m, full in zip(window, normaliser)]  # noqa: B905
        grid = 8 * torch.cartesian_prod(*lines).view(-1, len(window))
        return (grid.sign() * (1 + grid.abs()).log2() / 3).to(device)

    return _replaced(position, "log_coordinates", log_coordinates)


def merge_in_another_order() -> Any:
    """mmdetection's Unfold, MONAI's mergingv2: last axis fastest."""

    def last_axis_fastest(x: Tensor, factor: Size) -> Tensor:
        parts = windows_of(pad(x, padded_lengths(x.shape[1:-1], factor)), factor)
        return parts.flatten(-2)

    return _replaced(merge, "merge", last_axis_fastest)


def windows_of(x: Tensor, factor: Size) -> Tensor:
    """Return ``(batch, *merged, neighbours, channels)``, neighbours row-major."""
    counts = [n // f for n, f in zip(x.shape[1:-1], factor, strict=True)]
    return partition(x, tuple(factor)).unflatten(1, counts)


def merge_with_a_neighbour_twice() -> Any:
    """MONAI before PR 8285: some of eight neighbours are taken twice, others never."""
    right = merge.merge

    def doubled(x: Tensor, factor: Size) -> Tensor:
        parts = right(x, factor).unflatten(-1, (-1, x.shape[-1]))
        return parts[..., [0, 1, 2, 2], :].flatten(-2)

    return _replaced(merge, "merge", doubled)


def drop_path_on_attention_only() -> Any:
    """transformers' Swin V1: the perceptron's branch is never dropped."""

    def forward(self: PreNormBlock, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.mlp(self.norm2(x))

    return _replaced(PreNormBlock, "forward", forward)


def hard_coded_batch() -> Any:
    """transformers PR 19475: the batch is read off a tensor of another call."""
    seen: list[int] = []
    right = Attend.grouped

    def grouped(self: Attend, x: Tensor, *args: Any, **options: Any) -> Tensor:
        seen.append(x.shape[0])
        return right(self, x, *args, **options)[: seen[0]]

    return _replaced(Attend, "grouped", grouped)
