"""Modules, one idea a file; every one takes channels-last tokens on a grid of any rank."""

from vitrail.attention import Attend
from vitrail.layers.block import PostNormBlock, PreNormBlock
from vitrail.layers.cosine_attention import CosineWindowAttention
from vitrail.layers.drop import DropPath
from vitrail.layers.embed import PatchEmbed
from vitrail.layers.focal_attention import FocalAttention, NearestAttention
from vitrail.layers.focal_bias import CoordinateBias, FocalBias
from vitrail.layers.grouped_attention import GroupedAttention, WindowAttention
from vitrail.layers.mbconv import ConvStem, MBConv
from vitrail.layers.merge import ConvMerging, PatchMerging, PostNormPatchMerging
from vitrail.layers.mlp import DepthwiseMlp, Mlp
from vitrail.layers.offset_bias import OffsetBias
from vitrail.layers.pooled_attention import PooledQueryAttention, PoolingBlock
from vitrail.layers.position import AbsolutePosition, ContinuousBias, RelativeBias
from vitrail.layers.prefix import PrefixTokens
from vitrail.layers.reduction_attention import ReductionAttention

__all__ = [
    "AbsolutePosition",
    "Attend",
    "ContinuousBias",
    "ConvMerging",
    "ConvStem",
    "CoordinateBias",
    "CosineWindowAttention",
    "DepthwiseMlp",
    "DropPath",
    "FocalAttention",
    "FocalBias",
    "GroupedAttention",
    "MBConv",
    "Mlp",
    "NearestAttention",
    "OffsetBias",
    "PatchEmbed",
    "PatchMerging",
    "PooledQueryAttention",
    "PoolingBlock",
    "PostNormBlock",
    "PostNormPatchMerging",
    "PreNormBlock",
    "PrefixTokens",
    "ReductionAttention",
    "RelativeBias",
    "WindowAttention",
]
