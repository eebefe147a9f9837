"""Images with boxes as COCO and Pascal VOC list them: where they lie, and what is wrong there."""

import copy
import json
import logging
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import refuses
from tests.tasks.boxes import CLASSES, listed, picture, write_boxes, write_voc
from vitrail.data.boxes import BoxSource, boxes_in, open_boxes, split_boxes
from vitrail.data.images import ImageError
from vitrail.data.outline import outline


def same(one: BoxSource, other: BoxSource) -> None:
    assert len(one) == len(other)
    assert one.classes == other.classes == CLASSES
    for n in range(len(one)):
        assert np.array_equal(one.image(n), other.image(n))
        assert np.array_equal(one.objects(n).boxes, other.objects(n).boxes)
        assert np.array_equal(one.objects(n).labels, other.objects(n).labels)


def folder(path: Path, count: int = 4) -> Path:
    path.mkdir(parents=True)
    for number in range(count):
        (path / f"{number:03d}.png").write_bytes(picture(number, count))
    return path


@pytest.fixture
def zipped(tmp_path) -> Path:
    return write_boxes(tmp_path / "set.zip", 4)


def test_boxes_of_objects(zipped) -> None:
    source = open_boxes([zipped])
    assert source.classes == CLASSES, "in the order of their ids, which are 7 and 14"
    assert source.image(0).shape == (3, 24, 20)
    objects = source.objects(0)
    assert objects.labels.tolist() == [0, 1]
    for (left, top, right, bottom), mask in zip(objects.boxes, source.masks(0), strict=True):
        assert mask[int(top) : int(bottom), int(left) : int(right)].all()
        assert mask.sum() == (right - left) * (bottom - top)
    assert len(source.objects(3)) == 0, "an image without objects is one too"
    assert source.masks(3).shape == (0, 24, 20)
    assert source.name(0) == f"{zipped}/000.png"
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.image(0), source.image(0))


def test_wherever_images_and_lists_lie(zipped, tmp_path) -> None:
    text = json.dumps(listed(4))
    beside = folder(tmp_path / "beside")
    (tmp_path / "beside.json").write_text(text)
    inside = folder(tmp_path / "inside" / "images").parent
    (inside / "annotations.json").write_text(text)
    (inside / "more.json").write_text("{}")
    only = folder(tmp_path / "only")
    (only / "list.json").write_text(text)
    coco = folder(tmp_path / "coco" / "val").parent
    (coco / "annotations").mkdir()
    (coco / "annotations" / "instances_val.json").write_text(text)
    pictures = folder(tmp_path / "other" / "images").parent
    (pictures / "all.json").write_text(text)
    voc = write_voc(tmp_path / "voc", 4)
    packed = tmp_path / "voc.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in voc.rglob("*.*"):
            archive.write(path, Path("VOC2012") / path.relative_to(voc))
    alone = tmp_path / "set.json"
    list_of_coco = coco / "annotations" / "instances_val.json"
    first = open_boxes([zipped])
    for data in (beside, inside, only, list_of_coco, pictures / "all.json", voc, packed, alone):
        assert boxes_in(outline(str(data))) or data == only
        same(open_boxes([str(data)]), first)
    both = open_boxes([str(zipped), str(voc)])
    assert len(both) == 8
    assert not boxes_in(outline(str(folder(tmp_path / "photos"))))


def test_a_split_is_by_images(zipped) -> None:
    source = open_boxes([zipped])
    train, val = split_boxes(source, 0.25, 0)
    assert sorted([*train.indices, *val.indices]) == [0, 1, 2, 3]
    assert len(val) == 1
    assert len(split_boxes(source, 0.0, 0)[1]) == 0
    with refuses("4 image(s) and a validation part of 0.9", "--val"):
        split_boxes(source, 0.9, 0)


def test_boxes_outside_and_of_no_area_are_counted(tmp_path, caplog) -> None:
    content = listed(2)
    for box in ([-3, 4, 8, 8], [15, 18, 50, 50], [30, 4, 5, 5], [4, 4, 0, 5], [4, 4, 3, -2]):
        row = content["annotations"][0]
        content["annotations"].append({**row, "id": len(content["annotations"]) + 1, "bbox": box})
    path = write_boxes(tmp_path / "set.zip", 2)
    path.with_suffix(".json").write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING, "vitrail.data"):
        source = open_boxes([path])
    assert source.objects(0).boxes[2:].tolist() == [[0, 4, 5, 12], [15, 18, 20, 24]]
    assert "2 boxes cut at the edges of their images, such as 000.png has (-3.0, 4.0" in caplog.text
    assert "1 boxes outside their images left out" in caplog.text
    assert "2 boxes of no area left out" in caplog.text


def test_images_that_are_not_listed_are_counted(tmp_path, caplog) -> None:
    folder(tmp_path / "set", 5)
    (tmp_path / "set.json").write_text(json.dumps(listed(4)))
    with caplog.at_level(logging.WARNING, "vitrail.data"):
        assert len(open_boxes([tmp_path / "set"])) == 4
    assert "1 images without an entry in the list left out, such as 004.png" in caplog.text


def test_an_image_of_another_size_than_listed(tmp_path) -> None:
    path = write_boxes(tmp_path / "set.zip", 2)
    path.with_suffix(".json").write_text(json.dumps(listed(2, (24, 21))))
    source = open_boxes([path])
    with pytest.raises(ImageError, match=r"000\.png', a picture of 24 x 20 listed as 24 x 21"):
        source.image(0)


def test_objects_without_an_outline(tmp_path) -> None:
    source = open_boxes([write_voc(tmp_path / "voc", 2)])
    with pytest.raises(ImageError, match=r"object 1 has neither polygons[\s\S]*faster_rcnn"):
        source.masks(0)


def _annotations(**changes):
    def change(content):
        content["annotations"][1].update(changes)

    return change


def _images(**changes):
    def change(content):
        content["images"][1].update(changes)

    return change


def _without(part, key):
    def change(content):
        del content[part][0][key]

    return change


def _whole(part, value):
    def change(content):
        content[part] = value

    return change


@pytest.mark.parametrize(
    ("change", "given", "fix"),
    [
        (_annotations(id=1), "two entries of kind annotation have id=1", "remove one of them"),
        (_images(id=5), "two entries of kind image have id=5", "number them anew"),
        (_images(file_name="000.png"), "have file_name='000.png'", "remove one of them"),
        (_whole("categories", [{"id": 7, "name": "a"}] * 2), "category have id=7", "remove"),
        (
            _annotations(category_id=9),
            "annotation 2 is of category 9, which is not",
            "add category",
        ),
        (_annotations(image_id=99), "annotation 2 is of image 99, which is not", "add image 99"),
        (_annotations(image_id="5"), "whose image_id is '5'", "number the image_ids"),
        (_annotations(bbox=[1, 2, 3]), "has bbox=[1, 2, 3]", "write the box"),
        (_annotations(bbox=[1, 2, 3, float("nan")]), "has bbox=[1, 2, 3, nan]", "write the box"),
        (_annotations(bbox=[1, 2, 3, 1e300]), "has bbox=[1, 2, 3, 1e+300]", "write the box"),
        (_images(file_name="gone.png"), "the image 'gone.png' of the list", "add the file"),
        (_images(file_name="../001.png"), "'../001.png' of the list for", "add the file"),
        (_images(width=0), "with width=0", "write the size"),
        (_images(width=20.5), "with width=20.5", "write the size"),
        (_without("images", "height"), "with height=None", "write the size"),
        (_without("categories", "name"), "whose name is None", "give each category its name"),
        (_whole("images", []), "whose list 'images' is empty", "write images"),
        (_whole("annotations", {}), "without a list of objects 'annotations'", "write images"),
    ],
)
def test_lists_that_cannot_be_used(change, given, fix, tmp_path) -> None:
    path = write_boxes(tmp_path / "set.zip", 3)
    content = copy.deepcopy(listed(3))
    change(content)
    path.with_suffix(".json").write_text(json.dumps(content))
    with refuses(given, fix):
        open_boxes([path])


def test_what_is_no_list(tmp_path) -> None:
    path = write_boxes(tmp_path / "set.zip", 3)
    for text, given in (("{", "which is no JSON"), ("[]", "which holds no object")):
        path.with_suffix(".json").write_text(text)
        with refuses(given, "write images"):
            open_boxes([path])
    path.with_suffix(".json").unlink()
    with refuses("without a list of boxes beside it or in it", "set.json"):
        open_boxes([path])
    (tmp_path / "set.txt").write_text("x")
    with refuses("neither a folder, a zip nor a list", "name the folder"):
        open_boxes([tmp_path / "set.txt"])
    path.write_bytes(b"PK")
    with refuses("a damaged or truncated zip", "copy or download it again"):
        open_boxes([path])
    two = folder(tmp_path / "two")
    for name in ("a.json", "b.json"):
        (two / name).write_text("{}")
    with refuses("with the lists a.json, b.json", "name the list to use"):
        open_boxes([two])


def test_data_of_other_classes_together(zipped, tmp_path) -> None:
    other = write_boxes(tmp_path / "other.zip", 3)
    content = listed(3)
    content["categories"][0]["name"] = "hot"
    other.with_suffix(".json").write_text(json.dumps(content))
    with refuses("with the classes cold, hot, the data before it with cold, warm", "classes.txt"):
        open_boxes([zipped, other])


def voc_with(tmp_path: Path, old: str, new: str) -> Path:
    path = write_voc(tmp_path / "voc", 2)
    file = path / "Annotations" / "000.xml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    return path


def test_difficult_objects_are_crowds(tmp_path) -> None:
    path = voc_with(tmp_path, "</name>", "</name><difficult>1</difficult>")
    assert open_boxes([path]).objects(0).crowd.tolist() == [True, False]


def test_classes_that_a_part_does_not_show(tmp_path) -> None:
    path = write_voc(tmp_path / "voc", 2)
    (path / "classes.txt").write_text("warm\ncool\ncold\n")
    source = open_boxes([path])
    assert source.classes == ("warm", "cool", "cold")
    assert source.objects(0).labels.tolist() == [2, 0]
    (path / "classes.txt").write_text("warm\n")
    with refuses("an object 'cold', which is no class", "add the name"):
        open_boxes([path])


@pytest.mark.parametrize(
    ("old", "new", "given"),
    [
        ("<annotation>", "<note/><annotation>", "cannot be read as XML"),
        ("</annotation>", "", "cannot be read as XML"),
        ("annotation>", "note>", "cannot be read as XML"),
        ("<width>20</width>", "", "with size/width=''"),
        ("<width>20</width>", "<width>-1</width>", "with size/width='-1'"),
        ("<name>cold</name>", "", "an object without a name"),
        ("<ymin>2</ymin>", "<ymin>two</ymin>", "whose bndbox/ymin is 'two'"),
        ("<ymin>2</ymin>", "<ymin>inf</ymin>", "whose bndbox/ymin is 'inf'"),
        (
            "<annotation>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>",
            "cannot be read as XML",
        ),
    ],
)
def test_annotations_that_cannot_be_used(old, new, given, tmp_path) -> None:
    with refuses(given, "write the size" if "size/" in given else "correct it"):
        open_boxes([voc_with(tmp_path, old, new)])


def test_xml_of_something_else(tmp_path) -> None:
    path = write_voc(tmp_path / "voc", 2)
    (path / "Annotations" / "000.xml").write_text("<note/>")
    with refuses("whose XML is of <note>", "correct it"):
        open_boxes([path])


def test_an_annotation_without_its_image(tmp_path) -> None:
    path = write_voc(tmp_path / "voc", 3)
    (path / "JPEGImages" / "001.png").unlink()
    with refuses("001.xml' without its image", "add JPEGImages/001.jpg"):
        open_boxes([path])


def test_an_image_without_its_annotation(tmp_path, caplog) -> None:
    path = write_voc(tmp_path / "voc", 3)
    (path / "Annotations" / "001.xml").unlink()
    with caplog.at_level(logging.WARNING, "vitrail.data"):
        assert len(open_boxes([path])) == 2
    assert "1 images without an entry in the list left out" in caplog.text


def test_without_what_reads_xml(tmp_path, monkeypatch) -> None:
    path = write_voc(tmp_path / "voc", 2)
    for name in [name for name in sys.modules if name.startswith("defusedxml")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    with refuses("annotations in XML, without defusedxml", "detect"):
        open_boxes([path])


def test_real_boxes(data_dir) -> None:
    source = open_boxes([data_dir / "blood_cells" / "val.zip"])
    assert (len(source), source.classes) == (87, ("RBC", "WBC", "Platelets"))
    assert sum(len(source.objects(n)) for n in range(87)) == 1137
    assert source.image(5).shape == (3, *source.size(5))
    Image.fromarray(np.moveaxis(source.image(5), 0, -1))
