"""Numbers that follow from a name and a shape alone, the same with every version of anything.

Raw output of PCG64, which numpy guarantees; torch's and numpy's distributions may change.
"""

import math
import zlib

import numpy as np


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 numbers of mean 0 and variance 1, seeded by ``name``."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(math.prod(shape))
    return ((raw >> np.uint64(11)) / 2.0**52 - 1).reshape(shape) * math.sqrt(3)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers for the parameter ``name``, of a size at which it matters."""
    noise = uniform(name, shape)
    if "table" in name:
        return 0.5 * noise
    if len(shape) > 1:
        return noise / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.3 * noise if "norm" in name and name.endswith("weight") else 0.3 * noise
