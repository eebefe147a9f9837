import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.tasks.pairs import pair
from vitrail.data.images import Photo, decode_labels
from vitrail.errors import UsageError
from vitrail.models import TaskModel
from vitrail.tasks import task_of
from vitrail.tasks.segment import Objects, Segment
from vitrail.tasks.segment_options import SegmentOptions
from vitrail.tasks.segmentation import Segmentation, default_colours, outlines

LABELS = np.arange(30).reshape(5, 6) % 3
PHOTO = Photo(Image.new("RGB", (6, 5), (100, 100, 100)), ("a note",))


def answer(**changes) -> Segmentation:
    made = Segmentation(
        LABELS, ("a", "b", "c"), (0, 7, 9), ("#000000", "#ff0000", "#00ff00"), PHOTO
    )
    return replace(made, **changes)


def test_numbers() -> None:
    found = answer().as_dict()
    assert found["size"] == [5, 6]
    assert found["notes"] == ["a note"]
    assert found["classes"][1] == {"class": "b", "index": 1, "pixels": 10, "share": 1 / 3}
    assert "objects" not in found
    assert answer(objects=LABELS).as_dict()["objects"] == 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_saved_mask_is_a_label_map(tmp_path, suffix) -> None:
    """What is written can be learnt from: labels as they were, palette and all."""
    path = answer().save(tmp_path / f"mask.{suffix}")
    read = decode_labels(path.read_bytes(), "x")
    assert np.array_equal(read.numbers, np.array([0, 7, 9])[LABELS])
    assert [read.colours[n] for n in (0, 7, 9)] == [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    path = answer(values=(0, 300, 9)).save(tmp_path / f"deep.{suffix}")
    numbers = decode_labels(path.read_bytes(), "x").numbers
    assert np.array_equal(numbers, np.array([0, 300, 9])[LABELS])
    path = answer(objects=LABELS * 30_000).save(tmp_path / f"objects.{suffix}")
    assert np.array_equal(decode_labels(path.read_bytes(), "x").numbers, LABELS * 30_000)


def test_pictures_and_numbers_are_saved_by_their_endings(tmp_path) -> None:
    for suffix in ("jpg", "webp"):
        with Image.open(answer().save(tmp_path / f"a.{suffix}")) as picture:
            assert picture.mode == "RGB"
    found = answer()
    path = found.save(tmp_path / "a.json")
    assert json.loads(path.read_text()) == found.as_dict()
    with pytest.raises(UsageError, match=r"a\.bmp[\s\S]*write '.*a\.png'"):
        answer().save(tmp_path / "a.bmp")


def test_drawing() -> None:
    page = np.asarray(answer().draw())
    assert (page[LABELS == 0] == 100).all()
    assert (page[LABELS == 1, 0] > 150).all()
    assert (np.asarray(answer(background=False).draw())[LABELS == 0] < 100).all()
    objects = np.zeros((5, 6), dtype=np.int64)
    objects[1:4, 1:4], objects[1:4, 4:] = 1, 2
    page = np.asarray(answer(objects=objects).draw())
    edge = outlines(objects)
    assert not edge[objects == 0].any()
    assert edge[1:4, 3:5].all()
    assert not edge[2, 2]
    colours = {tuple(c) for c in page[edge].tolist()}
    assert colours == {tuple(bytes.fromhex(c[1:])) for c in default_colours(3)[1:]}


def test_more_objects_than_a_mask_can_number() -> None:
    with pytest.raises(UsageError, match=r"70,000 objects[\s\S]*raise the task's option least"):
        answer(objects=np.full((5, 6), 70_000)).mask()


# ---- from a model ----------------------------------------------------------------------------


@pytest.fixture
def model(tiny_model) -> TaskModel:
    made = tiny_model["segment"]
    assert isinstance(made, TaskModel)
    nn.init.normal_(made.get_parameter("head.classify.weight"))
    return made


def test_a_photo_of_any_size(model) -> None:
    task = task_of(model)
    assert isinstance(task, Segment)
    for size in ((5, 9), (33, 47), (16, 16)):
        photo = Image.fromarray(pair(0, (40, 50))[0]).resize((size[1], size[0]))
        found = task.predict(model, task.read(photo))
        assert found.labels.shape == size
        x = torch.from_numpy(np.array(photo)).movedim(-1, 0) / 255
        with torch.no_grad():
            logits = model.eval()(task.normalised(x, model.preprocessing)[None])
        assert np.array_equal(found.labels, logits[0].argmax(0).numpy())


def test_a_large_photo_by_tiles(model, monkeypatch) -> None:
    """Where each pixel is answered by itself, tiles change nothing."""
    seen: list[int] = []

    def pointwise(x):
        seen.append(max(x.shape[2:]))
        return x.flip(1)

    monkeypatch.setattr(model, "forward", pointwise)
    photo = task_of(model).read(Image.fromarray(pair(0, (61, 45))[0]))
    found = []
    for more in ({}, {"tile": 16, "overlap": 0.5}):
        options = SegmentOptions(values=(0, 1, 2), **more)
        found.append(Segment(("a", "b", "c"), options).predict(model, photo).labels)
    assert np.array_equal(*found)
    assert len(np.unique(found[0])) == 3
    assert seen[0] == 61
    assert max(seen[1:]) == 16


def test_at_another_size(model) -> None:
    task = task_of(model)
    photo = task.read(Image.fromarray(pair(0, (40, 50))[0]))
    found = task.predict(model, photo, (20, 25))
    assert isinstance(found, Segmentation)
    assert found.labels.shape == (40, 50)
    own = task.predict(model, photo)
    assert isinstance(own, Segmentation)
    assert not np.array_equal(found.labels, own.labels)


def test_objects_of_a_photo(model) -> None:
    options = {"instances": True, "ignore": None, "least": 1}
    model.task = replace(model.task, options=options)
    model.preprocessing = replace(model.preprocessing, classes=("background", "inside", "border"))
    task = task_of(model)
    assert isinstance(task, Objects)
    found = task.predict(model, task.read(Image.fromarray(pair(0)[0])))
    assert found.objects is not None
    assert found.objects.shape == found.labels.shape == (24, 20)
    assert found.classes == ("background", "object")
    assert np.array_equal(found.labels, found.objects > 0)


def test_outputs_that_are_not_finite(model) -> None:
    nn.init.constant_(model.get_parameter("head.classify.bias"), float("inf"))
    task = task_of(model)
    with pytest.raises(UsageError, match="logits are not finite"):
        task.predict(model, task.read(Image.fromarray(pair(0)[0])))
