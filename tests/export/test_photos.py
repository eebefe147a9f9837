"""Photos that an exported file is compared on."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.support import refuses, small
from vitrail.export import export_pt2
from vitrail.export.photos import own_photos, photo_inputs


def test_photos_come_as_the_model_wants_them() -> None:
    model = small("2-D")
    given = list(photo_inputs(model, None, (16, 24), dynamic=True))
    assert [name for name, _ in given] == ["chelsea.png", "chelsea.png", "coffee.png", "rocket.jpg"]
    # The first one in its own proportions too: 300 x 451 pixels, the shorter side 16.
    shapes = [tuple(x.shape[2:]) for _, x in given]
    assert shapes == [(16, 24), (16, 24), (16, 24), (16, 24)]
    wide = list(photo_inputs(model, None, (40, 24), dynamic=True))
    assert [tuple(x.shape[2:]) for _, x in wide][:2] == [(40, 24), (24, 36)]
    for _, x in given:
        assert 0.2 < x.std() < 3
    assert len(list(photo_inputs(model, None, (16, 24), dynamic=False))) == 3


def test_a_photo_of_one_s_own(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (255, 0, 0)).save(tmp_path / "red.png")
    model = small("2-D")
    ((name, x),) = photo_inputs(model, [tmp_path / "red.png"], (8, 8), dynamic=False)
    assert name == "red.png"
    mean, std = (torch.tensor(values) for values in
                 (model.preprocessing.mean, model.preprocessing.std))  # fmt: skip
    expected = (torch.tensor([1.0, 0, 0]) - mean) / std
    torch.testing.assert_close(x[0, :, 4, 4], expected)
    with refuses("none.png", "path"):
        list(photo_inputs(model, [tmp_path / "none.png"], (8, 8), dynamic=False))


def test_a_photo_that_cannot_be_read_is_known_before_exporting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("torch.export.export")
    (tmp_path / "text.png").write_text("no picture")
    for name, fix in (("none.png", "path"), ("text.png", "")):
        with refuses(name, fix):
            export_pt2(small("2-D"), tmp_path / "m.pt2", (16, 24), photos=[tmp_path / name])


@pytest.mark.parametrize("kind", ["1-D", "3-D"])
def test_a_model_of_no_images_gets_none(kind: str) -> None:
    assert not list(photo_inputs(small(kind), None, (16, 16), dynamic=False))


def test_without_the_package_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(own_photos()) == 3
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert own_photos() == []
