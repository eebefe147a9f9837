"""Boxes and masks move as their image does, by the key alone."""

import numpy as np
import pytest
import torch

from vitrail.data.box_motion import BoxMotion, fitted, moved

SHAPE = (60, 80)
BOXES = torch.tensor([[10.0, 20.0, 30.0, 50.0], [50.0, 5.0, 75.0, 25.0], [0.0, 0.0, 80.0, 60.0]])


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """An image that is 1 + n inside box n, and the mask of each; the last one is the ground."""
    masks = torch.zeros(3, *SHAPE, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, BOXES.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    image = (masks[0] * 1.0 + masks[1] * 2.0)[None].repeat(3, 1, 1)
    return image, masks


def around(place: torch.Tensor) -> list[float]:
    rows, columns = place.nonzero(as_tuple=True)
    return [float(n) for n in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


@pytest.mark.parametrize("seed", range(12))
def test_boxes_and_masks_stay_on_their_objects(seed) -> None:
    image, masks = scene()
    motion = BoxMotion(size=(48, 64), scale=1.5, flip="all", visible=0.2)
    found = motion(image, BOXES, masks, seed)
    assert found.image.shape == (3, 48, 64)
    assert found.masks is not None
    assert len(found.boxes) == len(found.kept) == len(found.masks)
    for box, number, mask in zip(found.boxes, found.kept.tolist(), found.masks, strict=True):
        torch.testing.assert_close(box, torch.tensor(around(mask)), atol=1.01, rtol=0)
        if number < 2:
            shown = (found.image[0] - (1 + number)).abs() < 0.2
            assert (shown & (mask > 0)).sum() > 0.7 * mask.sum()
    again = motion(image, BOXES, masks, seed)
    assert torch.equal(found.image, again.image)
    assert torch.equal(found.boxes, again.boxes)


def test_every_draw_is_used() -> None:
    image, _ = scene()
    motion = BoxMotion(size=(60, 80), scale=1.5, flip="all")
    seen = [motion(image, BOXES, None, seed) for seed in range(40)]
    middles = torch.stack([(one.boxes[0, :2] + one.boxes[0, 2:]) / 2 for one in seen])
    assert (middles[:, 0] < 40).float().mean() not in (0, 1), "left and right"
    assert (middles[:, 1] < 30).float().mean() not in (0, 1), "up and down"
    still = BoxMotion(size=(60, 80))(image, BOXES, None, 3)
    assert torch.equal(still.image, image)
    assert torch.equal(still.boxes, BOXES)


def test_an_object_that_is_mostly_cut_away_is_none() -> None:
    image, masks = scene()
    found = moved(image, BOXES, masks, SHAPE, (0, 28), (60, 52), visible=0.3)
    assert found.kept.tolist() == [1, 2], "2 of 20 columns of the first are left"
    assert found.boxes.tolist() == [[22, 5, 47, 25], [0, 0, 52, 60]]
    everything = moved(image, BOXES, masks, SHAPE, (0, 28), (60, 52))
    assert everything.kept.tolist() == [0, 1, 2]
    assert moved(image, BOXES, masks, (3, 4)).kept.tolist() == [0, 1, 2]
    assert moved(image, BOXES, masks, (1, 2)).kept.tolist() == [2], "others are below one sample"


def test_an_image_without_objects() -> None:
    image, masks = scene()
    found = BoxMotion(size=(20, 20), flip="last")(image, BOXES[:0], masks[:0], 1)
    assert found.boxes.shape == (0, 4)
    assert found.masks is not None
    assert found.masks.shape == (0, 20, 20)


def test_the_largest_size_in_its_own_proportions() -> None:
    assert fitted((480, 640), (240, 320)) == (240, 320)
    assert fitted((100, 10), (50, 50)) == (50, 5)
    assert fitted((10, 1000), (64, 64)) == (1, 64)
    assert fitted((100, 100), (50, 80), 1.2) == (60, 60)
    rng = np.random.default_rng(0)
    for image in rng.integers(1, 900, (50, 2)).tolist():
        lengths = fitted(tuple(image), (64, 48))
        assert lengths[0] == 64 or lengths[1] == 48
        assert lengths[0] <= 64 and lengths[1] <= 48
