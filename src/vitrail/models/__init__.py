"""Backbones: a config and a model, one family a file."""

from vitrail.models.backbone import Backbone
from vitrail.models.catalog import CATALOG, Entry
from vitrail.models.config import BackboneConfig
from vitrail.models.preprocessing import Preprocessing
from vitrail.models.swin import Swin, SwinConfig
from vitrail.models.swin_v2 import SwinV2, SwinV2Config

__all__ = [
    "CATALOG",
    "Backbone",
    "BackboneConfig",
    "Entry",
    "Preprocessing",
    "Swin",
    "SwinConfig",
    "SwinV2",
    "SwinV2Config",
]
