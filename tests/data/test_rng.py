import numpy as np
import pytest

from vitrail.data.rng import key, permutation, uniforms


def test_keys_differ_and_fit_a_seed() -> None:
    keys = {key(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(keys) == 1000
    assert all(0 <= k < 2**63 for k in keys)
    assert key(1, 2) != key(2, 1)
    assert key(-1) == key(-1) != key(1)


def test_keys_do_not_change_between_versions() -> None:
    """A run that was begun with an older version goes on with the same numbers."""
    assert key(0, 1, 2) == 3384391416029321617
    assert uniforms(5, np.array([3]), 2)[0] == pytest.approx([0.5639204844, 0.2863191243], abs=1e-9)


def test_a_row_depends_on_its_sample_alone() -> None:
    everything = uniforms(7, np.arange(100), 4)
    some = uniforms(7, np.array([40, 3]), 4)
    assert np.array_equal(some, everything[[40, 3]])
    assert not np.array_equal(everything, uniforms(8, np.arange(100), 4))


def test_numbers_are_uniform() -> None:
    numbers = uniforms(1, np.arange(20_000), 3)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.allclose(numbers.mean(0), 0.5, atol=0.01)
    assert np.allclose(np.corrcoef(numbers.T), np.eye(3), atol=0.03)
    counts = np.histogram(numbers[:, 0], 10, (0, 1))[0]
    assert counts.min() > 1800


def test_permutation() -> None:
    assert sorted(permutation(3, 50)) == list(range(50))
    assert np.array_equal(permutation(3, 50), permutation(3, 50))
    assert not np.array_equal(permutation(3, 50), permutation(4, 50))
