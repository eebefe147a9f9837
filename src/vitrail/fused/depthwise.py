"""A convolution of each channel on its own, as the kernels read it."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_WHOLE = 16  # channels are padded to a multiple, the longest vector


def depthwise_taps(
    weight: Float[Tensor, "channels 1 *kernel"], bias: Float[Tensor, " channels"] | None
) -> tuple[Float[Tensor, "27 padded"], Float[Tensor, " padded"]]:
    """Return a convolution's weight and bias as the kernels read them: in float32, padded.

    The kernel is three tokens long along each of up to three axes; axes that are not there have
    taps too, all but the middle one zero.
    """
    channels, axes = len(weight), weight.ndim - 2
    whole = weight.detach().float()[:, 0][(slice(None),) + (None,) * (3 - axes)]
    whole = F.pad(whole, [0, 0] * axes + [1, 1] * (3 - axes) + [0, -channels % _WHOLE])
    padded = whole.new_zeros(len(whole))
    if bias is not None:
        padded[:channels] = bias.detach()
    return whole.flatten(1).t().contiguous(), padded
