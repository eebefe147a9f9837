"""Modules, one idea a file; every one takes channels-last tokens on a grid of any rank."""

from vitrail.layers.attend import Attend
from vitrail.layers.axial_attention import AxialAttention
from vitrail.layers.block import PostNormBlock, PreNormBlock
from vitrail.layers.cosine_attention import CosineWindowAttention
from vitrail.layers.drop import DropPath
from vitrail.layers.embed import PatchEmbed
from vitrail.layers.focal_attention import FocalAttention, NearestAttention
from vitrail.layers.focal_bias import CoordinateBias, FocalBias
from vitrail.layers.global_attention import GlobalAttention
from vitrail.layers.grid_attention import GridAttention
from vitrail.layers.grouped_attention import GroupedAttention
from vitrail.layers.mbconv import ConvStem, MBConv
from vitrail.layers.merge import ConvMerging, PatchMerging, PostNormPatchMerging
from vitrail.layers.mlp import DepthwiseMlp, Mlp
from vitrail.layers.offset_bias import OffsetBias
from vitrail.layers.position import AbsolutePosition, ContinuousBias, RelativeBias
from vitrail.layers.prefix import PrefixTokens
from vitrail.layers.reduction_attention import ReductionAttention
from vitrail.layers.sparse_attention import SparseFixedAttention, SparseStridedAttention
from vitrail.layers.window_attention import WindowAttention

__all__ = [
    "AbsolutePosition",
    "Attend",
    "AxialAttention",
    "ContinuousBias",
    "ConvMerging",
    "ConvStem",
    "CoordinateBias",
    "CosineWindowAttention",
    "DepthwiseMlp",
    "DropPath",
    "FocalAttention",
    "FocalBias",
    "GlobalAttention",
    "GridAttention",
    "GroupedAttention",
    "MBConv",
    "Mlp",
    "NearestAttention",
    "OffsetBias",
    "PatchEmbed",
    "PatchMerging",
    "PostNormBlock",
    "PostNormPatchMerging",
    "PreNormBlock",
    "PrefixTokens",
    "ReductionAttention",
    "RelativeBias",
    "SparseFixedAttention",
    "SparseStridedAttention",
    "WindowAttention",
]
