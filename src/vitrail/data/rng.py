"""Random numbers that depend on nothing but their key.

Every draw of a training run is a function of (seed, epoch, sample) or (seed, step), never of what
was drawn before. It is therefore the same in a run that is killed and resumed, or cut over more
processes.
"""

import numpy as np

_MASK = (1 << 64) - 1


def _mix(value: int) -> int:
    """One round of splitmix64 (Steele et al. 2014), which spreads neighbouring keys apart."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def key(*parts: int) -> int:
    """One 63-bit key for a tuple of whole numbers, fit for ``torch.manual_seed``."""
    state = 0
    for part in parts:
        state = _mix(state ^ (part & _MASK))
    return state >> 1


def _mix_array(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def uniforms(seed: int, indices: np.ndarray, count: int) -> np.ndarray:
    """Numbers in [0, 1), one row a sample; a row depends on the seed and that sample alone.

    Args:
        seed: key of the stream, for example ``key(run_seed, epoch)``.
        indices: the samples' numbers in the data set.
        count: how many numbers each sample needs.
    Returns:
        float64 array (samples, count).
    """
    rows = _mix_array(np.asarray(indices, dtype=np.uint64) ^ np.uint64(_mix(seed)))
    cells = _mix_array(rows[:, None] ^ _mix_array(np.arange(count, dtype=np.uint64)))
    return (cells >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, length: int) -> np.ndarray:
    """The numbers below ``length`` in an order that depends on the seed alone."""
    return np.random.Generator(np.random.Philox(seed)).permutation(length)
