"""Which classes label maps have: those that are named, or the labels that occur."""

from dataclasses import replace

from vitrail.data.dataset import Subset
from vitrail.data.images import ImageError
from vitrail.data.pair import Pairs
from vitrail.errors import UsageError
from vitrail.tasks.segment_options import SegmentOptions

VOID = 255
"""What label maps of many sets have where nobody knows."""
MAX_CLASSES = 256
"""More different labels than that number objects, and no classes."""


def with_classes(part: Subset[Pairs], options: SegmentOptions) -> SegmentOptions:
    """Options with the names, labels and colours of the classes of data.

    Raises:
        UsageError: the labels are those of objects, of one class, or of white that is ignored.
    """
    names, colours = options.classes or part.source.classes, options.colours
    values = options.values or tuple(range(len(names)))
    if not names:
        numbers, palette, _ = part.source.survey
        found = tuple(n for n in numbers.tolist() if n != options.ignore)
        values = options.values or found
        _check_values(values, options.ignore)
        if options.ignore == VOID and VOID in numbers and not options.values:
            _check_void(values)
        names = tuple(f"class {value}" for value in values)
    else:
        palette = _first_palette(part)
    if len(palette) > max(values) and not colours:
        colours = tuple("#{:02x}{:02x}{:02x}".format(*palette[value]) for value in values)
    return replace(options, classes=names, values=values, colours=colours)


def _check_void(values: tuple[int, ...]) -> None:
    """Refuse to ignore 255 of masks that are drawn in greys, where it is white and a class."""
    if values != tuple(range(len(values))):
        shown = ",".join(map(str, values[:20]))
        raise UsageError(
            given=f"label maps with the labels {shown} and {VOID}, which by default is ignored",
            allowed=f"labels 0, 1, 2, ... beside an ignored {VOID}; or a word on what {VOID} is",
            fix=f"use --set ignore=none if {VOID} is a class; if not, --set values={shown}",
        )


def _check_values(values: tuple[int, ...], ignore: int | None) -> None:
    if len(values) > MAX_CLASSES:
        raise UsageError(
            given=f"label maps with {len(values):,} different labels",
            allowed=f"at most {MAX_CLASSES} classes",
            fix="use --set instances=true if the labels number objects",
        )
    if len(values) < 2:
        raise UsageError(
            given=f"label maps with no label but {', '.join(map(str, values)) or 'none'}"
            + ("" if ignore is None else f" and {ignore}, which is ignored"),
            allowed="two classes at least",
            fix="use --set ignore=none" if ignore is not None else "label more than one class",
        )


def _first_palette(part: Subset[Pairs]) -> tuple[tuple[int, int, int], ...]:
    try:
        return part.source.labels(int(part.indices[0])).colours
    except ImageError:  # reported where it is read to be learnt from
        return ()
