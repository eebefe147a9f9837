"""Windows read off the shapes of bias tables."""

import math

from vitrail.shapes import Size


def window_of_rows(rows: int, axes: int) -> Size | None:
    """Return the window whose bias table has ``rows`` rows, if the number alone determines it.

    One axis: always. Two: the square window. Three: the window whose height equals its width, if
    there is but one such (a time of one frame is not considered).
    """
    if axes == 1:
        return ((rows + 1) // 2,) if rows % 2 == 1 else None
    if axes == 2:
        side = math.isqrt(rows)
        return ((side + 1) // 2,) * 2 if side * side == rows and side % 2 == 1 else None
    fitting = []
    for side in range(3, math.isqrt(rows) + 1, 2):
        time, rest = divmod(rows, side * side)
        if rest == 0 and time % 2 == 1 and time > 1:
            fitting.append(((time + 1) // 2, (side + 1) // 2, (side + 1) // 2))
    return fitting[0] if len(fitting) == 1 else None
