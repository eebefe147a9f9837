import numpy as np
import pytest
import torch

from vitrail.data.batch import Sample
from vitrail.data.dataset import ImageSamples
from vitrail.data.sources import open_source
from vitrail.models import Preprocessing
from vitrail.tasks.classify import Classify, ClassifyOptions
from vitrail.training.recipe import Recipe

FACTS = Preprocessing(size=(16, 16), crop=1.0)


@pytest.fixture
def part(tiny_data):
    return Classify.split(open_source(tiny_data["classify"]), 0.0, 0)[0]


def test_balanced_classes_weigh_the_same_together(part) -> None:
    task = Classify.build(part, ClassifyOptions(balance=True))
    assert task.weights is not None
    counts = np.bincount(part.source.labels)
    assert counts.tolist() == [10, 20, 42]
    np.testing.assert_allclose(counts * np.array(task.weights), [24.0] * 3)
    assert Classify.build(part, ClassifyOptions()).weights is None


def test_a_balanced_loss_is_the_weighted_mean(part) -> None:
    task = Classify.build(part, ClassifyOptions(balance=True))
    recipe = Recipe(mixup=0.0, cutmix=0.0, smoothing=0.0)
    samples = task.samples(part, FACTS, None)
    assert isinstance(samples, ImageSamples)
    chosen = [one for n in (0, 15, 50, 60) if isinstance(one := samples[n, 0], Sample)]
    batch = task.mixing(recipe)(task.collate(chosen), 0, 0)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    loss, _ = task.loss(lambda images: logits, batch, recipe)
    weights = torch.tensor(task.weights)[batch.targets.argmax(-1)]
    each = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
    torch.testing.assert_close(loss, (weights * each).mean())
