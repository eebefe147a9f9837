"""What windows cost in quality."""

import importlib.util
from typing import Any, cast

import pytest
import torch

from tests.support import refuses, small
from vitrail.bench.tradeoffs import agreement_without_unshift, photos, seams, unshifted
from vitrail.weights import load_backbone


def test_the_shift_hides_the_seams_of_trained_windows() -> None:
    model = load_backbone("bundled")
    images = photos(model, (64, 64), 2)
    on = seams(model, images, shifted=True)
    off = seams(model, images, shifted=False)
    assert [seam.stage for seam in on] == [seam.stage for seam in off] == [0, 1, 2]
    for one, other in zip(on, off, strict=True):
        assert one.ratio < other.ratio
    assert off[0].ratio > 1.05


def test_one_window_has_no_seam() -> None:
    model = small("2-D")
    images = torch.randn(1, 3, 6, 8)
    assert [seam.stage for seam in seams(model, images, shifted=True)] == []


def test_unshifted_is_a_copy_without_shifts() -> None:
    model: Any = small("2-D")
    before = model.stages[0].blocks[1].attn.pattern
    copy = cast(Any, unshifted(model))
    assert copy.stages[0].blocks[1].attn.pattern.shift == (0, 0)
    assert model.stages[0].blocks[1].attn.pattern is before and any(before.shift)


def test_answers_change_without_the_unshift_and_only_then() -> None:
    model = small("2-D")
    images = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(images)
        assert agreement_without_unshift(model, images) < 0.999
        assert torch.equal(model(images), before)
    assert agreement_without_unshift(unshifted(model), images) == pytest.approx(1)


def test_photos_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with refuses("scikit-image", "pip install"):
        photos(small("2-D"), (32, 32))
