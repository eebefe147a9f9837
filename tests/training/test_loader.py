import numpy as np
import pytest
import torch

from vitrail.data.batch import Batch, Unreadable, collate
from vitrail.data.dataset import ImageSamples, Skipped, Subset, load_into_memory, split
from vitrail.data.images import ImageError
from vitrail.data.rng import permutation
from vitrail.data.sources import LabelledImages, open_source
from vitrail.errors import UsageError
from vitrail.models import Preprocessing
from vitrail.tasks.classify import Classify, ClassifyOptions
from vitrail.training import loader
from vitrail.training.loader import BatchSource, Plan, batches
from vitrail.training.recipe import Recipe

PLAIN = Preprocessing(size=(16, 16), crop=1.0)


def test_an_epoch_takes_each_image_once() -> None:
    plan = Plan(images=23, batch=5, seed=0)
    assert plan.steps_per_epoch == 4
    first = np.concatenate([plan.positions(step) for step in range(4)])
    second = np.concatenate([plan.positions(step) for step in range(4, 8)])
    assert len(set(first)) == len(set(second)) == 20
    assert first.tolist() != second.tolist()
    assert np.array_equal(plan.positions(6), Plan(images=23, batch=5, seed=0).positions(6))
    assert plan.epoch_key(3) != plan.epoch_key(4)


def test_processes_share_a_batch() -> None:
    whole = Plan(images=100, batch=12, seed=1).positions(10)
    shares = [
        Plan(images=100, batch=12, seed=1, rank=rank, processes=3).positions(10)
        for rank in range(3)
    ]
    assert np.concatenate(shares).tolist() == whole.tolist()


def test_the_order_of_an_epoch_is_computed_once(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(loader, "permutation", lambda *args: calls.append(1) or permutation(*args))
    plan = Plan(images=40, batch=4, seed=77)
    first = plan.positions(0)
    first[:] = -1  # a caller's array is its own
    for step in range(20):
        assert plan.positions(step).min() >= 0
    assert len(calls) == 2


def test_a_batch_larger_than_the_data() -> None:
    with pytest.raises(UsageError, match=r"batch of 64 with 50[\s\S]*--batch-size 50"):
        Plan(images=50, batch=64, seed=0)


@pytest.fixture
def part(tiny_zip) -> Subset[LabelledImages]:
    return split(open_source(tiny_zip), 0.0, 0)[0]


def maker(part: Subset, crop: str = "resized") -> BatchSource:
    recipe = Recipe(crop=crop, seed=3)
    plan = Plan(images=len(part), batch=16, seed=3)
    task = Classify.build(part, ClassifyOptions())
    samples = task.samples(part, PLAIN, recipe)
    return BatchSource(samples, plan, task.collate, task.mixing(recipe))


def run(make, steps=range(4), workers=0, skipped=None) -> list[Batch]:
    skipped = skipped or Skipped(0)
    return list(batches(make, steps, workers=workers, pin=False, skipped=skipped))


def equal(one: Batch, other: Batch) -> bool:
    same = torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)
    return same and one.names == other.names


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_batches_do_not_depend_on_where_they_start_or_who_makes_them(part, memory) -> None:
    if memory:
        kept = load_into_memory(part, (16, 16), 1 << 20, Skipped(0))
        assert kept is not None
        make = maker(kept, "pad")
    else:
        make = maker(part)
    whole = run(make, range(7))
    late = run(make, range(5, 7))
    helped = run(make, range(7), workers=2)
    assert whole[0].inputs.shape == (16, 3, 16, 16)
    assert whole[0].targets.shape == (16, 4)
    for one, other in zip(whole[5:] + whole, late + helped, strict=True):
        assert equal(one, other)


def test_memory_and_source_read_the_same_pictures(part) -> None:
    """Only the way is another: decoded once, or each time."""
    kept = load_into_memory(part, (16, 16), 1 << 20, Skipped(0))
    assert kept is not None
    for one, other in zip(run(maker(part)), run(maker(kept)), strict=True):
        assert equal(one, other)
    assert kept.source.name(3) == part.source.name(3)


class Broken:
    """A source of which some pictures cannot be read."""

    def __init__(self, source, bad: set[int]) -> None:
        self.source, self.bad = source, bad
        self.classes, self.labels = source.classes, source.labels

    def name(self, index: int) -> str:
        return self.source.name(index)

    def image(self, index: int):
        if index in self.bad:
            raise ImageError(f"{self.name(index)!r}, damaged", "a picture", "leave it out")
        return self.source.image(index)


def from_broken(part: Subset, bad: set[int]) -> BatchSource:
    broken = Subset(Broken(part.source, bad), part.indices)
    return BatchSource(
        ImageSamples(broken, lambda image: torch.from_numpy(np.array(image)).float()),
        Plan(images=len(part), batch=16, seed=3),
        collate,
        lambda batch, seed, first: batch,
    )


def test_the_next_readable_picture_takes_the_place_of_a_bad_one(part) -> None:
    order = Plan(images=len(part), batch=16, seed=3).positions(0)
    good, _ = from_broken(part, set()).make(0)
    batch, bad = from_broken(part, {int(order[4]), int(order[15])}).make(0)
    assert torch.equal(batch.inputs[4], good.inputs[5])
    assert (batch.targets[4], batch.names[4]) == (good.targets[5], good.names[5])
    assert torch.equal(batch.inputs[15], good.inputs[0]), "after the last comes the first"
    assert torch.equal(batch.inputs[5:15], good.inputs[5:15])
    names = [part.source.name(int(order[n])) for n in (4, 15)]
    assert bad == [Unreadable(name, f"{name!r}, damaged") for name in names]


def test_bad_pictures_are_counted(part) -> None:
    skipped = Skipped(2)
    make = from_broken(part, {1, 2})
    run(make, range(10), skipped=skipped)
    assert len(skipped.reasons) == 2
    with pytest.raises(UsageError, match=r"2 unreadable images[\s\S]*at most 1[\s\S]*--max-bad"):
        run(make, range(10), skipped=Skipped(1))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_readable(part, workers) -> None:
    make = from_broken(part, set(range(80)))
    with pytest.raises(UsageError, match=r"none can be read.*damaged[\s\S]*check the data"):
        run(make, range(2), workers)
