"""Sizes: one whole number per spatial axis, in array order."""

from collections.abc import Sequence

from vitrail.errors import UsageError

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
    lengths = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(lengths) != axes:
        raise UsageError(
            f"{name}={tuple(lengths)} for {axes} spatial axes",
            f"one whole number, or one per axis ({axes})",
            f"use {name}={tuple(lengths[:1]) * axes or minimum}",
        )
    if any(isinstance(n, bool) or not isinstance(n, int) or n < minimum for n in lengths):
        raise UsageError(
            f"{name}={lengths}",
            f"whole numbers of at least {minimum}",
            f"use {name}={tuple(max(minimum, int(n)) for n in lengths)}",
        )
    return lengths
