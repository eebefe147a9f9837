"""Modules, one idea a file; every one takes channels-last tokens on a grid of any rank."""

from vitrail.layers.attend import Attend
from vitrail.layers.block import PostNormBlock, PreNormBlock
from vitrail.layers.cosine_attention import CosineWindowAttention
from vitrail.layers.drop import DropPath
from vitrail.layers.embed import PatchEmbed
from vitrail.layers.merge import PatchMerging, PostNormPatchMerging
from vitrail.layers.mlp import Mlp
from vitrail.layers.position import AbsolutePosition, ContinuousBias, RelativeBias
from vitrail.layers.window_attention import WindowAttention

__all__ = [
    "AbsolutePosition",
    "Attend",
    "ContinuousBias",
    "CosineWindowAttention",
    "DropPath",
    "Mlp",
    "PatchEmbed",
    "PatchMerging",
    "PostNormBlock",
    "PostNormPatchMerging",
    "PreNormBlock",
    "RelativeBias",
    "WindowAttention",
]
