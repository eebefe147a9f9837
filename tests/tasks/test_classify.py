from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vitrail
from vitrail.data.batch import Sample
from vitrail.data.dataset import ImageSamples
from vitrail.data.sources import open_source
from vitrail.errors import UsageError
from vitrail.models import Preprocessing
from vitrail.tasks.classify import Classification, Classify, ClassifyOptions
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


def test_predict_is_what_the_model_answers(tiny_model, tmp_path) -> None:
    """Of a file, a Pillow image, an array and a tensor alike."""
    model = tiny_model["classify"].eval()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    with torch.no_grad():
        logits = model(vitrail.transform(model)(Image.fromarray(pixels))[None])[0]
    expected = logits.softmax(-1)
    forms = (path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels)
    for form in (*forms, torch.from_numpy(pixels).movedim(-1, 0)):
        found = vitrail.predict(model, form)
        assert isinstance(found, Classification)
        torch.testing.assert_close(found.probabilities, expected)
    rows = vitrail.predict(model, path).as_dict()["top"]
    assert [row["probability"] for row in rows] == sorted(expected.tolist(), reverse=True)
    assert [row["index"] for row in rows] == expected.argsort(descending=True).tolist()
    assert {row["class"] for row in rows} == {"a", "b", "c"}
    wide = vitrail.predict(model, path, size=(16, 24))
    assert isinstance(wide, Classification)
    assert not torch.equal(wide.probabilities, expected)


def test_predict_of_a_wrapped_model(tiny_model) -> None:
    model = tiny_model["classify"].eval()
    grey = np.full((20, 20), 90, dtype=np.uint8)
    alone = vitrail.predict(model, grey).as_dict()
    assert vitrail.predict(nn.DataParallel(model), grey).as_dict() == alone
    fast = vitrail.optimize(model, torch.zeros(1, 3, 16, 16))
    assert vitrail.predict(fast, grey).as_dict()["top"][0]["class"] == alone["top"][0]["class"]


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("swin1d_tiny", {"in_channels": 2, "dim": 48}, r"1 axes and 2 channels"),
        ("swin_nano", {"num_classes": 0}, r"swin_nano without a classifier[\s\S]*vitrail train"),
        ("swin_nano", {"out_indices": (0, 1)}, r"swin_nano without a classifier"),
    ],
)
def test_models_that_do_not_classify_photos(name, fields, message) -> None:
    model = vitrail.create_model(name, **fields)
    with pytest.raises(UsageError, match=message):
        vitrail.predict(model, np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        (np.zeros((4, 4, 3), np.float32), r"a ndarray of float32 with shape \(4, 4, 3\)"),
        (np.zeros((3, 4, 4), np.uint8), r"a ndarray of uint8 with shape \(3, 4, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), r"a Tensor of torch.uint8 with shape"),
        (17, "an object of type int"),
    ],
)
def test_what_is_no_photo(wrong, given, tiny_model) -> None:
    with pytest.raises(
        UsageError, match=given + r"[^\n]* as a photo[\s\S]*uint8 tensor[\s\S]*path"
    ):
        vitrail.predict(tiny_model["classify"], wrong)


def test_names_of_classes_draw_whatever_they_hold(tiny_model) -> None:
    model = tiny_model["classify"]
    names = ("\x1b[31mred", "a\nb", "猫" * 40)
    model.preprocessing = replace(model.preprocessing, classes=names)
    found = vitrail.predict(model, np.full((2000, 30, 3), 7, np.uint8))
    assert isinstance(found, Classification)
    picture = found.draw()
    assert picture.height == 640 + 3 * 24
    assert found.top(1)[0]["class"] in names
