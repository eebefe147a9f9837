"""Every public checkpoint format by its name and the kind of models that it holds."""

import difflib

from vitrail.errors import UsageError
from vitrail.weights.families import FAMILIES, Format

__all__ = ["FORMATS", "NAMES", "Format", "get", "names_for"]

FORMATS: dict[tuple[str, str], Format] = {
    (found.name, found.kind): found for family in FAMILIES for found in family.formats
}
NAMES = ("official", "timm", "timm-old", "torchvision", "transformers", "transformers-old",
         "mmdet", "mmpretrain", "mmseg", "smp", "video-official", "vitrail")  # fmt: skip


def names_for(kind: str) -> list[str]:
    """Return the formats that hold models of that kind."""
    return [name for name in NAMES if (name, kind) in FORMATS]


def get(name: str, kind: str) -> Format:
    """Return the format of that name for models of that kind.

    Raises:
        UsageError: no such format, or none for such models.
    """
    if (name, kind) not in FORMATS:
        for_kind = names_for(kind)
        near = difflib.get_close_matches(name, for_kind, n=1, cutoff=0.4)
        what = next(family.title for family in FAMILIES if family.kind == kind)
        raise UsageError(
            f"format {name!r} for the weights of a {what}",
            ", ".join(for_kind),
            f"use {near[0] if near else for_kind[0]!r}",
        )
    return FORMATS[name, kind]
