"""Tiny data of every task."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.tasks.boxes import CLASSES, write_boxes
from tests.tasks.pairs import pair, write_pairs
from vitrail import create_model
from vitrail.heads import FCOSConfig, SemanticFPNConfig
from vitrail.models import TaskModel


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data by the task's name; of ``classify``, 3 classes of 10, 20 and 42 pictures of 16 x 16;
    of ``segment``, 72 pictures with label maps of 3 classes; of ``detect``, as many with boxes.
    """
    path = tmp_path_factory.mktemp("data") / "classify.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, (name, count) in enumerate({"a": 10, "b": 20, "c": 42}.items()):
            for number in range(count):
                noise = np.random.default_rng(100 * kind + number)
                pixels = noise.integers(60 * kind, 60 * kind + 100, (16, 16, 3), dtype=np.uint8)
                stream = io.BytesIO()
                Image.fromarray(pixels).save(stream, "PNG")
                archive.writestr(f"{name}/{number:02d}.png", stream.getvalue())
    return {
        "classify": path,
        "segment": write_pairs(path.with_name("segment.zip"), 72),
        "detect": write_boxes(path.with_name("detect.zip"), 72),
    }


def tiny_detector() -> TaskModel:
    torch.manual_seed(0)
    fields = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
    head = FCOSConfig(pyramid_dim=64, convs=1, first=0)
    model = create_model("swin_nano", task="detect", head=head, num_classes=2, **fields)
    model.preprocessing = replace(model.preprocessing, size=(16, 16), classes=CLASSES)
    return model


@pytest.fixture
def tiny_model() -> dict[str, nn.Module]:
    """A model for the tiny data of every task, by the task's name."""
    fields = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
    model = create_model("swin_nano", num_classes=3, **fields)
    model.preprocessing = replace(model.preprocessing, size=(16, 16), classes=("a", "b", "c"))
    head = SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2)
    dense = create_model("swin_nano", task="segment", head=head, num_classes=3, **fields)
    dense.preprocessing = replace(dense.preprocessing, size=(16, 16))
    dense.preprocessing = replace(dense.preprocessing, classes=("class 0", "class 1", "class 2"))
    return {"classify": model, "segment": dense, "detect": tiny_detector()}


@pytest.fixture
def tiny_input() -> dict[str, Image.Image]:
    """What a model of each task predicts for."""
    photo = Image.fromarray(pair(0)[0])
    return dict.fromkeys(("classify", "segment", "detect"), photo)


class PerImage(nn.Module):
    """Any model of images with one answer each; counts its calls."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.map = nn.Linear(3, classes)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.map(x.mean((2, 3)))


class PerPixel(PerImage):
    """Any model with an answer for each pixel."""

    def forward(self, x):
        self.calls += 1
        return self.map(x.movedim(1, -1)).movedim(-1, 1)


class PerBox(nn.Module):
    """A tiny detector; counts its calls."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.inner = tiny_detector()
        self.calls = 0

    def forward(self, x, *targets):
        self.calls += 1
        return self.inner.train(bool(targets))(x, *targets)


@pytest.fixture
def any_model(task) -> nn.Module:
    """A small model for the task at hand."""
    kinds = {"classify": PerImage, "segment": PerPixel, "detect": PerBox}
    return kinds[task.name](len(task.classes))
