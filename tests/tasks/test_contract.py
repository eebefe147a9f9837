"""The laws of the contract, which every task has to keep."""

import json
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vitrail.data.batch import Batch, Samples, WholeBatches
from vitrail.data.dataset import Skipped
from vitrail.errors import UsageError
from vitrail.models import Preprocessing
from vitrail.tasks import TASKS, Task, task_named, task_of
from vitrail.tasks.options import options_of
from vitrail.training.evaluation import evaluate
from vitrail.training.loader import BatchSource, Plan
from vitrail.training.recipe import Recipe

FACTS = Preprocessing(size=(16, 16), crop=1.0)


@pytest.fixture(params=TASKS)
def kind(request) -> type[Task]:
    return task_named(request.param)


@pytest.fixture
def part(kind, tiny_data, tmp_path):
    source = kind.open([str(tiny_data[kind.name])], train=True, root=tmp_path, download=False)
    return kind.split(source, 0.0, 0)[0]


@pytest.fixture
def task(kind, part) -> Task:
    return kind.build(part, kind.Options())


def batch_of(task: Task, part, recipe: Recipe, *, memory: bool = False) -> Batch:
    if memory:
        part, _ = task.keep(part, FACTS, 1 << 30, Skipped(0))
    samples = task.samples(part, FACTS, recipe)
    plan = Plan(images=len(part), batch=12, seed=recipe.seed)
    return BatchSource(samples, plan, task.collate, task.mixing(recipe)).make(1)[0]


@pytest.mark.parametrize("memory", [True, False])
def test_the_loss_calls_the_model_once(task, part, any_model, memory) -> None:
    """Data-parallel training averages gradients after one forward pass, and no other."""
    model = any_model
    recipe = Recipe(crop="pad", seed=3)
    batch = batch_of(task, part, recipe, memory=memory)
    loss, more = task.loss(model, batch, recipe)
    assert model.calls == 1
    assert loss.ndim == 0
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert more.keys() == {column.name for column in task.train_columns}
    assert all(value.ndim == 0 and not value.requires_grad for value in more.values())


def test_merged_scores_equal_one_process(task, part, any_model) -> None:
    samples = task.samples(part, FACTS, None)
    assert isinstance(samples, Samples)
    model = any_model
    alone = evaluate(model, samples, task.score(), collate=task.collate, batch_size=7)
    shares = []
    for first in (0, 30, 60):
        score = task.score()
        chosen = [samples[n, 0] for n in range(first, min(first + 30, len(samples)))]
        with torch.no_grad():
            score.add(model, task.collate(chosen))
        shares.append(score.state())
    merged = task.score()
    merged.merge(shares)
    assert merged.result() == pytest.approx(alone.result())
    assert alone.result().keys() == {column.name for column in task.val_columns}
    assert task.best in alone.result()


def test_stand_ins_count_nowhere(task, part, any_model) -> None:
    samples = task.samples(part, FACTS, None)
    chosen = [samples[n, 0] for n in range(8)]
    batch, model = task.collate(chosen), any_model
    more = task.collate([*chosen, *chosen[::2]])
    more = Batch(more.inputs, more.targets, more.names, torch.arange(12) < 8)
    scores = task.score(), task.score()
    for score, one in zip(scores, (batch, more), strict=True):
        with torch.no_grad():
            score.add(model, one)
    assert scores[0].result() == pytest.approx(scores[1].result())


def test_samples_depend_on_their_key_alone(task, part) -> None:
    for one in (batch_of(task, part, Recipe(seed=5)), batch_of(task, part, Recipe(seed=5))):
        torch.rand(3)
        again = batch_of(task, part, Recipe(seed=5))
        assert torch.equal(one.inputs, again.inputs)
        assert one.names == again.names


def test_memory_holds_the_same_samples(task, part) -> None:
    kept, taken = task.keep(part, FACTS, 1 << 30, Skipped(0))
    assert len(kept) == len(part)
    assert (taken > 0) == (kept is not part)
    for position in (0, 17):
        one, other = (task.samples(p, FACTS, None)[position, 0] for p in (part, kept))
        assert torch.equal(one.input, other.input)
        assert one.name == other.name


def test_options_are_frozen_and_have_defaults(kind) -> None:
    options = options_of(kind, [])
    assert is_dataclass(options)
    assert hash(options) == hash(options_of(kind, ()))
    for field in fields(kind.Options):
        with pytest.raises(AttributeError):
            setattr(options, field.name, None)


def test_an_unknown_task() -> None:
    with pytest.raises(
        UsageError, match=r"task='classfy'[\s\S]*classify[\s\S]*use task='classify'"
    ):
        task_named("classfy")


def test_whole_batches_keep_to_positions(task, part) -> None:
    kept, _ = task.keep(part, FACTS, 1 << 30, Skipped(0))
    samples = task.samples(kept, FACTS, Recipe(crop="pad", randaugment=0))
    if not isinstance(samples, WholeBatches):
        pytest.skip("this task prepares its samples one by one")
    together = samples.take(np.array([3, 40, 7]), 11)
    alone = samples.take(np.array([40]), 11)
    assert torch.equal(together.inputs[1], alone.inputs[0])
    assert together.names[1] == alone.names[0] == part.source.name(int(part.indices[40]))


def test_a_prediction_is_numbers_a_picture_and_a_file(
    task, part, tiny_model, tiny_input, tmp_path
) -> None:
    model = tiny_model[task.name].train()
    again = task_of(model)
    assert (type(again), again.classes) == (type(task), task.classes)
    found = again.predict(model, again.read(tiny_input[task.name]))
    assert model.training, "as it was"
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    assert found.draw().mode == "RGB"
    assert found.save(tmp_path / "deep" / "a.png") == tmp_path / "deep" / "a.png"
    with Image.open(tmp_path / "deep" / "a.png") as written:
        assert written.size[0] > 1
    with pytest.raises(UsageError, match=r"a\.xyz[\s\S]*ending in[\s\S]*write"):
        found.save(tmp_path / "a.xyz")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(UsageError, match=r"which is a folder"):
        found.save(tmp_path / "b.png")


def test_inputs_that_cannot_be_read(task) -> None:
    for wrong in (3.5, None, "nowhere.png", np.zeros((4, 4, 3)), np.zeros((4, 4, 5), np.uint8)):
        with pytest.raises(UsageError):
            task.read(wrong)


def test_a_model_of_no_task() -> None:
    with pytest.raises(UsageError, match=r"class Linear[\s\S]*vitrail\.from_model"):
        task_of(nn.Linear(2, 2))
