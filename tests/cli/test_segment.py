"""`vitrail train`, `evaluate` and `predict` of a model that segments, on tiny pictures."""

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.crew import together
from tests.tasks.pairs import write_pairs
from vitrail import create_model, load, predict
from vitrail.cli import main
from vitrail.cli._models import model_to_train
from vitrail.heads import SemanticFPNConfig
from vitrail.models import TaskModel
from vitrail.tasks.segmentation import Segmentation
from vitrail.weights import save

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
QUICK = ["--task", "segment", "--epochs", "1", "-b", "4", "--size", "16", "--device", "cpu"]
QUICK += ["--workers", "0", "--val-part", "0.3", "--lr", "1e-3", "--ema", "0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "set.zip", 12, sizes=((24, 20), (40, 30)))


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A tiny model that has learnt nothing."""
    torch.manual_seed(0)
    head = SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2)
    model = create_model("swin_nano", task="segment", head=head, num_classes=3, **TINY)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save(model, path)
    return path


@pytest.fixture(scope="module")
def weights(data, start, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    words = ["--set", "classes=ground,cold,warm", "--set", "colours=#000000,#0000ff,#ff0000"]
    assert (
        main.run(["train", str(data), *QUICK, "--model", str(start), "-o", str(out), *words]) == 0
    )
    return out / "best.safetensors"


@pytest.fixture(scope="module")
def objects(data, start, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("objects")
    words = ["--set", "instances=true", "--set", "least=1"]
    assert (
        main.run(["train", str(data), *QUICK, "--model", str(start), "-o", str(out), *words]) == 0
    )
    return out / "best.safetensors"


def test_a_file_says_what_it_segments(weights) -> None:
    model = load(weights)
    assert isinstance(model, TaskModel)
    assert model.task.name == "segment"
    assert model.task.options["colours"] == ["#000000", "#0000ff", "#ff0000"]
    assert model.preprocessing.classes == ("ground", "cold", "warm")
    with open(weights.with_name("epochs.csv")) as file:
        assert {"train_dice", "val_dice", "val_iou"} <= set(next(csv.DictReader(file)))


def test_evaluate(weights, data, capsys) -> None:
    assert main.run(["evaluate", str(data), "--weights", str(weights), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["images"] == 12
    assert 0 <= answer["dice"] <= 1
    assert [*answer["per_class"]] == ["ground", "cold", "warm"]
    assert answer["per_kind"]["even"]["images"] == 6
    assert main.run(["evaluate", str(data), "--weights", str(weights), "--per-class"]) == 0
    shown = capsys.readouterr().out
    assert f"Dice {answer['dice']:.4f}" in shown
    assert "odd" in shown
    assert "warm" in shown


def test_several_processes_measure_what_one_does(weights, data, tmp_path, capsys) -> None:
    """Twelve images in batches of two over two and three processes: some get stand-ins."""
    words = ["evaluate", str(data), "--weights", str(weights), "--json", "-b", "2"]
    assert main.run([*words, "--device", "cpu"]) == 0
    alone = json.loads(capsys.readouterr().out)
    for count in (2, 3):
        done = together(tmp_path / str(count), count, *words, "--device", "cpu")
        assert [one.code for one in done] == [0] * count, done
        assert not any(one.out for one in done[1:])
        found = json.loads(done[0].out)
        for rows in ("per_class", "per_kind"):
            for name, row in alone[rows].items():
                assert found[rows][name] == pytest.approx(row, rel=1e-6)
        for name in ("images", "skipped", "dice", "iou", "loss"):
            assert found[name] == pytest.approx(alone[name], rel=1e-6)


def test_evaluate_skips_and_reports(weights, data, tmp_path, capsys) -> None:
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(tmp_path / "bad.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"no picture" if name == "labels/003.png" else old.read(name))
    words = ["evaluate", str(tmp_path / "bad.zip"), "--weights", str(weights)]
    assert main.run([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["images"], answer["skipped"]) == (11, 1)
    assert "labels/003.png" in answer["skipped_images"][0]["error"]
    assert "labels/003.png" in err
    assert main.run([*words, "--max-bad", "0"]) == 2


def test_evaluate_refuses_what_is_of_classification(weights, data, capsys) -> None:
    for option in (["--confusion", "c.png"], ["--size", "32"]):
        assert main.run(["evaluate", str(data), "--weights", str(weights), *option]) == 2
        assert f"fix: leave {option[0]} out" in capsys.readouterr().err


def test_predict_writes_masks_and_overlays(weights, photos, tmp_path, capsys) -> None:
    out = tmp_path / ("masks of a folder whose name is long " * 4)  # shown whole all the same
    assert main.run(["predict", *photos, "--weights", str(weights), "-o", str(out)]) == 0
    assert f"mask: {out / 'photo0.png'}\n" in capsys.readouterr().out
    for photo in photos:
        with Image.open(out / Path(photo).name) as mask:
            assert mask.mode == "P"
            assert mask.size == (47, 33)
            assert (mask.getpalette() or [])[:9] == [0, 0, 0, 0, 0, 255, 255, 0, 0]
            numbers = np.asarray(mask)
        with Image.open(out / f"{Path(photo).stem}-overlay.jpg") as overlay:
            assert overlay.size == (47, 33)
        found = predict(load(weights), photo)
        assert isinstance(found, Segmentation)
        assert np.array_equal(np.asarray(found.mask()), numbers)


def test_predict_one_mask_and_objects(objects, photos, tmp_path, capsys) -> None:
    path = tmp_path / "mask.png"
    assert main.run(["predict", photos[0], "--weights", str(objects), "-o", str(path)]) == 0
    shown = capsys.readouterr().out
    with Image.open(path) as mask:
        assert mask.mode.startswith("I;16")
        numbers = np.asarray(mask)
    assert f"{numbers.max()} object" in shown
    assert main.run(["predict", photos[0], "--weights", str(objects), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["photos"]
    assert answer["objects"] == numbers.max()
    assert [row["class"] for row in answer["classes"]] == ["background", "object"]
    assert sum(row["share"] for row in answer["classes"]) == pytest.approx(1)


def test_predict_tables(weights, photos, tmp_path, capsys) -> None:
    assert main.run(["predict", *photos, "--weights", str(weights), "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["class"] for row in rows] == ["ground", "cold", "warm"] * 2
    assert sum(int(row["pixels"]) for row in rows) == 2 * 33 * 47
    table = tmp_path / "a.json"
    assert main.run(["predict", *photos, "--weights", str(weights), "-o", str(table)]) == 0
    assert len(json.loads(table.read_text())["photos"]) == 2


def test_predict_refuses_masks_that_collide(weights, photos, tmp_path, capsys) -> None:
    other = tmp_path / "photo0.jpg"
    Image.open(photos[0]).save(other)
    out = tmp_path / "out"
    words = ["predict", "--weights", str(weights), photos[0]]
    assert main.run([*words, str(other), "-o", str(out)]) == 2
    assert "masks would both be" in capsys.readouterr().err
    assert main.run([*words, photos[1], "-o", str(tmp_path / "m.png")]) == 2
    assert f"fix: use --output {tmp_path / 'm'}" in capsys.readouterr().err
    assert main.run([*words, "-o", photos[0]]) == 2
    assert "the file that is read" in capsys.readouterr().err
    assert main.run([*words, "-o", str(tmp_path)]) == 2, "its mask would be the photo itself"
    assert not out.exists()


def test_a_backbone_of_another_file_gets_a_head(data, tmp_path) -> None:
    """Of a classifier, and of a model with other classes."""
    torch.manual_seed(0)
    classifier = create_model("swin_nano", num_classes=5, **TINY)
    save(classifier, tmp_path / "classifier.safetensors")
    out, words = tmp_path / "run", ["--model", str(tmp_path / "classifier.safetensors")]
    assert main.run(["train", str(data), *QUICK, *words, "-o", str(out), "--lr", "0"]) == 0
    model = load(out / "best.safetensors")
    assert isinstance(model, TaskModel)
    name = "stages.0.blocks.0.attn.qkv.weight"
    assert torch.equal(model.backbone.state_dict()[name], classifier.state_dict()[name])


def test_a_classifier_starts_from_a_model_that_segments(weights, caplog) -> None:
    """The backbone is taken, and the rest is listed."""
    learnt = load(weights)
    model = model_to_train(None, str(weights), num_classes=5)
    assert "head.weight: the file has no classifier" in caplog.text
    assert "weights of other parts were left out" in caplog.text
    assert model.num_classes == 5
    name = "stages.0.blocks.0.attn.qkv.weight"
    assert torch.equal(model.state_dict()[name], learnt.state_dict()[f"backbone.{name}"])
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 5)


def test_a_head_goes_on_unless_the_classes_are_others(data, weights, tmp_path) -> None:
    """Classes are compared by name, not by number; what kind of head it is stays either way."""
    learnt = load(weights).state_dict()
    for classes, goes_on in (("ground,cold,warm", True), ("earth,ice,fire", False)):
        out = tmp_path / classes
        words = ["--set", f"classes={classes}", "--lr", "0", "-o", str(out)]
        assert main.run(["train", str(data), *QUICK, "--model", str(weights), *words]) == 0
        found = load(out / "last.safetensors")
        assert isinstance(found, TaskModel)
        assert found.head_facts == load(weights).head_facts
        name = "head.classify.weight"
        assert torch.equal(found.state_dict()[name], learnt[name]) == goes_on


def test_nothing_that_can_be_read(data, weights, tmp_path, capsys) -> None:
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(tmp_path / "bad.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"no picture" if name.startswith("labels") else old.read(name))
    words = [str(tmp_path / "bad.zip"), "--max-bad", "99"]
    assert main.run(["evaluate", *words, "--weights", str(weights)]) == 2
    assert "given: 12 images of which none can be read" in capsys.readouterr().err
    out = str(tmp_path / "run")
    val = ["--val", *words, "-o", out, "--model", str(weights)]
    assert main.run(["train", str(data), *QUICK, *val]) == 2
    assert "validation images of which none can be read" in capsys.readouterr().err


def test_predict_makes_no_folder_that_looks_like_a_picture(
    weights, photos, tmp_path, capsys
) -> None:
    out = tmp_path / "m.bmp"
    assert main.run(["predict", photos[0], "--weights", str(weights), "-o", str(out)]) == 2
    assert f"fix: use --output {tmp_path / 'm.png'}" in capsys.readouterr().err
    assert not out.exists()


def test_training_data_of_another_layout(tmp_path, capsys) -> None:
    (tmp_path / "set" / "images").mkdir(parents=True)
    words = ["train", str(tmp_path / "set"), "-o", str(tmp_path / "run")]
    assert main.run([*words, *QUICK]) == 2
    assert "no images in images/" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--mixup", "--smoothing", "--mix-probability"])
def test_training_refuses_what_is_of_classification(data, tmp_path, capsys, option) -> None:
    assert main.run(["train", str(data), *QUICK, option, "0", "-o", str(tmp_path / "run")]) == 2
    assert f"fix: leave {option} out" in capsys.readouterr().err


def test_a_head_belongs_to_a_task(tmp_path, capsys) -> None:
    with (
        zipfile.ZipFile(tmp_path / "z.zip", "w") as archive,
        zipfile.ZipFile(write_pairs(tmp_path / "pairs.zip", 4)) as pairs,
    ):
        for name in (name for name in pairs.namelist() if name.startswith("images/")):
            archive.writestr(f"{int(name[-5]) % 2}/{name[-7:]}", pairs.read(name))
    words = ["train", str(tmp_path / "z.zip"), "-o", str(tmp_path / "run"), "-b", "2"]
    assert main.run([*words, "--head", "semantic_fpn"]) == 2
    assert "fix: leave --head out, or add --task segment" in capsys.readouterr().err
