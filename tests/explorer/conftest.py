"""A small real model on a small picture, for everything that needs a trace."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.explorer import costs, maps
from vitrail.models import Swin, SwinConfig

CONFIG = SwinConfig(
    dim=8, depths=(2, 2), num_heads=(2, 4), window=(4, 4), patch=(2, 2), num_classes=5
)


@pytest.fixture
def model() -> Swin:
    torch.manual_seed(0)
    model = Swin(CONFIG, name="small")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model.eval()


@pytest.fixture
def picture() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((90, 60), Image.Resampling.BICUBIC)


@pytest.fixture(autouse=True)
def few_costs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Costs at small sizes only, and scores of maps where a test requests them: both take long."""
    whole = "test_costs" in request.node.nodeid
    if whole:
        costs.curve.cache_clear()
    else:
        monkeypatch.setattr(costs, "SIZES", (16, 32))
        monkeypatch.setattr(costs, "WINDOWS", (4,))
        monkeypatch.setattr(maps, "OPERATIONS", 0)
    yield
    if whole:
        costs.curve.cache_clear()
