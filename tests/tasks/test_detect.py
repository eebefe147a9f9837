"""Detection: what is measured, where boxes and masks lie, and a run that is killed and resumed."""

import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import vitrail
from tests.support import refuses
from tests.tasks.boxes import CLASSES, write_boxes
from tests.tasks.conftest import tiny_detector
from tests.tasks.pairs import pair
from vitrail.data.images import Photo
from vitrail.data.rle import mask_of
from vitrail.heads import MaskRCNNConfig
from vitrail.tasks import task_of
from vitrail.tasks.detect import Detect, DetectMasks
from vitrail.tasks.detect_options import DetectOptions
from vitrail.tasks.detection import Detection, Found, found_in, pasted
from vitrail.training import checkpoint
from vitrail.training.evaluation import evaluate
from vitrail.training.loop import Run
from vitrail.training.machine import Settings
from vitrail.training.recipe import Recipe


class Knows:
    """A detector that answers with what it is given, in the samples of its input."""

    def __init__(self, answers: list[dict[str, Tensor]]) -> None:
        self.answers = answers

    def __call__(self, inputs: Tensor) -> list[dict[str, Tensor]]:
        return [self.answers.pop(0) for _ in inputs]


def parts(path, *, model=None):
    source = Detect.open([str(path)], train=True, root=path.parent, download=False)
    whole = Detect.split(source, 0.0, 0)[0]
    task = Detect.build(whole, DetectOptions())
    return whole, task if model is None else task.by(model)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_boxes(tmp_path_factory.mktemp("data") / "set.zip", 6)


def measured(data, change, *, masks: bool = False):
    """Scores of a model that finds every object, changed for each image."""
    part, task = parts(data)
    task = DetectMasks(task.classes, task.options) if masks else task
    facts = tiny_detector().preprocessing
    samples = task.samples(part, facts, None)
    every: Any = [samples[n, 0] for n in range(len(samples))]
    batch = task.collate(every)
    answers = []
    for n, target in enumerate(batch.targets):
        tall, wide = (n / m for n, m in zip(target["lengths"], target["size"], strict=True))
        answer = {
            "boxes": torch.from_numpy(target["true"].boxes) * torch.tensor([wide, tall] * 2),
            "labels": torch.from_numpy(target["true"].labels),
            "scores": torch.linspace(0.9, 0.5, len(target["true"])),
        }
        if masks:
            answer["masks"] = torch.ones(len(target["true"]), 1, 28, 28)
        answers.append(change(n, answer))
    score = task.score()
    score.add(Knows(answers), batch)
    return score


def test_who_finds_everything_has_all_points(data) -> None:
    score = measured(data, lambda n, answer: answer, masks=True)
    assert score.result() == pytest.approx({"map": 1, "map50": 1, "mask_map": 1})
    rows = score.details()["per_class"]
    assert [*rows] == [*CLASSES]
    assert all(row == pytest.approx({"ap": 1, "ap50": 1}) for row in rows.values())


def test_points_are_cocos(data) -> None:
    """The boxes of one class are moved by a fourth of their width: an overlap of 0.6."""

    def change(n, answer):
        boxes = answer["boxes"].clone()
        moved = answer["labels"] == 1
        boxes[moved, 0::2] += 0.25 * (boxes[moved, 2:3] - boxes[moved, 0:1])
        return {**answer, "boxes": boxes}

    score = measured(data, change)
    rows = score.details()["per_class"]
    assert rows["cold"] == pytest.approx({"ap": 1, "ap50": 1})
    assert rows["warm"]["ap50"] == pytest.approx(1)
    assert rows["warm"]["ap"] == pytest.approx(0.2, abs=0.11), "thresholds of 0.5, 0.55 (and 0.6)"
    assert score.result()["map"] == pytest.approx((1 + rows["warm"]["ap"]) / 2)


def test_who_finds_nothing_has_none(data) -> None:
    nothing = measured(data, lambda n, answer: {k: v[:0] for k, v in answer.items()})
    assert nothing.result() == {"map": 0, "map50": 0}
    wrong = measured(data, lambda n, answer: {**answer, "labels": 1 - answer["labels"]})
    assert wrong.result()["map50"] < 0.2


def test_a_class_that_does_not_occur_counts_nowhere(data) -> None:
    score = measured(data, lambda n, answer: answer)
    rows = []
    for row in score.rows:
        cold = row.true.labels == 0
        true = Found(row.true.boxes[cold], row.true.labels[cold])
        rows.append(row._replace(true=true, crowd=row.crowd[cold]))
    score.merge([rows])
    assert score.result()["map"] == pytest.approx(1)
    assert [*score.details()["per_class"]] == ["cold"]


def test_crowds_are_neither_found_nor_missed(data) -> None:
    score = measured(data, lambda n, answer: {k: v[:1] for k, v in answer.items()})
    without = score.result()["map"]
    rows = [row._replace(crowd=np.arange(len(row.crowd)) > 0) for row in score.rows]
    score.merge([rows])
    assert without < 0.9
    assert score.result()["map"] == pytest.approx(1)


def test_an_input_without_objects_is_learnt_from(data) -> None:
    part, task = parts(data)
    model = tiny_detector()
    recipe = Recipe(seed=0)
    samples = task.samples(part, replace(model.preprocessing, size=(32, 32)), recipe)
    last: Any = samples[5, 0]
    batch = task.collate([last])
    assert len(batch.targets[0]["boxes"]) == 0
    loss, _ = task.loss(model.train(), batch, recipe)
    assert loss.isfinite()


def test_boxes_in_the_pixels_of_the_photo() -> None:
    answer = {
        "boxes": torch.tensor([[0.0, 0, 5, 5], [10, 10, 40, 20], [9, 25, 12, 30]]),
        "scores": torch.tensor([0.2, 0.9, 0.8]),
        "labels": torch.tensor([0, 1, 1]),
    }
    found = found_in(answer, (24, 32), (48, 64))
    assert found.boxes.tolist() == [[20, 20, 64, 40], [0, 0, 10, 10]], "the third is in the margin"
    assert found.labels.tolist() == [1, 0]
    assert found.over(0.5).boxes.tolist() == [[20, 20, 64, 40]]
    with refuses("not finite", "use other weights"):
        found_in({**answer, "scores": torch.tensor([0.2, float("nan"), 1])}, (24, 32), (48, 64))


def test_masks_lie_in_their_boxes() -> None:
    left = torch.zeros(28, 28)
    left[:, :14] = 1
    mask = pasted(left, (10.0, 5.0, 30.0, 15.0), (20, 40))
    assert mask[5:15, 10:20].all()
    assert mask.sum() == 100
    assert pasted(torch.ones(28, 28), (30.5, 0.0, 40.0, 3.2), (20, 40)).sum() == 4 * 10


def test_a_prediction_of_masks(tmp_path) -> None:
    head = MaskRCNNConfig(pyramid_dim=8, dim=8, mask_dim=4, proposals=20)
    torch.manual_seed(0)
    body = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
    model = vitrail.create_model("swin_nano", task="detect", head=head, num_classes=2, **body)
    model.preprocessing = replace(model.preprocessing, size=(32, 32))
    model.task = replace(model.task, options={"score": 0.0})
    task = task_of(model)
    assert isinstance(task, DetectMasks)
    photo = Image.fromarray(pair(0)[0])
    found = vitrail.predict(model, photo)
    assert isinstance(found, Detection)
    rows = found.as_dict()["objects"]
    assert rows
    for row in rows:
        assert mask_of(row["mask"], (24, 20)).shape == (24, 20)
    assert found.draw().size == photo.size
    found.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == found.as_dict()
    content = json.loads(
        Detection.together([{"photo": "a.png", **found.as_dict()}], CLASSES)["detections.json"]
    )
    assert len(content["annotations"]) == len(rows)
    assert content["annotations"][0]["segmentation"] == rows[0]["mask"]


def test_nothing_found_is_a_prediction_too() -> None:
    found = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    answer = Detection(found, CLASSES, Photo(Image.new("RGB", (9, 7)), ()))
    assert answer.draw().size == (9, 7)
    assert answer.as_dict() == {"notes": [], "size": [7, 9], "objects": []}
    assert [line.text for line in Detection.lines(answer.as_dict())] == ["0 objects"]


def test_data_and_models_that_do_not_fit(data) -> None:
    part, _ = parts(data)
    with refuses("a detector", "vitrail train DATA --task detect"):
        Detect.of(vitrail.create_model("swin_nano"))
    other = Detect(("cold", "hot"), DetectOptions())
    with refuses("data with the classes cold, warm", "correct the list"):
        other.check(part.source)
    wrong: Any = {"scale": 0.5, "score": 2.0, "gamma": 9.0, "visible": -1.0}
    for name, value in wrong.items():
        with refuses(f"{name}={value!r}", f"leave {name} out"):
            DetectOptions(**{name: value})


def test_a_mask_that_cannot_be_read_is_skipped(data, tmp_path) -> None:
    content = json.loads(data.with_suffix(".json").read_text())
    content["annotations"][0]["segmentation"] = [[1, 2]]
    (tmp_path / "set.zip").write_bytes(data.read_bytes())
    (tmp_path / "set.json").write_text(json.dumps(content))
    part, task = parts(tmp_path / "set.zip")
    masks = DetectMasks(task.classes, task.options)
    sample: Any = masks.samples(part, tiny_detector().preprocessing, None)[0, 0]
    assert "whose object 1 has a polygon without three corners" in sample.reason


def run(out, data, **settings) -> Run:
    part, task = parts(data)
    torch.manual_seed(0)
    model = tiny_detector()
    recipe = Recipe(epochs=2, batch_size=2, warmup_epochs=0.0, lr=1e-3, precision="fp32", ema=0.5)
    return Run(model, task, part, part, recipe, Settings(out=out, workers=0, **settings), (24, 24))


def test_a_run_that_is_resumed_is_the_same_run(data, tmp_path) -> None:
    """Bit for bit, of the weights, their average, the moments and the logs."""
    run(tmp_path / "whole", data).fit()
    stopped = run(tmp_path / "parts", data, checkpoint_every=1)
    step = stopped._step

    def die(batch):
        if stopped.step == 4:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return step(batch)

    stopped._step = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    run(tmp_path / "parts", data, checkpoint_every=1, resume=True).fit()
    states = [checkpoint.newest(tmp_path / name) for name in ("whole", "parts")]
    (_, whole), (_, again) = states  # type: ignore[misc]
    assert whole.run["step"] == again.run["step"] == 6
    assert whole.tensors.keys() == again.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, again.tensors[name]), name
    one, other = ((tmp_path / n / "steps.csv").read_text() for n in ("whole", "parts"))
    assert one == other
    assert (tmp_path / "parts" / "best.safetensors").exists()
    model: Any = vitrail.load(tmp_path / "whole" / "best.safetensors")
    assert model.preprocessing.classes == CLASSES
    assert model.task.options["flip"] == "last"


def test_the_best_of_a_run_measures_as_it_did(data, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "run", data).fit()
    model = vitrail.load(tmp_path / "run" / "last.safetensors")
    part, task = parts(data, model=model)
    samples = task.samples(part, model.preprocessing, None)
    score = evaluate(model, samples, task.score(), collate=task.collate, batch_size=4)
    rows = (tmp_path / "run" / "epochs.csv").read_text().splitlines()
    named = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert score.result()["map"] == pytest.approx(float(named["val_map"]), abs=1e-6)
