"""The methods that a page offers: on every mechanism, and on pictures of two things at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import vitrail
from tests.mechanisms import MECHANISMS
from tests.support import small
from vitrail.data.sources import open_source
from vitrail.explain import METHODS, capture
from vitrail.models import Backbone

SIZE = (21, 31)


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_method_works_on_every_mechanism(name: str) -> None:
    model = MECHANISMS[name]()
    image = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0))
    trace = capture(model, image)
    grids = [next(b.spatial for b in trace.blocks if b.stage == 0), trace.blocks[-1].spatial]
    for method in METHODS.values():
        maps = [method.map(model, image, trace, cls) for cls in range(5)]
        for found in maps:
            assert found.shape == grids[method.grid]
            assert torch.isfinite(found).all()
            assert (found >= 0).all()
        assert any(float(found.max()) > 0 for found in maps), method.id
        same = all(torch.equal(found, maps[0]) for found in maps)
        assert same != method.per_class, method.id


@pytest.mark.parametrize(("kind", "shape"), [("1-D", (3, 43)), ("3-D", (3, 5, 15, 9))])
def test_other_ranks(kind: str, shape: tuple[int, ...]) -> None:
    model, image = small(kind), torch.randn(*shape)
    trace = capture(model, image)
    for method in METHODS.values():
        assert method.map(model, image, trace, 2).ndim == len(shape) - 1


def test_what_a_page_needs_to_know() -> None:
    assert list(METHODS) == ["rollout", "gradient-rollout", "gradcam"]
    for name, method in METHODS.items():
        assert method.id == name
        assert method.kind == ("gradient" if method.per_class else "routing")
    assert "routing, not importance" in METHODS["rollout"].text


@pytest.fixture(scope="module")
def classifier() -> Backbone:
    return vitrail.create_model("swin_nano", weights="bundled").eval()


@pytest.fixture(scope="module")
def pictures(data_dir: Path, classifier: Backbone) -> list[tuple[Tensor, int]]:
    """The first test images of each class that the model is sure of, and right about."""
    source = open_source([str(data_dir / "cifar10" / "test.zip")], train=False)
    prepared = vitrail.transform(classifier)
    found = []
    for cls in range(10):
        for index in np.flatnonzero(np.asarray(source.labels) == cls)[:12].tolist():
            image = prepared(source.image(index))
            with torch.no_grad():
                answer = classifier(image[None]).softmax(-1)[0]
            if int(answer.argmax()) == cls and float(answer.max()) > 0.9:
                found.append((image, cls))
                break
    return found


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.per_class])
def test_of_two_things_in_one_picture_each_has_its_own_map(
    name: str, classifier: Backbone, pictures: list[tuple[Tensor, int]]
) -> None:
    """Side by side and one above the other: a class' map has more on its own half."""
    assert len(pictures) >= 8
    method, gains = METHODS[name], []
    for i, (one, own) in enumerate(pictures):
        other, cls = pictures[(i + 3) % len(pictures)]
        axis = 1 + i % 2
        collage = torch.cat((one, other), dim=axis)
        trace = capture(classifier, collage)
        shares = []
        for wanted in (own, cls):
            found = method.map(classifier, collage, trace, wanted)
            first, _ = found.tensor_split(2, dim=axis - 1)
            shares.append(float(first.sum() / found.sum()))
        gains.append(shares[0] - shares[1])
    wins = sum(gain > 0 for gain in gains)
    assert wins >= len(gains) - 1, gains
    assert sum(gains) / len(gains) > 0.4, gains
