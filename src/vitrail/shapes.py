"""Sizes: one whole number per spatial axis, in array order."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from vitrail.errors import UsageError, shown

Size = tuple[int, ...]


def as_size(value: int | Sequence[int], axes: int, name: str, *, minimum: int = 1) -> Size:
    """Normalise ``value`` to one length per axis.

    Args:
        value: one number for every axis, or one per axis in array order.
        axes: number of spatial axes.
        name: what the value is called in an error.
        minimum: smallest allowed length.
    Returns:
        A tuple of ``axes`` ints.
    Raises:
        UsageError: wrong number of axes, not whole numbers, or below ``minimum``.
    """
    lengths: tuple[Any, ...] = (value,) * axes
    if isinstance(value, Sequence) and not isinstance(value, str):
        lengths = tuple(value)
    nearest = tuple(_nearest(n, minimum) for n in lengths)
    if len(lengths) != axes:
        raise UsageError(
            f"{name}={shown(value)} for {axes} spatial axes",
            f"one whole number, or one per axis ({axes})",
            f"use {name}={nearest[:1] * axes or (minimum,) * axes}",
        )
    if nearest != lengths or any(not isinstance(n, int) or isinstance(n, bool) for n in lengths):
        raise UsageError(
            f"{name}={shown(value)}",
            f"whole numbers of at least {minimum}",
            f"use {name}={shown(nearest)}",
        )
    return lengths


def sym_min(first: int, *rest: int) -> int:
    """Return the least number; on symbolic lengths, without a guard on which one it is."""
    # Dynamo knows what to do with `min`; with torch 2.11 it stops at `sym_min` of plain numbers.
    choose: Any = min if torch.compiler.is_dynamo_compiling() else torch.sym_min
    for other in rest:
        first = choose(first, other)
    return first


def sym_max(first: int, *rest: int) -> int:
    """Return the greatest number; on symbolic lengths, without a guard on which one it is."""
    choose: Any = max if torch.compiler.is_dynamo_compiling() else torch.sym_max  # as above
    for other in rest:
        first = choose(first, other)
    return first


def known(claim: bool) -> bool:
    """Return whether a claim about lengths holds whatever the size of the input.

    Of plain numbers it is the claim itself. One about symbolic lengths is not evaluated: it would
    tie the graph to inputs where the answer is the same, but only simplified: true where that
    suffices, such as of a length that is what it is compared with.
    """
    if not torch.compiler.is_dynamo_compiling() and isinstance(claim, bool):
        return claim
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # imports sympy

    return statically_known_true(claim)


def _nearest(value: object, minimum: int) -> int:
    """Return the allowed length closest to what was given, whatever that is."""
    if isinstance(value, int | float) and math.isfinite(value):
        return max(minimum, int(value))
    return minimum
