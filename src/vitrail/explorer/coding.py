"""Numbers as they travel inside a report: weights in 8 bits, arrays in gzip and base64."""

import base64
import gzip

import numpy as np
from jaxtyping import Float, UInt8


def encode_rows(weights: Float[np.ndarray, "*rows keys"]) -> UInt8[np.ndarray, "*rows keys"]:
    """Code each row of weights in 8 bits: ``q = round(255 sqrt(p / max p))``.

    Args:
        weights: rows that sum to one; a row of zeros stays zeros.
    Returns:
        Codes; as a row sums to one, its scale need not be kept.
    """
    most = weights.max(axis=-1, keepdims=True)
    share = np.divide(weights, most, out=np.zeros_like(weights), where=most > 0)
    return np.rint(255 * np.sqrt(share)).astype(np.uint8)


def pack(array: np.ndarray) -> str:
    """Return an array's bytes, little-endian, in gzip and base64; equal arrays pack equally."""
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return base64.b64encode(gzip.compress(data, compresslevel=9, mtime=0)).decode("ascii")
