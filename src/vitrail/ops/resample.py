"""Bring a grid of values to other lengths."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.ops.windows import known_zero
from vitrail.shapes import Size

# What torch offers for each number of axes; the official code uses bicubic for images.
_MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}


def resize_grid(
    x: Float[Tensor, "batch *spatial channels"], spatial: Size
) -> Float[Tensor, "batch *resized channels"]:
    """Interpolate a grid smoothly: linear in 1-D, bicubic in 2-D, trilinear in 3-D.

    Args:
        x: values on a grid.
        spatial: lengths wanted.
    Returns:
        Values on a grid of those lengths; ``x`` itself where they are its own.
    """
    if known_zero(*(n - m for n, m in zip(x.shape[1:-1], spatial, strict=True))):
        return x
    mode = _MODES[len(spatial)]
    x = F.interpolate(x.movedim(-1, 1), size=tuple(spatial), mode=mode, align_corners=False)
    return x.movedim(1, -1)
