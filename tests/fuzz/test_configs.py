"""Configurations as files hold them: mutated JSON is refused, or is of a model that runs."""

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.fuzz import frame
from tests.support import small
from vitrail.models import Backbone, hub
from vitrail.models.focal import Focal, FocalConfig, FocalFast, FocalFastConfig
from vitrail.models.mechanism_swin import MechanismSwin, MechanismSwinConfig
from vitrail.models.pvt import PVT, PVTConfig
from vitrail.models.pvt_v2 import PVTV2, PVTV2Config
from vitrail.models.vit import ViT, ViTConfig
from vitrail.weights import load_backbone

MEMORY = 1 << 30
_BODY: dict[str, Any] = {"depths": (1, 1), "num_heads": (2, 4), "num_classes": 5, "patch": (2, 2)}
_PYRAMID: dict[str, Any] = {
    **_BODY, "dims": (8, 16), "mlp_ratios": (1.0, 2.0), "reductions": ((2, 2), (1, 1)),
}  # fmt: skip
_VIT: dict[str, Any] = {
    **_BODY, "depths": (2,), "num_heads": (2,), "dim": 8, "positions": (4, 4),
}  # fmt: skip


def models() -> list[Backbone]:
    """Return a small model of every family."""
    return [
        *(small(kind) for kind in ("1-D", "2-D", "3-D", "V2")),
        PVT(PVTConfig(**_PYRAMID, positions=((4, 4), (2, 2)))),
        PVTV2(PVTV2Config(**_PYRAMID, patch_kernel=(3, 3))),
        PVTV2(PVTV2Config(**_PYRAMID, patch_kernel=(3, 3), pooled=(3, 3))),
        ViT(ViTConfig(**_VIT)),
        Focal(FocalConfig(**_BODY, dim=8, windows=((4, 4), (4, 4)), margins=((1, 1), (0, 0)),
                          levels=(((3, 3),), ((1, 1),)))),
        FocalFast(FocalFastConfig(**_BODY, dim=8, windows=((4, 4), (4, 4)), count=4)),
        *(MechanismSwin(MechanismSwinConfig(**_BODY, dim=8, mechanism=kind))
          for kind in ("axial", "sparse")),
    ]  # fmt: skip


def check_runs(model: Backbone) -> None:
    """Run a model on a small input: what was accepted works."""
    config = model.config
    x = torch.randn(1, config.in_channels, *(8 + axis for axis in range(config.axes)))
    with torch.inference_mode():
        model(x)


@frame.LONG
def test_descriptions_in_files(tmp_path: Path) -> None:
    known = models()

    def case(rng: random.Random) -> None:
        model, path = rng.choice(known), tmp_path / hub.FILE_NAME
        meta = hub.metadata(model)
        for part in rng.sample(("config", "preprocessing"), rng.choice((1, 1, 2))):
            meta[part] = frame.mutated_json(rng, json.loads(meta[part]))
        if rng.random() < 0.05:
            meta[rng.choice(list(meta))] = rng.choice(("", "Swin", "\0", "x" * 10_000))
        clean = {key: value.encode("utf-8", "replace").decode() for key, value in meta.items()}
        state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        save_file(state, path, metadata=clean)
        with frame.nothing_executed():
            build = load_backbone if rng.random() < 0.5 else Backbone.from_pretrained
            check_runs(build(path))

    outcomes = frame.fuzz("descriptions", case, memory=MEMORY)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0


@frame.LONG
def test_configurations() -> None:
    """Values of any type and size are refused by the configuration itself."""
    known = [type(model.config) for model in models()], [asdict(m.config) for m in models()]

    def case(rng: random.Random) -> None:
        config_class, values = rng.choice(list(zip(*known, strict=True)))
        mutated = frame.mutated_value(rng, json.loads(json.dumps(values)))
        if isinstance(mutated, dict) and all(isinstance(key, str) for key in mutated):
            names = values.keys() & mutated.keys()
            config_class(**{name: mutated[name] for name in names})

    outcomes = frame.fuzz("configurations", case, memory=MEMORY)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0
