"""Segmentation: what is learnt, measured and answered, on models that see one pixel each."""

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from tests.tasks.pairs import encoded, pair, write_pairs
from vitrail.data.batch import Batch, Sample, Samples, Unreadable
from vitrail.data.dataset import Skipped
from vitrail.errors import UsageError
from vitrail.models import Preprocessing
from vitrail.tasks import segment_score
from vitrail.tasks.instances import CLASSES
from vitrail.tasks.losses import IGNORED, cross_entropy, soft_dice
from vitrail.tasks.options import options_of
from vitrail.tasks.segment import Objects, Segment
from vitrail.tasks.segment_options import SegmentOptions
from vitrail.training.evaluation import evaluate
from vitrail.training.recipe import Recipe

FACTS = Preprocessing(size=(16, 16), crop=1.0)


class Oracle(nn.Module):
    """Knows the tiny images: ground, boxes that are blue, boxes that are red."""

    def forward(self, x):
        warm = x[:, 0] - x[:, 2]
        box = x.mean(1) > -0.2
        logits = torch.stack([~box, box & (warm < 0), box & (warm >= 0)], 1)
        return logits.float() * 8


def part_of(path: Path):
    source = Segment.open([str(path)], train=True, root=path, download=False)
    return Segment.split(source, 0.0, 0)[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "set.zip", 12)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mixed.zip"
    return write_pairs(path, 10, sizes=((24, 20), (30, 41), (23, 19)))


def sample(samples: Samples, position: int, seed: int = 0) -> Sample:
    found = samples[position, seed]
    assert isinstance(found, Sample)
    return found


def task_of(path: Path, *words: str) -> Segment:
    return Segment.build(part_of(path), options_of(Segment, words))


# ---- the task of the data --------------------------------------------------------------------


def test_classes_are_the_labels_that_occur(data) -> None:
    task = task_of(data)
    assert task.classes == ("class 0", "class 1", "class 2")
    assert task.options.values == (0, 1, 2)
    assert task_of(data, "ignore=1").classes == ("class 0", "class 2")
    named = task_of(data, "classes=ground,cold,warm", "colours=#000000,#0000ff,#ff0000")
    assert named.classes == ("ground", "cold", "warm")
    assert named.options.colours[2] == "#ff0000"
    assert task_of(data, "classes=cold,ground", "values=1,0").options.values == (1, 0)
    assert hash(task) == hash(pickle.loads(pickle.dumps(task)))


def test_labels_become_class_numbers(data) -> None:
    task = task_of(data, "classes=warm,ground", "values=2,0", "ignore=1")
    found = sample(task.samples(part_of(data), FACTS, None), 3)
    objects = torch.from_numpy(pair(3)[1].astype(np.int64))
    labels = found.target["labels"]
    assert torch.equal(labels == IGNORED, objects == 1)
    assert torch.equal(labels == 0, objects == 2)
    assert torch.equal(labels == 1, objects == 0)
    assert found.target["kind"] == "odd"


def test_a_label_of_no_class_is_skipped_and_reported(data) -> None:
    task = task_of(data, "classes=ground,cold")
    found = task.samples(part_of(data), FACTS, None)[0, 0]
    assert isinstance(found, Unreadable)
    assert "with the label 2" in found.reason
    skipped = Skipped(100)
    with pytest.raises(UsageError, match="12 unreadable"):
        limit = Skipped(11)
        samples = task.samples(part_of(data), FACTS, None)
        evaluate(Oracle(), samples, task.score(), collate=task.collate, skipped=limit)
    samples = task.samples(part_of(data), FACTS, None)
    with pytest.raises(UsageError, match=r"12 images of which none can be read.*with the label 2"):
        evaluate(Oracle(), samples, task.score(), collate=task.collate, skipped=skipped)
    assert len(skipped.reasons) == 12


def test_labels_that_number_objects(tmp_path) -> None:
    numbers = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20))
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("labels/a.png", encoded(numbers))
        archive.writestr("images/a.png", encoded(Image.new("RGB", (20, 20))))
    with pytest.raises(UsageError, match=r"399 different labels[\s\S]*--set instances=true"):
        task_of(tmp_path / "z.zip")
    task = task_of(tmp_path / "z.zip", "instances=true")
    assert isinstance(task, Objects)
    assert task.classes == ("background", "inside", "border")


def test_masks_of_0_and_255(tmp_path) -> None:
    """255 is ignored by default; the error says how to make it a class."""
    with (
        zipfile.ZipFile(write_pairs(tmp_path / "a.zip", 2)) as old,
        zipfile.ZipFile(tmp_path / "b.zip", "w") as new,
    ):
        for name in old.namelist():
            number = int(Path(name).stem)
            mask = Image.fromarray(((pair(number)[1] > 0) * 255).astype(np.uint8))
            new.writestr(name, encoded(mask) if name[0] == "l" else old.read(name))
    with pytest.raises(UsageError, match=r"no label but 0 and 255[\s\S]*--set ignore=none"):
        task_of(tmp_path / "b.zip")
    task = task_of(tmp_path / "b.zip", "ignore=none")
    assert task.options.values == (0, 255)
    found = sample(task.samples(part_of(tmp_path / "b.zip"), FACTS, None), 0)
    assert found.target["labels"].unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("rotate=200", r"rotate=200.*[\s\S]*from 0 to 180[\s\S]*leave rotate out"),
        ("border=0", r"border=0[\s\S]*from 1 to 64"),
        ("overlap=0.95", r"overlap=0\.95[\s\S]*from 0 to 0\.9"),
        ("colours=red", r"colours=red[\s\S]*colours=#000000,#ff0000"),
        ("classes=a,a", r"classes=a,a[\s\S]*name each class once"),
        ("values=3", r"values=3[\s\S]*two different"),
        ("values=1,70000", r"values=\(1, 70000\)[\s\S]*from 0 to 65535"),
        ("normalise=batch", r"normalise=batch[\s\S]*image, fixed"),
    ],
)
def test_options_that_cannot_be(word, expected) -> None:
    with pytest.raises(UsageError, match=expected):
        options_of(Segment, [word])


def test_options_that_do_not_fit_together() -> None:
    with pytest.raises(UsageError, match=r"3 classes and 2 class_weights[\s\S]*as many of each"):
        options_of(Segment, ["classes=a,b,c", "class_weights=1,2"])
    with pytest.raises(UsageError, match="2 classes and 3 the objects' classes"):
        options_of(Segment, ["classes=a,b", "instances=true"])


# ---- samples ---------------------------------------------------------------------------------


def test_training_samples_are_crops_that_fit_their_labels(data) -> None:
    """The oracle, which sees colours alone, is right about moved images too."""
    task = task_of(data, "rotate=180", "scale=1.5", "flip=all", "gamma=1", "contrast=1")
    samples = task.samples(part_of(data), FACTS, Recipe(seed=1))
    batch = task.collate([sample(samples, n % 12, n) for n in range(24)])
    assert batch.inputs.shape == (24, 3, 16, 16)
    found = Oracle()(batch.inputs).argmax(1)
    assert (found == batch.targets["labels"]).float().mean() > 0.9
    assert not torch.equal(sample(samples, 0, 1).input, sample(samples, 0, 2).input)
    assert torch.equal(sample(samples, 0, 1).input, sample(samples, 0, 1).input)


def test_each_image_is_normalised_by_itself(data) -> None:
    image = sample(task_of(data).samples(part_of(data), FACTS, None), 0)
    assert float(image.input.mean()) == pytest.approx(0, abs=1e-5)
    assert float(image.input.std(correction=0)) == pytest.approx(1, abs=1e-5)
    fixed = sample(task_of(data, "normalise=fixed").samples(part_of(data), FACTS, None), 0)
    pixels = torch.from_numpy(pair(0)[0]).movedim(-1, 0) / 255
    mean, std = torch.tensor(FACTS.mean)[:, None, None], torch.tensor(FACTS.std)[:, None, None]
    assert torch.allclose(fixed.input, (pixels - mean) / std, atol=1e-6)


def test_an_image_of_one_colour_stays_finite(data) -> None:
    flat = task_of(data).normalised(torch.full((3, 4, 4), 0.5), FACTS)
    assert torch.equal(flat, torch.zeros(3, 4, 4))


# ---- losses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spatial", [(9,), (4, 5), (2, 3, 4)])
def test_the_cross_entropy_is_torchs_and_zero_where_all_is_ignored(spatial) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, *spatial), torch.randint(0, 3, (2, *spatial))
    labels[0, 0] = IGNORED
    weights = (0.5, 1.0, 3.0)
    wanted = F.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=IGNORED)
    assert float(cross_entropy(logits, labels, weights)) == pytest.approx(float(wanted), rel=1e-5)
    nothing = cross_entropy(logits.requires_grad_(), torch.full_like(labels, IGNORED))
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_soft_dice_of_sure_answers_is_the_dice() -> None:
    labels = torch.randint(0, 3, (2, 6, 7), generator=torch.Generator().manual_seed(0))
    found = labels.clone()
    found[0, :3] = 1
    sure = F.one_hot(found, 3).movedim(-1, 1) * 100.0
    for n, value in enumerate(soft_dice(sure, labels).tolist()):
        both = int(((found == n) & (labels == n)).sum())
        either = int((found == n).sum() + (labels == n).sum())
        assert value == pytest.approx((2 * both + 1) / (either + 1))
    ignored = torch.where(found == labels, labels, IGNORED)
    assert torch.allclose(soft_dice(sure, ignored), torch.ones(3))


def test_the_dice_of_objects_counts_inside_and_border_as_one() -> None:
    task = Objects(CLASSES, SegmentOptions(instances=True, ignore=None))
    logits = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 6, 7), generator=torch.Generator().manual_seed(1))
    share = task.judged_logits(logits).softmax(1)
    assert torch.allclose(share[:, 1], logits.softmax(1)[:, 1:].sum(1))
    batch = Batch(logits, {"labels": labels}, ("a", "b"), torch.ones(2, dtype=torch.bool))
    dice = task.loss(lambda x: x, batch, Recipe())[1]["dice"]
    both, either = (share[:, 1] * (labels > 0)).sum(), share[:, 1].sum() + (labels > 0).sum()
    assert float(dice) == pytest.approx(float((2 * both + 1) / (either + 1)))


def test_a_step_down_the_loss_makes_it_smaller(data) -> None:
    torch.manual_seed(0)
    task, recipe = task_of(data), Recipe(seed=0)
    samples = task.samples(part_of(data), FACTS, recipe)
    batch = task.collate([sample(samples, n, n) for n in range(8)])
    model = nn.Conv2d(3, 3, 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    losses, found = [], {}
    for _ in range(30):
        loss, found = task.loss(model, batch, recipe)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert 0.5 < float(found["dice"]) <= 1


# ---- scores ----------------------------------------------------------------------------------


def measured(task: Segment, path: Path, model: nn.Module, batch_size: int = 5):
    samples = task.samples(part_of(path), FACTS, None)
    return evaluate(model, samples, task.score(), collate=task.collate, batch_size=batch_size)


@pytest.mark.parametrize("words", [(), ("instances=true", "border=1", "least=4")])
def test_any_split_over_processes_measures_the_same(mixed, words) -> None:
    torch.manual_seed(0)
    task, model = task_of(mixed, *words), nn.Conv2d(3, 3, 3, padding=1)
    whole = measured(task, mixed, model)
    assert whole.count == 10
    samples = task.samples(part_of(mixed), FACTS, None)
    for shares in ([[0, 3, 6, 9], [1, 2, 4], [5, 7, 8]], [[9], [], [*range(9)]]):
        states = []
        for share in shares:
            score = task.score()
            for n in share:
                with torch.no_grad():
                    score.add(model, task.collate([sample(samples, n)]))
            states.append(pickle.loads(pickle.dumps(score.state())))
        merged = task.score()
        merged.merge(states)
        assert merged.result() == pytest.approx(whole.result(), rel=1e-6)
        assert merged.details().keys() == {"per_class", "per_kind"}
        again = task.score()
        again.merge(states[::-1])
        assert again.result() == merged.result()
        assert again.details() == merged.details()


def test_scores_by_hand(data) -> None:
    """Of a model that calls everything class 1."""
    task = task_of(data)

    class One(nn.Module):
        def forward(self, x):
            return F.one_hot(torch.ones_like(x[:, 0], dtype=torch.long), 3).movedim(-1, 1) * 9.0

    score = measured(task, data, One())
    true = [pair(n)[1] for n in range(12)]
    dice = [2 * (t == 1).sum() / (t.size + (t == 1).sum()) / 2 for t in true]  # of class 2 it is 0
    assert score.result()["dice"] == pytest.approx(np.mean(dice))
    share = sum((t == 1).sum() for t in true) / sum(t.size for t in true)
    assert score.result()["iou"] == pytest.approx(share / 3)
    details = score.details()
    assert details["per_class"]["class 1"]["iou"] == pytest.approx(share)
    assert details["per_kind"]["even"]["dice"] == pytest.approx(np.mean(dice[::2]))
    assert details["per_kind"]["odd"]["images"] == 6


def test_the_background_counts_where_it_is_a_class(data) -> None:
    """Of a model that takes warm boxes for the background."""
    half = nn.Sequential(Oracle(), Pick((2, 1, 0)))
    without, of_all = (
        measured(task_of(data, word), data, half)
        for word in ("background=true", "background=false")
    )
    assert without.result()["dice"] != of_all.result()["dice"]
    row = of_all.rows[0]
    each = 2 * row.both / (row.found + row.true)
    assert (row.dice(True), row.dice(False)) == pytest.approx((each[1:].mean(), each.mean()))


def test_ignored_places_count_nowhere(data) -> None:
    task = task_of(data, "ignore=1")
    found = measured(task, data, nn.Sequential(Oracle(), Pick((0, 2))))
    assert sum(int(row.true.sum()) for row in found.rows) == sum(
        int((pair(n)[1] != 1).sum()) for n in range(12)
    )
    assert found.result()["dice"] > 0.9


class Pick(nn.Module):
    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = list(channels)

    def forward(self, x):
        return x[:, self.channels]


class Inside(nn.Module):
    """Knows the insides of the tiny images' boxes: they are the boxes, one pixel less around."""

    def forward(self, x):
        box = (Oracle()(x)[:, 1:] > 0).any(1, keepdim=True).float()
        inside = -F.max_pool2d(-box, 3, 1, 1)
        return torch.cat([1 - box, inside, box - inside], 1) * 8


def test_objects_are_found_and_counted(data) -> None:
    task = task_of(data, "instances=true", "border=1")
    result = measured(task, data, Inside()).result()
    assert result["ap50"] > 0.9
    assert result["dice"] > 0.9
    blind = measured(task, data, nn.Sequential(Oracle(), Pick((0, 0, 0)))).result()
    assert blind["ap50"] == 0


def test_large_inputs_are_measured_by_tiles(mixed) -> None:
    torch.manual_seed(0)
    seen = []

    class Watch(nn.Conv2d):
        def forward(self, input):
            seen.append(max(input.shape[2:]))
            return super().forward(input)

    task, model = task_of(mixed), Watch(3, 3, 1)
    whole = measured(task, mixed, model).result()
    assert max(seen) == 41
    seen.clear()
    small = replace(task, options=replace(task.options, tile=16))
    assert measured(small, mixed, model).result() == pytest.approx(whole, rel=1e-5)
    assert max(seen) == 16


def test_outputs_that_are_not_finite(data) -> None:
    class Broken(nn.Module):
        def forward(self, x):
            return Oracle()(x) * float("nan")

    with pytest.raises(UsageError, match=r"logits are not finite[\s\S]*use other weights"):
        measured(task_of(data), data, Broken())


def test_many_classes_are_measured_in_parts(data, monkeypatch) -> None:
    task = task_of(data)
    whole = measured(task, data, Oracle(), 12)
    monkeypatch.setattr(segment_score, "MAX_LOGITS", 3 * 24 * 20 * 5)
    sizes = []

    class Watch(Oracle):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    assert measured(task, data, Watch(), 12).result() == whole.result()
    assert sizes == [5, 5, 2]


def test_stand_ins_of_several_shapes_count_nowhere(mixed) -> None:
    task = task_of(mixed)
    samples = task.samples(part_of(mixed), FACTS, None)
    batch = task.collate([sample(samples, n) for n in range(5)])
    assert isinstance(batch.inputs, list)
    score = task.score()
    score.add(Oracle(), Batch(batch.inputs, batch.targets, batch.names, torch.arange(5) < 3))
    assert score.count == 3


def test_defaults_are_those_of_the_documentation() -> None:
    assert SegmentOptions() == options_of(Segment, ())
