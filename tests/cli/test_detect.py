"""`vitrail train`, `evaluate` and `predict` of a model that detects, on tiny pictures."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.crew import together
from tests.tasks.boxes import CLASSES, write_boxes
from vitrail import create_model, load, predict
from vitrail.cli import main
from vitrail.data.boxes import open_boxes
from vitrail.heads import FasterRCNNConfig, FCOSConfig, MaskRCNNConfig
from vitrail.tasks.detection import Detection
from vitrail.weights import save

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
HEADS = {
    "fcos": FCOSConfig(pyramid_dim=64, convs=1, first=0, score=0.0, boxes=8),
    "mask_rcnn": MaskRCNNConfig(pyramid_dim=8, dim=8, mask_dim=4, proposals=20, score=0.0),
    "faster_rcnn": FasterRCNNConfig(pyramid_dim=8, dim=8, proposals=20),
}
QUICK = ["--task", "detect", "--epochs", "1", "-b", "4", "--size", "24", "--device", "cpu"]
QUICK += ["--workers", "0", "--lr", "1e-3", "--ema", "0", "--precision", "fp32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_boxes(tmp_path_factory.mktemp("data") / "set.zip", 9)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> dict[str, Path]:
    """Tiny models that have learnt nothing."""
    found = {}
    for name, head in HEADS.items():
        torch.manual_seed(0)
        model = create_model("swin_nano", task="detect", head=head, num_classes=2, **TINY)
        found[name] = tmp_path_factory.mktemp("start") / f"{name}.safetensors"
        save(model, found[name])
    return found


@pytest.fixture(scope="module", params=["fcos", "mask_rcnn"])
def weights(data, start, tmp_path_factory, request) -> Path:
    out = tmp_path_factory.mktemp("run")
    words = ["--model", str(start[request.param]), "--val", str(data), "--set", "score=0.0"]
    assert main.run(["train", str(data), *QUICK, *words, "-o", str(out)]) == 0
    return out / "best.safetensors"


def test_a_file_says_what_it_detects(weights) -> None:
    model: Any = load(weights)
    assert model.task.name == "detect"
    assert model.task.options["score"] == 0
    assert model.preprocessing.classes == CLASSES
    with open(weights.with_name("epochs.csv")) as file:
        columns = set(next(csv.DictReader(file)))
    assert {"train_class_loss", "train_box_loss", "val_map", "val_map50"} <= columns
    assert ("val_mask_map" in columns) == (model.head_facts.name == "mask_rcnn")


def test_evaluate_in_two_processes_is_evaluate_in_one(weights, data, tmp_path, capsys) -> None:
    words = ("evaluate", str(data), "--weights", str(weights), "--json", "-b", "2")
    assert main.run([*words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["images"] == 9
    assert 0 <= answer["map"] <= answer["map50"] <= 1
    assert [*answer["per_class"]] == [*CLASSES]
    if load(weights).state_dict().keys() & {"head.detector.roi_heads.box_head.fc6.weight"}:
        return  # one head shows it
    first, second = together(tmp_path, 2, *words, "--device", "cpu")
    assert first.code == second.code == 0
    assert json.loads(first.out) == answer
    assert second.out == ""


def test_predict_tables(weights, photos, tmp_path, capsys) -> None:
    words = ["predict", *photos, "--weights", str(weights)]
    assert main.run([*words, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["photos"]
    for answer, photo in zip(answers, photos, strict=True):
        found = predict(load(weights), photo)
        assert isinstance(found, Detection)
        assert found.as_dict()["objects"] == answer["objects"]
        for one in answer["objects"]:
            left, top, right, bottom = one["box"]
            assert 0 <= left < right <= 47
            assert 0 <= top < bottom <= 33
    assert main.run([*words, "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == sum(len(answer["objects"]) for answer in answers)
    assert {row["class"] for row in rows} <= set(CLASSES)
    assert main.run(words) == 0
    shown = capsys.readouterr().out
    assert f"{len(answers[0]['objects'])} object" in shown
    assert all(f"{one['score']:.1%}" in shown for one in answers[0]["objects"])


def test_predict_into_a_folder(weights, photos, tmp_path, capsys) -> None:
    """Its list and pictures are data again."""
    out = tmp_path / "out"
    assert main.run(["predict", *photos, "--weights", str(weights), "-o", str(out)]) == 0
    for photo in photos:
        with Image.open(out / f"{Path(photo).stem}-overlay.jpg") as overlay:
            assert overlay.size == (47, 33)
    content = json.loads((out / "detections.json").read_text())
    assert [one["file_name"] for one in content["images"]] == photos
    assert [one["name"] for one in content["categories"]] == [*CLASSES]
    assert all(0 <= one["score"] <= 1 for one in content["annotations"])
    for image in content["images"]:
        image["file_name"] = Path(image["file_name"]).name
    (tmp_path / "again.json").write_text(json.dumps(content))
    source = open_boxes([tmp_path / "again.json"])
    assert sum(len(source.objects(n)) for n in range(2)) == len(content["annotations"])
    if content["annotations"] and "segmentation" in content["annotations"][0]:
        assert source.masks(0).shape == (len(source.objects(0)), 33, 47)


def test_predict_one_picture(weights, photos, tmp_path, capsys) -> None:
    path = tmp_path / "boxes.png"
    words = ["predict", photos[0], "--weights", str(weights), "-o", str(path)]
    assert main.run([*words, "--size", "48x40"]) == 0
    assert "at 48 x 40" in capsys.readouterr().out
    with Image.open(path) as picture:
        assert picture.size == (47, 33)


def test_a_classifier_starts_a_detector(data, tmp_path, capsys) -> None:
    torch.manual_seed(0)
    classifier = create_model("swin_nano", num_classes=5, dim=8, window=(2, 2), num_heads=(1, 2, 2))
    save(classifier, tmp_path / "c.safetensors")
    words = ["--weights", str(tmp_path / "c.safetensors"), "--head", "retinanet", "--lr", "0"]
    out = str(tmp_path / "run")
    assert main.run(["train", str(data), *QUICK, *words, "--val-part", "0", "-o", out]) == 0
    model: Any = load(tmp_path / "run" / "best.safetensors")
    assert (model.head_facts.name, model.backbone.out_indices) == ("retinanet", (1, 2))
    for name in ("stages.0.blocks.0.attn.qkv.weight", "stages.2.blocks.1.mlp.fc1.weight"):
        assert torch.equal(model.backbone.state_dict()[name], classifier.state_dict()[name])


def test_a_detector_starts_a_segmenter_and_another_detector(data, start) -> None:
    """Of other stages than its own."""
    from vitrail.cli._models import task_model_to_train

    source = str(start["faster_rcnn"])
    other = task_model_to_train("detect", "fcos", source, None, CLASSES)
    assert (other.head_facts.name, other.backbone.out_indices) == ("fcos", (1,))
    dense = task_model_to_train("segment", None, source, None, CLASSES)
    assert dense.backbone.out_indices == (0, 1)
    name = "stages.1.blocks.0.attn.qkv.weight"
    wanted = load(source).state_dict()["backbone." + name]
    for model in (other, dense):
        assert torch.equal(model.backbone.state_dict()[name], wanted)


def test_what_is_cut_is_reported(data, tmp_path, caplog) -> None:
    content = json.loads(data.with_suffix(".json").read_text())
    content["annotations"][0]["bbox"] = [-5, 0, 10, 10]
    (tmp_path / "set.json").write_text(json.dumps(content))
    (tmp_path / "set.zip").write_bytes(data.read_bytes())
    with caplog.at_level(logging.WARNING, "vitrail.data"):
        open_boxes([tmp_path / "set.zip"])
    assert f"{tmp_path / 'set.zip'}: 1 boxes cut at the edges" in caplog.text


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--head", "unet"], "--head unet"),
        (["--set", "scale=0.5"], "scale=0.5"),
        (["--mixup", "0"], "--mixup"),
    ],
)
def test_what_does_not_suit(data, tmp_path, capsys, words, given) -> None:
    assert main.run(["train", str(data), *QUICK, *words, "-o", str(tmp_path / "run")]) == 2
    assert given.removeprefix("--head ") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
