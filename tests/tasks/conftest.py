"""Tiny data of every task."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from vitrail import create_model


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data by the task's name; of ``classify``, 3 classes of 10, 20 and 42 pictures of 16 x 16."""
    path = tmp_path_factory.mktemp("data") / "classify.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, (name, count) in enumerate({"a": 10, "b": 20, "c": 42}.items()):
            for number in range(count):
                noise = np.random.default_rng(100 * kind + number)
                pixels = noise.integers(60 * kind, 60 * kind + 100, (16, 16, 3), dtype=np.uint8)
                stream = io.BytesIO()
                Image.fromarray(pixels).save(stream, "PNG")
                archive.writestr(f"{name}/{number:02d}.png", stream.getvalue())
    return {"classify": path}


@pytest.fixture
def tiny_model() -> dict[str, nn.Module]:
    """A model for the tiny data of every task, by the task's name."""
    fields = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
    model = create_model("swin_nano", num_classes=3, **fields)
    model.preprocessing = replace(model.preprocessing, size=(16, 16), classes=("a", "b", "c"))
    return {"classify": model}
