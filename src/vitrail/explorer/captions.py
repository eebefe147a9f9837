"""What a page says of a pattern: a label, a drawing and one plain sentence or two for each block.

The page itself knows no pattern by name. A pattern that is not listed here describes itself by its
class name and the first line of its docstring.
"""

import math
from dataclasses import dataclass, replace

from vitrail.patterns import (
    Axial,
    Focal,
    Global,
    Grid,
    Nearest,
    Pattern,
    Pooled,
    Reduced,
    SparseFixed,
    SparseStrided,
    Window,
)
from vitrail.shapes import Size

_FRAME = "M1.5 1.5h13v13h-13z"
_BLOCKS = _FRAME + "M1.5 8h13M6 1.5v6.5M10 8v6.5"
_CORE = _FRAME + "M5 5h6v6h-6z"


@dataclass(frozen=True, slots=True)
class Caption:
    """How a page names and draws the attention of one block.

    Args:
        label: a word short enough for a button.
        title: what the block attends within, in a few words.
        text: what each token sees, in whole sentences.
        glyph: a path on a square of 16 by 16.
        group: what one group is called, where there can be several.
        second: of two kinds that take turns, this is the second; it has a colour of its own.
    """

    label: str
    title: str
    text: str
    glyph: str = _FRAME
    group: str | None = None
    second: bool = False


def caption(pattern: Pattern, spatial: Size) -> Caption:
    """Return what to say of ``pattern`` on a grid of ``spatial`` tokens, two axes of them."""
    said = _caption(pattern, spatial)
    if pattern.prefix:
        many = f"{pattern.prefix} prefix tokens" if pattern.prefix > 1 else "prefix token"
        said = replace(said, text=f"{said.text} The {many} beside the picture joins in.")
    return said


def _caption(pattern: Pattern, spatial: Size) -> Caption:
    match pattern:
        case Window():
            return _window(pattern, spatial)
        case Global():
            text = f"Standard attention: each of the {_times(spatial)} tokens sees every token."
            return Caption("full", "standard (global) attention", text)
        case Axial():
            return _axial(pattern, spatial)
        case Grid():
            return _grid(pattern, spatial)
        case SparseFixed() | SparseStrided():
            return _sparse(pattern, spatial)
        case Reduced() | Pooled():
            return _pooled(pattern, spatial)
        case Focal():
            return _focal(pattern, spatial)
        case Nearest():
            text = (
                f"The {_times(spatial)} tokens are cut into windows of {_times(pattern.window)}. "
                f"A window sees the {pattern.count} tokens nearest to its middle one by one, and "
                f"the {pattern.count} nearest windows as one key each (all, where there are fewer)."
            )
            return Caption("near", "focal (nearest keys)", text, _CORE, "window")
    name = type(pattern).__name__
    first = (type(pattern).__doc__ or name).strip().partition("\n")[0]
    return Caption(name, name, first, group="group")


def _window(pattern: Window, spatial: Size) -> Caption:
    window, shift = pattern.fit(spatial)
    padded = [-(-n // m) * m for n, m in zip(spatial, window, strict=True)]
    cut = f"The {_times(spatial)} tokens are cut into {_count(padded, window)} windows of "
    if all(n == m for n, m in zip(padded, window, strict=True)):
        text = (
            f"One window of {_times(window)} covers the whole {_times(spatial)} grid, so every "
            "token sees every other, and there is nothing to shift."
        )
    elif any(shift):
        text = (
            f"{cut}{_times(window)}, after a shift of {shift[0]} down and {shift[1]} to the right. "
            "Windows at the edges wrap around; their parts (dashed) do not see each other."
        )
    else:
        text = f"{cut}{_times(window)}. Each token sees its own window and nothing else."
    if list(spatial) != padded:
        text += _padding([p - n for n, p in zip(spatial, padded, strict=True)], pattern.padding)
    if any(shift):
        glyph = _FRAME + "M4.8 1.5v13M1.5 4.8h13M11.3 1.5v13M1.5 11.3h13"
        return Caption("SW", "shifted windows", text, glyph, "window", second=True)
    return Caption("W", "windows", text, _FRAME + "M8 1.5v13M1.5 8h13", "window")


def _padding(extra: list[int], padding: str) -> str:
    sides = zip(extra, ("row", "column"), ("at the bottom", "at the right"), strict=True)
    edges = " and ".join(f"{_plural(n, line)} {where}" for n, line, where in sides if n)
    fate = (
        "this model lets the padding take part in attention"
        if padding == "visible"
        else "no token sees the padding"
    )
    return f" The grid is padded by {edges} (dotted) to fit the windows; {fate}."


def _grid(pattern: Grid, spatial: Size) -> Caption:
    strides = pattern.fit(spatial)
    size = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
    text = (
        f"Each of the {_times(spatial)} tokens sees tokens spread over the whole grid, "
        f"{_plural(strides[0], 'row')} and {_plural(strides[1], 'column')} apart: "
        f"{_plural(math.prod(strides), 'group')} of up to {_times(size)} tokens."
    )
    if any(n % s for n, s in zip(spatial, strides, strict=True)):
        text += " Groups that reach beyond the edge are shorter; no token sees the padding."
    dots = "".join(f"M{x} {y}h1.6" for y in (3, 8, 13) for x in (2, 7, 12))
    return Caption("grid", "a grid of strided tokens", text, dots, "group", second=True)


def _axial(pattern: Axial, spatial: Size) -> Caption:
    lines, length = pattern.fit(spatial)
    line = ("column", "row")[pattern.axis]
    text = (
        f"Axial attention: each of the {_times(spatial)} tokens sees its own {line} alone: "
        f"{_plural(lines, line)} of {_plural(length, 'token')}."
    )
    bars = ("M5.8 1.5v13M10.2 1.5v13", "M1.5 5.8h13M1.5 10.2h13")[pattern.axis]
    return Caption(line, f"axial, {line}s", text, _FRAME + bars, line, second=pattern.axis == 1)


def _sparse(pattern: SparseFixed | SparseStrided, spatial: Size) -> Caption:
    blocks, block = pattern.fit(spatial)
    cut = (
        f"Sparse attention: the {_times(spatial)} tokens, row after row, make one list, cut into "
        f"{_plural(blocks, 'block')} of {block}. Each token sees "
    )
    if isinstance(pattern, SparseFixed):
        text = f"{cut}its own block, and the last token of every other."
        return Caption("fixed", "sparse (fixed)", text, _BLOCKS + "M13 3h1", "block")
    if pattern.part == "local":
        text = f"{cut}its own block and nothing else."
        return Caption("block", "sparse (strided), blocks", text, _BLOCKS, "block")
    text = f"{cut}the tokens at the same place of every block: one in every {block} tokens."
    dots = "".join(f"M{x} {y}h1.6" for y in (3, 8, 13) for x in (2, 7, 12))
    return Caption("stride", "sparse (strided), strides", text, dots, "group", second=True)


def _pooled(pattern: Reduced | Pooled, spatial: Size) -> Caption:
    whole = f"Each of the {_times(spatial)} tokens sees the whole picture, but coarsely: "
    if isinstance(pattern, Pooled):
        text = (
            f"{whole}its keys are the grid averaged down to {_times(pattern.size)} cells, whatever "
            "its size; cells overlap where they do not divide the grid."
        )
        return Caption(
            "pooled",
            "spatial reduction, pooled keys",
            text,
            _FRAME + "M5.8 1.5v13M10.2 1.5v13M1.5 8h13",
        )
    cells = pattern.fit(spatial)
    text = (
        f"{whole}its keys are {_times(cells)} cells, each made of {_times(pattern.reduction)} "
        "tokens by a convolution."
    )
    left = [max(0, n - c * r) for n, c, r in zip(spatial, cells, pattern.reduction, strict=True)]
    if any(left):
        text += " What is left over at the bottom or the right is a query, and no key."
    return Caption("SRA", "spatial reduction", text, _FRAME + "M8 1.5v13M1.5 8h13")


def _focal(pattern: Focal, spatial: Size) -> Caption:
    text = (
        f"The {_times(spatial)} tokens are cut into windows of {_times(pattern.window)}. A window "
        f"sees its own tokens and those up to {' and '.join(map(str, sorted(set(pattern.margin))))}"
        " away one by one"
    )
    cells = [tuple(m // 2**k for m in pattern.window) for k in range(len(pattern.levels))]
    if cells:
        coarse = ", then of ".join(_times(cell) for cell in cells)
        text += f"; beside them, a wider surrounding as cells of {coarse} tokens"
    if pattern.halo == "rolled":
        text += ". As in the official code, some are seen twice, and borders wrap around"
    return Caption(
        "focal", "focal (fine and coarse keys)", f"{text}.", _CORE + "M7.5 8h1", "window"
    )


def _times(size: Size | list[int]) -> str:
    return "\u00a0×\u00a0".join(map(str, size))


def _count(padded: list[int], window: Size) -> int:
    total = 1
    for n, m in zip(padded, window, strict=True):
        total *= n // m
    return total


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"
