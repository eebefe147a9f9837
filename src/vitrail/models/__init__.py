"""Backbones: a config and a model, one family a file."""

from vitrail.models.backbone import Backbone
from vitrail.models.catalog import CATALOG, Entry, canonical_name, entry_of, names_near
from vitrail.models.config import BackboneConfig
from vitrail.models.finding import backbone_of, backbones_in, no_backbone, unwrapped
from vitrail.models.focal import Focal, FocalConfig, FocalFast, FocalFastConfig
from vitrail.models.hiera import Hiera, HieraConfig
from vitrail.models.maxvit import MaxViT, MaxViTConfig
from vitrail.models.mechanism_swin import MechanismSwin, MechanismSwinConfig
from vitrail.models.mit import MiT, MiTConfig
from vitrail.models.optimized import Optimization, check_original
from vitrail.models.parts import AttentionLayer, Block, place_of
from vitrail.models.preprocessing import Preprocessing
from vitrail.models.pvt import PVT, PVTConfig
from vitrail.models.pvt_v2 import PVTV2, PVTV2Config
from vitrail.models.swin import Swin, SwinConfig
from vitrail.models.swin_v2 import SwinV2, SwinV2Config
from vitrail.models.task_model import HeadFacts, TaskFacts, TaskModel
from vitrail.models.vit import ViT, ViTConfig

__all__ = [
    "CATALOG",
    "PVT",
    "PVTV2",
    "AttentionLayer",
    "Backbone",
    "BackboneConfig",
    "Block",
    "Entry",
    "Focal",
    "FocalConfig",
    "FocalFast",
    "FocalFastConfig",
    "HeadFacts",
    "Hiera",
    "HieraConfig",
    "MaxViT",
    "MaxViTConfig",
    "MechanismSwin",
    "MechanismSwinConfig",
    "MiT",
    "MiTConfig",
    "Optimization",
    "PVTConfig",
    "PVTV2Config",
    "Preprocessing",
    "Swin",
    "SwinConfig",
    "SwinV2",
    "SwinV2Config",
    "TaskFacts",
    "TaskModel",
    "ViT",
    "ViTConfig",
    "backbone_of",
    "backbones_in",
    "canonical_name",
    "check_original",
    "entry_of",
    "names_near",
    "no_backbone",
    "place_of",
    "unwrapped",
]
