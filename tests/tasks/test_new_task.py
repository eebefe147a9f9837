"""A new task is one file, and the worked example in the documentation is one."""

import csv
import importlib.util
import sys
from typing import Any

import numpy as np
import pytest
import torch

import vitrail
from tests.conftest import ROOT
from tests.tasks.pairs import pair
from vitrail.data.batch import Batch
from vitrail.heads import SemanticFPNConfig
from vitrail.models import TaskModel
from vitrail.models.task_model import new_task_model
from vitrail.tasks import TASKS, task_of
from vitrail.training import checkpoint
from vitrail.training.loop import Run
from vitrail.training.machine import Settings
from vitrail.training.recipe import Recipe


@pytest.fixture(scope="module")
def example():
    """The example as a module of its own, known as a task while these tests run."""
    spec = importlib.util.spec_from_file_location("depth", ROOT / "docs" / "howto" / "depth.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["depth"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["depth"], TASKS["depth"]


@pytest.fixture
def make(example, tiny_data, tmp_path):
    def run(out: str, **settings: Any) -> Run:
        task = example.Depth
        train, val = task.split(task.open([str(tiny_data["segment"])]), 0.2, 0)
        torch.manual_seed(0)
        fields = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
        backbone = vitrail.create_model(
            "swin_nano", out_indices=(0, 1), feature_norms=True, **fields
        )
        head = SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2)
        model = new_task_model(backbone, "depth", "semantic_fpn", head, classes=1)
        recipe = Recipe(epochs=4, batch_size=14, lr=1e-2, warmup_epochs=0.0, ema=0.5, accumulate=2)
        quiet = {"show": False, "workers": 0, "cpu": True, "tensorboard": False}
        machine = Settings(out=tmp_path / out, **{**quiet, **settings})
        learnt = task.build(train, example.DepthOptions(most=4.0))
        return Run(model, learnt, train, val, recipe, machine, (16, 16))

    return run


def test_the_loop_trains_it(make, tmp_path) -> None:
    run = make("out")
    best = run.fit()
    with open(tmp_path / "out" / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"train_loss", "val_loss", "val_close"} <= rows[0].keys()
    assert "val_dice" not in rows[0]
    assert float(rows[-1]["val_loss"]) < float(rows[0]["train_loss"])
    assert run.best == pytest.approx(max(float(row["val_close"]) for row in rows), rel=1e-6)
    model = vitrail.load(best)
    assert isinstance(model, TaskModel)
    assert (model.task.name, model.task.options) == ("depth", {"most": 4.0})
    assert task_of(model).options.most == 4.0
    found = vitrail.predict(model, pair(3)[0])
    answer = found.as_dict()
    assert 0 <= answer["mean"] <= answer["largest"] <= 4
    assert found.rows(answer)[0].keys() >= set(found.columns)
    assert found.lines(answer)[0].text == f"mean: {answer['mean']}"
    assert found.files("a.png") == {"depth": ".png"}
    assert found.draw().size == (20, 24)
    assert found.save(tmp_path / "depth.png").stat().st_size > 0


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


def test_depths_are_distances_to_an_edge(example) -> None:
    labels = np.zeros((9, 9), dtype=np.int64)
    labels[2:7, 2:7] = 1
    found = example.depths(labels, 8.0)
    assert found[4].tolist() == [1, 0, 0, 1, 2, 1, 0, 0, 1]
    assert example.depths(labels, 1.5).max() == 1.5
    assert (example.depths(np.zeros((3, 4), dtype=np.int64), 5.0) == 5).all()
