import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from vitrail.data.batch import Sample
from vitrail.data.dataset import ImageSamples, Skipped, Subset, split
from vitrail.data.images import ImageError
from vitrail.data.sources import LabelledImages, open_source
from vitrail.errors import UsageError
from vitrail.tasks.classify import ClassifyScore
from vitrail.training.evaluation import evaluate

TRANSFORM = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()])


class Colour(nn.Module):
    """Knows the four colours of the tiny data set; ``twist`` makes it wrong on some."""

    def __init__(self, twist: float = 0.0) -> None:
        super().__init__()
        means = torch.tensor([[40, 40, 200], [40, 200, 40], [200, 40, 40], [230, 230, 230]]) / 255
        self.means = nn.Parameter(means)
        self.twist = twist

    def forward(self, x):
        assert not self.training
        seen = x.mean((2, 3))
        noise = torch.sin(1e4 * x[:, 0, 0, 0])[:, None] * torch.tensor([1.0, -1.0, 0.5, 0.0])
        return -10 * (seen[:, None] - self.means).square().sum(-1) + self.twist * noise


@pytest.fixture
def part(tiny_zip) -> Subset[LabelledImages]:
    return split(open_source(tiny_zip), 0.0, 0)[0]


def test_a_perfect_model(part) -> None:
    model = Colour().train()
    scores = evaluate(model, ImageSamples(part, TRANSFORM), ClassifyScore(4), batch_size=32)
    assert (scores.count, scores.top1, scores.top5, scores.skipped) == (80, 1.0, 1.0, 0)
    assert scores.confusion.tolist() == (20 * np.eye(4, dtype=int)).tolist()
    assert scores.per_class.tolist() == [1.0] * 4
    assert model.training, "left as it was"


@pytest.mark.parametrize("batch_size", [1, 7, 32, 500])
def test_equals_the_plain_computation(part, batch_size) -> None:
    """For any size of batch, the last one being another."""
    pictures = ImageSamples(part, TRANSFORM)
    model = Colour(twist=8.0).eval()
    images = torch.stack([x.input for n in range(80) if isinstance(x := pictures[n, 0], Sample)])
    labels = torch.from_numpy(part.source.labels[part.indices])
    logits = model(images).detach()
    scores = evaluate(model, pictures, ClassifyScore(4), batch_size=batch_size)
    assert scores.loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item())
    assert scores.top1 == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert 0.1 < scores.top1 < 0.9
    assert scores.confusion.sum() == scores.count == 80
    for kind in range(4):
        found = (logits.argmax(1)[labels == kind] == kind).float().mean().item()
        assert scores.per_class[kind] == pytest.approx(found)
    assert scores.confusion[1, 2] == ((labels == 1) & (logits.argmax(1) == 2)).sum()


def test_top_five() -> None:
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.arange(10.0).expand(len(x), 10)  # 9, 8, 7, 6, 5 are the first five

    class Numbers:
        classes = tuple(map(str, range(10)))
        labels = np.arange(10)

        def name(self, index: int) -> str:
            return str(index)

        def image(self, index: int):
            return Image.new("RGB", (2, 2))

    pictures = ImageSamples(Subset(Numbers(), np.arange(10)), TRANSFORM)
    scores = evaluate(Fixed(), pictures, ClassifyScore(10))
    assert (scores.top1, scores.top5) == (0.1, 0.5)


@pytest.fixture
def states(monkeypatch) -> list[ClassifyScore]:
    """What each of several processes has measured, in the place of gathering it."""
    found: list[ClassifyScore] = []

    def gather(into, own) -> None:
        state, _ = own
        score = ClassifyScore(4)
        score.merge([state])
        found.append(score)
        into[:] = [own, *((torch.zeros_like(state), 0) for _ in into[1:])]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    return found


def test_shares_of_processes_cover_everything_once(part, states) -> None:
    """Each process makes as many passes; what fills up the last ones is not counted."""
    passes: list[int] = []

    class Counting(Colour):
        def forward(self, x):
            passes[-1] += 1
            return super().forward(x)

    pictures = ImageSamples(part, TRANSFORM)
    for rank in range(3):
        passes.append(0)
        score, model = ClassifyScore(4), Counting(twist=8.0)
        evaluate(model, pictures, score, batch_size=9, rank=rank, processes=3)
    assert passes == [3, 3, 3]
    merged = ClassifyScore(4)
    merged.merge([score.state() for score in states])
    alone = evaluate(Colour(twist=8.0), pictures, ClassifyScore(4))
    assert merged.confusion.tolist() == alone.confusion.tolist()
    assert merged.result() == pytest.approx(alone.result())
    assert alone.count == 80


def test_a_process_without_a_share(part, states) -> None:
    """Five pictures, four a pass, three processes: the last one only keeps the others company."""
    few = ImageSamples(Subset(part.source, part.indices[::16]), TRANSFORM)
    for rank in range(3):
        evaluate(Colour(), few, ClassifyScore(4), batch_size=4, rank=rank, processes=3)
    assert [score.count for score in states] == [4, 1, 0]


class Broken:
    def __init__(self, source, bad) -> None:
        self.source, self.bad = source, bad
        self.classes, self.labels, self.name = source.classes, source.labels, source.name

    def image(self, index: int):
        if index in self.bad:
            raise ImageError(f"{self.name(index)!r}, damaged", "a picture", "leave it out")
        return self.source.image(index)


def test_unreadable_pictures_are_left_out(part) -> None:
    pictures = ImageSamples(Subset(Broken(part.source, {0, 1, 2, 30}), part.indices), TRANSFORM)
    skipped = Skipped(10)
    # With batches of three, the first one has nothing to measure.
    scores = evaluate(Colour(), pictures, ClassifyScore(4), batch_size=3, skipped=skipped)
    assert (scores.count, scores.skipped, scores.top1) == (76, 4, 1.0)
    assert len(skipped.reasons) == 4
    with pytest.raises(UsageError, match=r"1 unreadable.*damaged[\s\S]*at most 0[\s\S]*--max-bad"):
        evaluate(Colour(), pictures, ClassifyScore(4))


def test_a_share_without_a_readable_picture(part) -> None:
    pictures = ImageSamples(Subset(Broken(part.source, set(range(80))), part.indices), TRANSFORM)
    with pytest.raises(UsageError, match=r"none can be read[\s\S]*check the data"):
        evaluate(Colour(), pictures, ClassifyScore(4), skipped=Skipped(100), processes=2)


def test_no_pictures(part) -> None:
    with pytest.raises(UsageError, match=r"0 images[\s\S]*check the data path"):
        none = ImageSamples(Subset(part.source, part.indices[:0]), TRANSFORM)
        evaluate(Colour(), none, ClassifyScore(4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite(part, value) -> None:
    model = Colour().train()
    model.means.data[2, 0] = value
    with pytest.raises(
        UsageError, match=r"not finite.* for 32 of 32 images[\s\S]*use other weights"
    ):
        evaluate(model, ImageSamples(part, TRANSFORM), ClassifyScore(4), batch_size=32)
    assert model.training, "as it was"


def test_an_evaluation_reports_how_far_it_is_and_can_be_stopped(part) -> None:
    done: list[int] = []
    evaluate(
        Colour(),
        ImageSamples(part, TRANSFORM),
        ClassifyScore(4),
        batch_size=32,
        on_batch=done.append,
    )
    assert done == [32, 64, 96]

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    model = Colour().train()
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, ImageSamples(part, TRANSFORM), ClassifyScore(4), on_batch=stop)
    assert model.training
