"""Features as colours: three numbers a token that separate tokens as well as three numbers can."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

# Spread shown on either side of the mean; what lies beyond takes the last colour.
_DEVIATIONS = 2.5
SAMPLE = 2**16  # tokens, at most, that the components are found from


def principal_colours(features: Float[Tensor, "*spatial dim"]) -> UInt8[Tensor, "*spatial 3"]:
    """Return the first three principal components of some features as red, green and blue.

    Each component has a scale of its own: 127.5 is the mean, 0 and 255 are two and a half standard
    deviations away. The sign of a component says nothing; the one taken here makes the channel that
    counts most count as more, so that the same features always have the same colours. A component
    without spread (fewer channels, or equal tokens) is 128 everywhere. Of a large grid, mean and
    components are those of ``SAMPLE`` tokens, evenly spread.

    Args:
        features: of the tokens of a grid, prefix tokens not included.
    """
    flat = features.detach().flatten(0, -2)
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    some = flat[:: -(-len(flat) // SAMPLE)].double()
    mean = some.mean(0)
    some = some - mean
    values, vectors = torch.linalg.eigh(some.mT @ some / len(some))
    # From the largest spread to the smallest; eigh has them the other way round.
    values, vectors = values.flip(0)[:3], vectors.flip(1)[:, :3]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    # Spread that is a rounding error of the largest would be noise blown up to full colours.
    spread = values.clamp(min=0).sqrt()
    shown = spread > 1e-6 * max(float(spread[0]), 1e-30)
    scale = torch.where(shown, 127.5 / (_DEVIATIONS * spread.where(shown, 1)), 0)
    levels = (flat - mean.to(flat.dtype)) @ (vectors * largest.sign() * scale).to(flat.dtype)
    colours = torch.full((len(flat), 3), 128, dtype=torch.uint8, device=features.device)
    colours[:, : levels.shape[1]] = (127.5 + levels).round().clamp(0, 255).to(torch.uint8)
    return colours.reshape(*features.shape[:-1], 3).cpu()
