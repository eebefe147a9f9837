"""Modules, one idea a file; every one takes channels-last tokens on a grid of any rank."""

from vitrail.layers.attend import Attend
from vitrail.layers.block import PostNormBlock, PreNormBlock
from vitrail.layers.cosine_attention import CosineWindowAttention
from vitrail.layers.drop import DropPath
from vitrail.layers.embed import PatchEmbed
from vitrail.layers.focal_attention import FocalAttention, NearestAttention
from vitrail.layers.focal_bias import CoordinateBias, FocalBias
from vitrail.layers.merge import ConvMerging, PatchMerging, PostNormPatchMerging
from vitrail.layers.mlp import DepthwiseMlp, Mlp
from vitrail.layers.position import AbsolutePosition, ContinuousBias, RelativeBias
from vitrail.layers.prefix import PrefixTokens
from vitrail.layers.reduction_attention import ReductionAttention
from vitrail.layers.window_attention import WindowAttention

__all__ = [
    "AbsolutePosition",
    "Attend",
    "ContinuousBias",
    "ConvMerging",
    "CoordinateBias",
    "CosineWindowAttention",
    "DepthwiseMlp",
    "DropPath",
    "FocalAttention",
    "FocalBias",
    "Mlp",
    "NearestAttention",
    "PatchEmbed",
    "PatchMerging",
    "PostNormBlock",
    "PostNormPatchMerging",
    "PreNormBlock",
    "PrefixTokens",
    "ReductionAttention",
    "RelativeBias",
    "WindowAttention",
]
