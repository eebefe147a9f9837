"""Objects in the windows of a model, beside every place that they can have."""

import numpy as np
import pytest

import vitrail
from tests.tasks.boxes import write_boxes
from vitrail.analysis import QUANTILES, quantiles, stage_fits
from vitrail.data.boxes import open_boxes
from vitrail.tasks import task_named
from vitrail.tasks.instances import extents_of


def test_a_share_is_that_of_all_places() -> None:
    """Objects of 3 x 8 and 12 x 12 samples, put at every place of a grid of fine steps."""
    cost = vitrail.cost("swin_nano", (64, 64))
    extents = np.array([[3.0, 8.0], [12.0, 12.0]])
    windows = ((4, 6), (4, 6), (4, 6))
    for stage, found in zip(cost.stages, stage_fits(cost, extents, windows), strict=True):
        width = np.array(stage.stride) * np.array([4, 6])
        shares, fits = [], []
        for lengths in extents:
            inside = 1.0
            for axis in (0, 1):
                starts = (np.arange(4000) + 0.5) / 4000 * width[axis]
                inside *= (starts + lengths[axis] <= width[axis]).mean()
            shares.append(inside)
            fits.append(bool((lengths <= width).all()))
        assert found.whole == pytest.approx(np.mean(shares), abs=1e-3)
        assert found.fits == np.mean(fits)
        assert found.tokens[QUANTILES.index(1.0)] == 12 / stage.stride[0]
        assert found.needed == np.ceil(12 / stage.stride[0])


def test_quantiles_are_lengths_of_objects() -> None:
    lengths = np.array([[n, 1] for n in range(1, 11)], dtype=float)
    assert quantiles(lengths) == (1.0, 3.0, 5.0, 8.0, 9.0, 10.0)


def test_boxes_are_objects(tmp_path) -> None:
    source = open_boxes([str(write_boxes(tmp_path / "set.zip", 1))])
    boxes = source.objects(0).boxes
    sides = np.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], 1)
    found = task_named("detect").extents(source, 0)
    assert np.allclose(found, sides[~source.objects(0).crowd])


def test_what_hangs_together_is_one_object() -> None:
    labels = np.zeros((6, 7), dtype=np.uint16)
    labels[0:2, 0:3] = 5
    labels[2, 3] = 5  # by a corner
    labels[4:6, 0:2] = 5  # apart
    labels[4:6, 2] = 9  # beside, of another label
    assert sorted(map(tuple, extents_of(labels))) == [(2, 1), (2, 2), (3, 4)]
    assert extents_of(np.zeros((4, 4, 4), dtype=np.uint16)).shape == (0, 3)
