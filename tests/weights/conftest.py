"""Small models with random weights, and the peers they are compared with."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vitrail.models import Backbone, Swin, SwinConfig, SwinV2, SwinV2Config

NUMBERS: dict[str, Any] = {"dim": 24, "depths": (2, 2), "num_heads": (3, 6), "num_classes": 5}
VIDEO: dict[str, Any] = {"patch": (2, 4, 4), "merge": (1, 2, 2), "window": (2, 7, 7)}
MODELS: dict[str, Callable[..., Backbone]] = {
    "swin": lambda **f: Swin(SwinConfig(**NUMBERS | f)),
    "swin_v2": lambda **f: SwinV2(SwinV2Config(**NUMBERS | f)),
    "video": lambda **f: Swin(SwinConfig(**NUMBERS | VIDEO | f)),
}


def fill(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def draw() -> Callable[..., nn.Module]:
    """Fill every parameter of a module with random numbers."""
    return fill


@pytest.fixture
def build() -> Callable[..., Backbone]:
    """Build a small model of a kind, with random weights that no other has, for evaluation."""
    seeds = itertools.count(1)

    def make(kind: str = "swin", **fields: Any) -> Backbone:
        model = fill(MODELS[kind](**fields), next(seeds)).eval()
        assert isinstance(model, Backbone)
        return model

    return make


@pytest.fixture(scope="session")
def manifests() -> dict[str, dict[str, list[int]]]:
    """Keys and shapes of formats whose package is not installed here.

    Written down from the formats' public descriptions, not from the rules: two stages of two
    blocks, dim 24, heads 3 and 6, 5 classes; 56 pixels and window 7, or 64 and 8 for Swin V2.
    """
    return json.loads((Path(__file__).parent / "manifests.json").read_text())
