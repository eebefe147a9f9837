"""Groups that peers attend by, where those are not ours: an order of operations is an index."""

import torch

from vitrail.patterns import Groups, Window
from vitrail.patterns.lines import PADDING, arange, cross
from vitrail.shapes import Size


def rolled_then_padded(
    pattern: Window, spatial: Size, device: torch.device | None = None
) -> Groups:
    """Return timm's windows: the map is rolled, then padded, and padding joins the softmax.

    The mask is that of a padded, rolled map, so that tokens of opposite edges meet where the
    window does not divide the map (ADR 37).
    """
    window, shift = pattern.fit(spatial)
    tokens, sides = [], []
    for n, m, s in zip(spatial, window, shift, strict=True):
        place = arange(-(-n // m) * m, device)
        tokens.append(torch.where(place < n, (place + s) % n, PADDING))
        sides.append((place >= len(place) - s).int())
    index = cross(tokens, window, spatial)
    region = cross(sides, window, (2,) * len(spatial), marked=False)
    return Groups(index, index, region, region, unique_keys=True, extent=window)
