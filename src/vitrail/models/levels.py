"""Which of a model's maps are wanted, and in which layout: the words of timm's interface."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from vitrail.errors import UsageError

FORMATS = ("NCHW", "NHWC", "NLC")


def wanted_levels(indices: int | Sequence[int] | None, count: int) -> set[int]:
    """Return the numbers of the levels that ``indices`` names.

    Args:
        indices: the last so many; or numbers, negative ones from the end; None for all.
        count: how many levels there are.
    Raises:
        UsageError: a level that does not exist.
    """
    if indices is None:
        return {*range(count)}
    if isinstance(indices, int):
        chosen = [*range(count - indices, count)] if 0 < indices <= count else []
    else:
        chosen = [index + count if index < 0 else index for index in indices]
    if not chosen or not {*chosen} <= {*range(count)}:
        raise UsageError(
            f"indices={indices!r} of a model with {count} levels",
            f"a number from 1 to {count}, or numbers of levels from {-count} to {count - 1}",
            f"use indices={min(count, 4)}",
        )
    return {*chosen}


def check_format(output_fmt: str) -> None:
    """Refuse a layout of maps that there is not.

    Raises:
        UsageError: no layout has that name.
    """
    if output_fmt not in FORMATS:
        raise UsageError(
            f"output_fmt={output_fmt!r}", " or ".join(map(repr, FORMATS)), "use output_fmt='NCHW'"
        )


def in_format(
    grid: Float[Tensor, "batch *spatial dim"], output_fmt: str
) -> Float[Tensor, "batch *rest"]:
    """Return a map channels-first (NCHW), channels-last (NHWC) or as a list of tokens (NLC)."""
    if output_fmt == "NCHW":
        return grid.movedim(-1, 1).contiguous()
    return grid.flatten(1, -2) if output_fmt == "NLC" else grid
