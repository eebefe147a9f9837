"""Masks as COCO stores them, beside faster-coco-eval's own, and what is no such mask."""

import numpy as np
import pytest

from vitrail.data.rle import ShapeError, coco_masks, mask_of, run_lengths


def drawn(number: int) -> np.ndarray:
    noise = np.random.default_rng(number)
    return noise.random(noise.integers(1, 40, 2)) < noise.random()


def test_run_lengths_are_cocos() -> None:
    library = coco_masks()
    for mask in (*map(drawn, range(100)), np.zeros((3, 4), bool), np.ones((300, 200), bool)):
        ours = run_lengths(mask)
        theirs = library.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert ours == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
        assert (mask_of(ours, mask.shape) == mask).all()
        assert (mask_of({**ours, "counts": theirs["counts"]}, mask.shape) == mask).all()


def test_run_lengths_as_numbers() -> None:
    assert mask_of({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3)).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_polygons_are_filled_and_cut_at_the_image() -> None:
    square = [1, 2, 4, 2, 4, 5, 1, 5]
    mask = mask_of([square], (8, 6))
    assert mask[2:5, 1:4].all()
    assert mask.sum() == 9
    both = mask_of([square, [-100, 6, 3, 6, 3, 1e6, -100, 1e6]], (8, 6))
    assert both.sum() == 9 + 2 * 3
    assert both[6:, :3].all()


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        (None, "neither polygons"),
        ([], "neither polygons"),
        ([[1, 2, 3, 4]], "three corners"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three corners"),
        ([["a"] * 6], "no numbers"),
        ([[float("nan")] * 6], "no finite numbers"),
        ([[0.0] * 6] * 200_000, "polygons of more than"),
        ({"size": [4, 5], "counts": [20]}, r"size \[4, 5\], not \[2, 3\]"),
        ({"size": [2, 3]}, "without counts"),
        ({"size": [2, 3], "counts": [1, 4]}, "of 5 pixels for 6"),
        ({"size": [2, 3], "counts": [-1, 7]}, "no whole numbers"),
        ({"size": [2, 3], "counts": [1.0, 5]}, "no whole numbers"),
        ({"size": [2, 3], "counts": "oooooooooooooooo"}, "damaged text"),
        ({"size": [2, 3], "counts": "\x00"}, "damaged text"),
        ({"size": [2, 3], "counts": "o"}, "damaged text"),
    ],
)
def test_what_is_no_mask(shape, why) -> None:
    with pytest.raises(ShapeError, match=why):
        mask_of(shape, (2, 3))
