"""Mix Transformer (MiT), the encoder of SegFormer.

Xie et al. 2021, "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", arXiv 2105.15203, section 3.1. It is PVT v2 with a perceptron four times as wide as
its stage everywhere. Differs from the official code as PVT v2 does (ADR 7).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from vitrail.models.pvt_v2 import PVTV2, PVTV2Config


@dataclass(frozen=True, kw_only=True, slots=True)
class MiTConfig(PVTV2Config):
    """Every number that defines a MiT; the fields are PVT v2's."""

    mlp_ratios: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0)


class MiT(PVTV2):
    """Attention to a reduced grid, overlapping patches, convolutions in perceptrons."""

    config_class: ClassVar[type[PVTV2Config]] = MiTConfig


MIT_B1 = MiTConfig()
MIT_B0 = replace(MIT_B1, dims=(32, 64, 160, 256))
MIT_B2 = replace(MIT_B1, depths=(3, 4, 6, 3))
MIT_B3 = replace(MIT_B1, depths=(3, 4, 18, 3))
MIT_B4 = replace(MIT_B1, depths=(3, 8, 27, 3))
MIT_B5 = replace(MIT_B1, depths=(3, 6, 40, 3))
