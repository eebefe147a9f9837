"""A new task is one file: this one, trained by the loop as it is, with a head of a model's own."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import vitrail
from vitrail.data.batch import Batch, Sample
from vitrail.data.dataset import ImageSamples, Subset
from vitrail.data.dataset import split as split_by_class
from vitrail.data.images import as_photo
from vitrail.data.sources import LabelledImages, open_source
from vitrail.data.transforms import eval_transform
from vitrail.heads import SemanticFPNConfig
from vitrail.models import TaskModel
from vitrail.tasks import Column, Prediction, Score, Task
from vitrail.tasks.base import LOSS
from vitrail.training import checkpoint
from vitrail.training.loop import Run
from vitrail.training.machine import Settings
from vitrail.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class RedderOptions:
    margin: float = 0.0


class RedderSamples(ImageSamples):
    """Images, and for every pixel whether it is redder than it is blue."""

    margin = 0.0

    def __getitem__(self, item: tuple[int, int]) -> Any:
        sample = super().__getitem__(item)
        if not isinstance(sample, Sample):
            return sample
        return replace(sample, target=(sample.input[0] > sample.input[2] + self.margin).long())


class RedderScore(Score):
    """Share of pixels that are right, and the mean loss."""

    def __init__(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)

    def add(self, model: Any, batch: Batch) -> None:
        logits, target = model(batch.inputs).float()[batch.real], batch.targets[batch.real]
        loss = F.cross_entropy(logits, target, reduction="sum")
        right = (logits.argmax(1) == target).sum()
        self.sums += torch.stack([loss, right, torch.tensor(target.numel())]).double()

    def state(self) -> Any:
        return self.sums

    def merge(self, states: Sequence[Any]) -> None:
        self.sums = torch.stack(list(states)).sum(0)

    def result(self) -> dict[str, float]:
        loss, right, count = self.sums.tolist()
        return {"loss": loss / count, "pixels": right / count}


@dataclass(frozen=True)
class Answer(Prediction):
    mask: Any

    def as_dict(self) -> dict[str, Any]:
        return {"share": float(self.mask.float().mean())}

    def draw(self) -> Image.Image:
        return Image.fromarray((255 * self.mask.byte()).numpy()).convert("RGB")

    def save(self, path: Any) -> Any:
        self.draw().save(path)
        return path


class Redder(Task):
    name: ClassVar = "redder"
    best: ClassVar = "pixels"
    train_columns: ClassVar = (Column("pixels", "pixels", share=True),)
    val_columns: ClassVar = (LOSS, Column("pixels", "pixels", share=True))
    Options: ClassVar = RedderOptions

    @classmethod
    def open(cls, data: Sequence[str], **about: Any) -> LabelledImages:
        return open_source(data, **about)

    @classmethod
    def split(cls, source: Any, share: float, seed: int) -> Any:
        return split_by_class(source, share, seed)

    @classmethod
    def build(cls, part: Subset[Any], options: Any) -> Any:
        return cls(("bluer", "redder"), options)

    @classmethod
    def of(cls, model: Any) -> Any:
        return cls(("bluer", "redder"), RedderOptions(**model.task.options))

    def input_size(self, model: Any, size: Any) -> Any:
        return size or model.preprocessing.size

    def samples(self, part: Subset[Any], facts: Any, recipe: Any) -> Any:
        samples = RedderSamples(part, eval_transform(facts, facts.size))
        samples.margin = self.options.margin
        return samples

    def loss(self, forward: Any, batch: Batch, recipe: Any) -> Any:
        logits = forward(batch.inputs).float()
        right = (logits.detach().argmax(1) == batch.targets).float().mean()
        return F.cross_entropy(logits, batch.targets), {"pixels": right}

    def score(self) -> RedderScore:
        return RedderScore()

    def read(self, input: Any) -> Any:
        return as_photo(input).image

    def predict(self, model: Any, opened: Any, size: Any = None) -> Answer:
        facts = model.preprocessing
        image = eval_transform(facts, size or facts.size)(opened)
        with torch.no_grad():
            return Answer(model.eval()(image[None])[0].argmax(0))


@pytest.fixture
def make(tiny_data, tmp_path):
    def run(out: str, **settings: Any) -> Run:
        source = open_source(tiny_data["classify"])
        train, val = Redder.split(source, 0.2, 0)
        torch.manual_seed(0)
        model = vitrail.create_model(
            "swin_nano",
            task="segment",
            head=SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2),
            num_classes=2,
            **{"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)},
        )
        recipe = Recipe(epochs=4, batch_size=14, lr=1e-2, warmup_epochs=0.0, ema=0.5, accumulate=2)
        quiet = {"show": False, "workers": 0, "cpu": True, "tensorboard": False}
        machine = Settings(out=tmp_path / out, **{**quiet, **settings})
        return Run(
            model,
            Redder.build(train, RedderOptions(margin=0.25)),
            train,
            val,
            recipe,
            machine,
            (16, 16),
        )

    return run


def test_the_loop_trains_it(make, tmp_path) -> None:
    run = make("out")
    best = run.fit()
    with open(tmp_path / "out" / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"train_pixels", "val_loss", "val_pixels"} <= rows[0].keys()
    assert "val_top1" not in rows[0]
    assert float(rows[-1]["val_pixels"]) > float(rows[0]["train_pixels"])
    assert run.best == pytest.approx(max(float(row["val_pixels"]) for row in rows), rel=1e-6)
    model = vitrail.load(best)
    assert isinstance(model, TaskModel)
    assert model.preprocessing.classes == ("bluer", "redder")
    assert (model.task.name, model.task.options) == ("redder", {"margin": 0.25})
    task = Redder.of(model)
    assert task.options.margin == 0.25
    found = task.predict(model, task.read(run.train.source.image(3)))
    answer = found.as_dict()
    assert found.lines(answer) == [(f"share: {answer['share']}", None)]
    assert found.rows(answer) == [{"answer": json.dumps(answer)}]
    assert found.files("a.png") == {}
    assert 0 <= found.as_dict()["share"] <= 1
    assert found.draw().size == (16, 16)


def test_a_stopped_run_goes_on_bit_for_bit(make, tmp_path, monkeypatch) -> None:
    whole = make("whole")
    whole.fit()
    run = make("out", checkpoint_every=3)
    step = run._step

    def until(batch: Batch) -> Any:
        if run.step == 7:
            raise RuntimeError("killed")
        return step(batch)

    monkeypatch.setattr(run, "_step", until)
    with pytest.raises(RuntimeError, match="killed"):
        run.fit()
    again = make("out", checkpoint_every=3, resume=True)
    assert again.step == 6
    again.fit()
    one, other = (checkpoint.newest(tmp_path / name) for name in ("whole", "out"))
    assert one is not None
    assert other is not None
    for name, value in one[1].tensors.items():
        assert torch.equal(value, other[1].tensors[name]), name
    steps = [(tmp_path / name / "steps.csv").read_text() for name in ("whole", "out")]
    assert steps[0] == steps[1]
