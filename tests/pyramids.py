"""Small PVTs of every rank, for the tests of both versions."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tests.support import drawn
from vitrail.models import PVT, PVTV2, PVTConfig, PVTV2Config
from vitrail.models.pvt import Pyramid
from vitrail.shapes import Size

# Patches, merges and reductions that are no squares: no axis can be taken for another.
_V1 = PVTConfig(
    dims=(8, 12), depths=(2, 2), num_heads=(2, 3), mlp_ratios=(2.0, 1.5), num_classes=5,
    patch=(2, 3), merge=(2, 2), reductions=((3, 2), (1, 1)), positions=((4, 5), (2, 3)),
)  # fmt: skip
_V2 = PVTV2Config(
    dims=(8, 12), depths=(2, 2), num_heads=(2, 3), mlp_ratios=(2.0, 1.5), num_classes=5,
    patch=(2, 3), patch_kernel=(3, 5), merge=(2, 2), merge_kernel=(3, 3),
    reductions=((3, 2), (1, 2)),
)  # fmt: skip
PYRAMIDS: dict[str, PVTConfig | PVTV2Config] = {
    "v1 1-D": replace(_V1, patch=(3,), merge=(2,), reductions=((3,), (1,)), positions=((4,), (2,))),
    "v1 2-D": _V1,
    "v1 3-D": replace(
        _V1, patch=(1, 2, 3), merge=(1, 2, 2), reductions=((2, 3, 2), (1, 1, 1)),
        positions=((2, 3, 4), (2, 2, 2)),
    ),
    "v2 1-D": replace(_V2, patch=(3,), patch_kernel=(5,), merge=(2,), merge_kernel=(3,),
                      reductions=((3,), (1,))),
    "v2 2-D": _V2,
    "v2 3-D": replace(_V2, patch=(1, 2, 3), patch_kernel=(3, 3, 5), merge=(1, 2, 2),
                      merge_kernel=(1, 3, 3), reductions=((2, 3, 2), (1, 2, 1))),
    "linear 1-D": replace(_V2, patch=(3,), patch_kernel=(5,), merge=(2,), merge_kernel=(3,),
                          reductions=((1,), (1,)), pooled=(3,)),
    "linear 2-D": replace(_V2, pooled=(3, 2)),
}  # fmt: skip
# No multiple of anything, and no axis is another.
SIZES: dict[int, Size] = {1: (43,), 2: (21, 31), 3: (5, 15, 20)}


def small_pyramid(kind: str, *, seed: int = 0, **changes: Any) -> Pyramid:
    """Return a small model with drawn weights, in evaluation mode."""
    config = replace(PYRAMIDS[kind], **changes)
    model = PVT(config) if isinstance(config, PVTConfig) else PVTV2(config)
    return drawn(model, seed).eval()


def pyramid_input(kind: str, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return an input whose size nothing divides."""
    generator = torch.Generator().manual_seed(1)
    size = SIZES[PYRAMIDS[kind].axes]
    return torch.randn(batch, 3, *size, generator=generator, dtype=dtype)
