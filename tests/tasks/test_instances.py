import sys

import numpy as np
import pytest
import torch

from vitrail.errors import UsageError
from vitrail.tasks.instances import BORDER, INSIDE, Matches, match, objects_of, with_borders


def discs(spatial: tuple[int, ...], centres: list[tuple[int, ...]], radius: float) -> torch.Tensor:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in spatial), indexing="ij"), -1)
    numbers = np.zeros(spatial, dtype=np.int64)
    for number, centre in enumerate(centres, 1):
        far = np.sqrt(((grid - np.array(centre)) ** 2).sum(-1))
        numbers[(far <= radius) & (numbers == 0)] = number
    return torch.from_numpy(numbers)


CASES = (
    ((40,), [(8,), (17,), (30,)], 4.5),
    ((40, 44), [(12, 12), (12, 23), (30, 30)], 6.0),
    ((20, 24, 22), [(8, 8, 8), (8, 16, 8), (13, 12, 16)], 4.2),
)


@pytest.mark.parametrize(("spatial", "centres", "radius"), CASES)
def test_borders_part_objects_that_touch(spatial, centres, radius) -> None:
    """Objects of the classes are the objects that the classes were made of."""
    objects = discs(spatial, centres, radius)
    classes = with_borders(objects, 1)
    assert torch.equal(classes > 0, objects > 0)
    assert {INSIDE, BORDER} <= set(classes.flatten().tolist())
    found = objects_of(classes.numpy(), (classes == INSIDE).float().numpy(), 1)
    assert match(objects.numpy(), found) == Matches(3, 0, 0)
    assert (found == objects.numpy()).mean() > 0.97


def test_a_border_has_its_width() -> None:
    objects = torch.zeros(20, 20, dtype=torch.long)
    objects[3:17, 3:17] = 7
    for width in (1, 2, 3):
        inside = with_borders(objects, width) == INSIDE
        assert int(inside.sum()) == (14 - 2 * width) ** 2
    objects[:] = 7
    assert (with_borders(objects, 2) == INSIDE).all(), "the end of the input is no border"


def test_small_objects_keep_an_inside() -> None:
    objects = torch.zeros(20, 20, dtype=torch.long)
    objects[2:12, 2:12] = 1
    objects[15, 15] = 2
    objects[15:18, 2:5] = 3
    classes = with_borders(objects, 2)
    assert classes[15, 15] == INSIDE
    assert int((classes[15:18, 2:5] == INSIDE).sum()) == 1
    assert int((classes == INSIDE).sum()) == 36 + 2


def test_an_input_without_objects() -> None:
    nothing = torch.zeros(5, 6, dtype=torch.long)
    assert not with_borders(nothing, 2).any()
    assert not objects_of(nothing.numpy(), np.zeros((5, 6), np.float32), 1).any()
    assert match(nothing.numpy(), nothing.numpy()).precision == 1


def test_objects_that_are_too_small_are_left_out() -> None:
    labels = np.zeros((12, 12), dtype=np.int64)
    labels[0:4, 0:4], labels[8:10, 8:10], labels[6, 0] = INSIDE, INSIDE, BORDER
    inside = (labels == INSIDE).astype(np.float32)
    assert np.unique(objects_of(labels, inside, 1)).tolist() == [0, 1, 2]
    assert np.bincount(objects_of(labels, inside, 5).ravel()).tolist() == [144 - 16, 16]


def test_matches() -> None:
    true = np.zeros((10, 30), dtype=np.int64)
    true[0:4, 0:10], true[5:9, 0:10], true[0:4, 20:30] = 5, 9, 300
    found = np.zeros_like(true)
    found[0:4, 1:11] = 1  # shares 36 of 44
    found[5:9, 5:15] = 2  # shares 20 of 60
    assert match(true, found) == Matches(1, 1, 2)
    assert match(true, found).precision == 1 / 4
    assert match(found, true) == Matches(1, 2, 1)
    half = np.zeros_like(true)
    half[0:2, 0:10] = 1  # exactly half
    assert match(true, half).found == 0


def test_without_scikit_image(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(UsageError, match=r"without the package scikit-image[\s\S]*pip install"):
        objects_of(np.zeros((2, 2), np.int64), np.zeros((2, 2), np.float32), 1)
