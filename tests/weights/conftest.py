"""Small models with random weights, and the peers they are compared with."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vitrail.models import (
    PVT,
    PVTV2,
    Backbone,
    Hiera,
    HieraConfig,
    MaxViT,
    MaxViTConfig,
    MiT,
    MiTConfig,
    PVTConfig,
    PVTV2Config,
    Swin,
    SwinConfig,
    SwinV2,
    SwinV2Config,
)
from vitrail.models.focal import Focal, FocalConfig, FocalFast, FocalFastConfig
from vitrail.models.maxvit import MAXVIT_T
from vitrail.models.mechanism_swin import MechanismSwin, MechanismSwinConfig
from vitrail.models.vit import ViT, ViTConfig

NUMBERS: dict[str, Any] = {"dim": 24, "depths": (2, 2), "num_heads": (3, 6), "num_classes": 5}
VIDEO: dict[str, Any] = {"patch": (2, 4, 4), "merge": (1, 2, 2), "window": (2, 7, 7)}
PYRAMID: dict[str, Any] = {
    "dims": (12, 24), "depths": (2, 2), "num_heads": (3, 6), "num_classes": 5,
    "mlp_ratios": (2.0, 3.0), "reductions": ((4, 4), (1, 1)),
}  # fmt: skip
WIDE: dict[str, Any] = {"mlp_ratios": (4.0, 4.0)}
POSITIONS: dict[str, Any] = {"positions": ((14, 14), (7, 7))}
VIT: dict[str, Any] = {"dim": 24, "depths": (2,), "num_heads": (3,), "num_classes": 5,
                       "patch": (8, 8), "positions": (7, 7)}  # fmt: skip
FOCAL: dict[str, Any] = {**NUMBERS, "windows": ((4, 4), (4, 4))}
LEVELS: dict[str, Any] = {"margins": ((2, 2), (0, 0)), "levels": (((5, 5), (3, 3)), ((3, 3),)),
                          "halo": "rolled", "padding": "visible"}  # fmt: skip
COUNT: dict[str, Any] = {"count": 9}
MAXVIT: dict[str, Any] = {"dims": (12, 24), "depths": (2, 2), "num_heads": (3, 6),
                          "stem_dim": 16, "num_classes": 5}  # fmt: skip
HIERA: dict[str, Any] = {"dim": 12, "depths": (1, 2, 2, 1), "num_heads": (1, 2, 3, 4),
                         "positions": (16, 16), "num_classes": 5}  # fmt: skip
MODELS: dict[str, Callable[..., Backbone]] = {
    "swin": lambda **f: Swin(SwinConfig(**NUMBERS | f)),
    "swin_v2": lambda **f: SwinV2(SwinV2Config(**NUMBERS | f)),
    "video": lambda **f: Swin(SwinConfig(**NUMBERS | VIDEO | f)),
    "pvt": lambda **f: PVT(PVTConfig(**PYRAMID | POSITIONS | f)),
    "pvt_v2": lambda **f: PVTV2(PVTV2Config(**PYRAMID | f)),
    "mit": lambda **f: MiT(MiTConfig(**PYRAMID | WIDE | f)),
    "vit": lambda **f: ViT(ViTConfig(**VIT | f)),
    "focal": lambda **f: Focal(FocalConfig(**FOCAL | LEVELS | f)),
    "focal_fast": lambda **f: FocalFast(FocalFastConfig(**FOCAL | COUNT | f)),
    "hiera": lambda **f: Hiera(HieraConfig(**HIERA | f)),
    "maxvit": lambda **f: MaxViT(MaxViTConfig(**MAXVIT | f)),
    "tiny": lambda **f: MechanismSwin(MechanismSwinConfig(**NUMBERS | f)),
}


def fill(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model


# What torchvision's MaxViT does and the official one does not: a format holds its own kind alone.
_VISION = (
    "act",
    "conv_padding",
    "shortcut_pool",
    "shortcut_proj",
    "stem_bias",
    "head_bias",
    "scale",
)


def fields_of(name: str, kind: str) -> dict[str, object]:
    """Return the fields of the config that a model has to have to be written in a format."""
    if (name, kind) != ("torchvision", "maxvit"):
        return {}
    return {field: getattr(MAXVIT_T, field) for field in _VISION}


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
