"""Data whose classes are not the model's, nothing that can be read, and folders of another task."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitrail
from tests.support import refuses
from vitrail.data.pairs import open_pairs
from vitrail.tasks.classify import Classify
from vitrail.tasks.segment import Segment
from vitrail.tasks.segment_options import SegmentOptions

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}


def pairs(root: Path, classes: str = "", images: int = 2) -> str:
    for number in range(images):
        for part in ("images", "labels"):
            (root / part).mkdir(parents=True, exist_ok=True)
        grey = np.full((9, 11), 90 + number, np.uint8)
        Image.fromarray(grey).convert("RGB").save(root / f"images/{number}.png")
        Image.fromarray((np.arange(99).reshape(9, 11) % 2).astype(np.uint8)).save(
            root / f"labels/{number}.png"
        )
    if classes:
        (root / "classes.txt").write_text(classes)
    return str(root)


def opened(root: Path, classes: str):
    return Segment.open([pairs(root, classes)], train=False, root=root, download=False)


def test_a_list_in_another_order_is_refused_to_measure_on(tmp_path) -> None:
    task = Segment(("ground", "cell"), SegmentOptions(values=(0, 1)))
    task.check(opened(tmp_path / "same", "ground\ncell\n"))
    task.check(opened(tmp_path / "none", ""))
    for name, classes in (("turned", "cell\nground\n"), ("more", "ground\ncell\nrim\n")):
        with refuses("data with the classes", "correct the list"):
            task.check(opened(tmp_path / name, classes))
    numbered = Segment(("class 0", "class 1"), SegmentOptions(values=(0, 1)))
    numbered.check(opened(tmp_path / "named", "ground\ncell\n"))


def test_data_in_parts_have_one_list_of_classes(tmp_path) -> None:
    one, other = pairs(tmp_path / "a", "ground\ncell\n"), pairs(tmp_path / "b", "cell\nground\n")
    with refuses("with other classes, or another order", "make the lists"):
        open_pairs([one, other])
    assert open_pairs([one, pairs(tmp_path / "c")]).classes == ("ground", "cell")


@pytest.mark.parametrize("text", ["name,kind\n1,x\n", "\0\n"])
def test_a_table_without_ids_is_refused(tmp_path, text) -> None:
    data = pairs(tmp_path / "cells")
    (tmp_path / "cells.csv").write_text(text)
    with refuses("no CSV with a column id", "another name"):
        open_pairs([data])


def test_a_folder_of_masks_is_not_two_classes(tmp_path) -> None:
    data = pairs(tmp_path / "cells")
    with refuses("images with labels, to classify", "--task segment"):
        Classify.open([data], train=True, root=tmp_path, download=False)
    shutil.move(tmp_path / "cells/labels", tmp_path / "cells/masks")
    with refuses("images with masks, to classify", "--task segment"):
        Classify.open([data], train=True, root=tmp_path, download=False)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return vitrail.create_model("swin_nano", task="segment", head="unet", num_classes=2, **TINY)


def test_a_unet_of_one_cell_answers(model) -> None:
    found = vitrail.predict(model, np.zeros((2, 3, 3), np.uint8))
    assert found.as_dict()["size"] == [2, 3]


def test_inputs_of_a_model_of_a_task_are_not_its_backbone_s(model) -> None:
    with refuses("a model for task segment", "vitrail.predict"):
        vitrail.transform(model)
    assert vitrail.transform(model.backbone)


def test_what_cannot_be_predicted_with(model) -> None:
    photo = np.zeros((9, 9, 3), np.uint8)
    with refuses("'swin_nano' to predict with", "vitrail.load"):
        vitrail.predict("swin_nano", photo)  # type: ignore[arg-type]
    for size in (0, (0, 10), (3, 4, 5)):
        with refuses("size=", "size="):
            vitrail.predict(model, photo, size=size)
    with refuses("num_classes=1 for task='segment'", "num_classes=2"):
        vitrail.create_model("swin_nano", task="segment", num_classes=1)


def test_the_head_of_the_weights_goes_on(model, tmp_path) -> None:
    path = tmp_path / "unet.safetensors"
    vitrail.weights.save(model, path)
    again = vitrail.create_model("swin_nano", task="segment", weights=path, **TINY)
    assert again.head_facts == model.head_facts
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    other = vitrail.create_model("swin_nano", task="segment", num_classes=3, weights=path, **TINY)
    assert other.head_facts == model.head_facts


def test_optimize_knows_an_input(model) -> None:
    fast = vitrail.optimize(model, path="eager")
    with torch.no_grad():
        assert torch.equal(fast(torch.zeros(1, 3, 9, 9)), model.eval()(torch.zeros(1, 3, 9, 9)))
