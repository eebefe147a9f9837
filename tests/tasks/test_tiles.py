import itertools

import pytest
import torch

from vitrail.errors import UsageError
from vitrail.tasks.tiles import bands, cuts, tiled

CASES = (
    ((37,), (10,), 0.25),
    ((37, 23), (16, 9), 0.5),
    ((8, 30), (16, 16), 0.25),
    ((13, 9, 11), (5, 4, 11), 0.3),
)


@pytest.mark.parametrize("length", [1, 2, 7, 64, 65, 100])
@pytest.mark.parametrize("tile", [1, 2, 7, 64])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_weights_sum_to_one_everywhere(length, tile, overlap) -> None:
    found = cuts(length, tile, overlap)
    size = min(length, tile)
    total = torch.zeros(length, dtype=torch.float64)
    for start, weights in zip(found.starts, found.weights, strict=True):
        assert 0 <= start <= length - size
        assert (weights > 0).all()
        total[start : start + size] += weights
    assert torch.allclose(total, torch.ones_like(total), atol=1e-12)
    steps = [b - a for a, b in itertools.pairwise(found.starts)]
    assert all(0 < step <= max(1, int(size * (1 - overlap))) for step in steps)


@pytest.mark.parametrize(("spatial", "tile", "overlap"), CASES)
def test_a_pointwise_model_gives_the_same(spatial, tile, overlap) -> None:
    x = torch.randn(2, 3, *spatial, dtype=torch.float64)
    seen: list[tuple[int, ...]] = []

    def forward(part):
        seen.append(tuple(part.shape[2:]))
        return torch.stack([part.sum(1), part.prod(1)], 1)

    whole = forward(x)
    seen.clear()
    assert torch.allclose(tiled(forward, x, tile, overlap), whole, atol=1e-12)
    assert all(n <= t for shape in seen for n, t in zip(shape, tile, strict=True))
    assert len(seen) > 1


def test_each_tile_counts_by_its_weights() -> None:
    """Of a model that numbers its calls, each place is the weighted mean of its tiles."""
    calls = iter(range(100))
    x = torch.zeros(1, 1, 10, dtype=torch.float64)
    found = tiled(lambda part: torch.full_like(part, float(next(calls))), x, (4,), 0.5)[0, 0]
    axis = cuts(10, 4, 0.5)
    wanted = torch.zeros(10, dtype=torch.float64)
    for number, (start, weights) in enumerate(zip(axis.starts, axis.weights, strict=True)):
        wanted[start : start + 4] += number * weights
    assert torch.allclose(found, wanted)


def test_a_small_input_is_one_call() -> None:
    x = torch.randn(1, 2, 5, 6)
    model = torch.nn.Conv2d(2, 3, 3, padding=1)
    assert torch.equal(tiled(model, x, (8, 8)), model(x))


def test_bands_come_in_order_and_do_not_wait_for_the_last_tile() -> None:
    x = torch.randn(1, 1, 40, 12, dtype=torch.float64)
    calls: list[int] = []

    def forward(part):
        calls.append(1)
        return part.clone()

    given = bands(forward, x, (10, 12), 0.5)
    first = next(given)
    assert len(calls) == 1
    assert torch.allclose(torch.cat([first, *given], 2), x, atol=1e-12)


def test_bands_leave_what_was_given_alone() -> None:
    x = torch.ones(1, 1, 9, 9)
    given = x.clone()
    list(bands(lambda part: part, x, (4, 4), 0.5))
    assert torch.equal(x, given)


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0.25), (8, 1.0), (8, -0.1)])
def test_tiles_that_cannot_be(tile, overlap) -> None:
    with pytest.raises(UsageError, match=r"tile=\d[\s\S]*use tile=512, overlap=0\.25"):
        cuts(20, tile, overlap)
