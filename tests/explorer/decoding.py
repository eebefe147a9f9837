"""What tests read off a trace: coded rows of weights as the page decodes them, and the input."""

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from vitrail.explorer.arrays import Arrays
from vitrail.explorer.maps import Source


def decode_rows(codes: UInt8[np.ndarray, "*rows keys"]) -> Float[np.ndarray, "*rows keys"]:
    """Undo ``encode_rows``: ``q^2 / sum q^2``, right to within 0.004."""
    squares = codes.astype(np.float64) ** 2
    total = squares.sum(axis=-1, keepdims=True)
    return np.divide(squares, total, out=np.zeros_like(squares), where=total > 0)


def image_of(arrays: Arrays) -> Tensor:
    """Return the input that a trace's maps are made from."""
    assert isinstance(arrays.maps, Source)
    return arrays.maps.image
