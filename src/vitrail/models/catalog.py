"""Every model by name: one literal table, nothing registered by import."""

import difflib
from typing import NamedTuple

from vitrail.errors import UsageError
from vitrail.models import (
    focal,
    hiera,
    maxvit,
    mechanism_swin,
    mit,
    pvt,
    pvt_v2,
    swin,
    swin_v2,
    vit,
)
from vitrail.models.aliases import ALIASES, alias_of
from vitrail.models.backbone import Backbone
from vitrail.models.config import BackboneConfig
from vitrail.models.focal import Focal, FocalFast
from vitrail.models.hiera import Hiera
from vitrail.models.maxvit import MaxViT
from vitrail.models.mechanism_swin import MechanismSwin
from vitrail.models.mit import MiT
from vitrail.models.preprocessing import Preprocessing
from vitrail.models.pvt import PVT
from vitrail.models.pvt_v2 import PVTV2
from vitrail.models.swin import Swin
from vitrail.models.swin_v2 import SwinV2
from vitrail.models.vit import ViT


class Entry(NamedTuple):
    """What a name stands for."""

    config: BackboneConfig
    model: type[Backbone]
    preprocessing: Preprocessing


_192 = Preprocessing(size=(192, 192))
_224 = Preprocessing(size=(224, 224))
_256 = Preprocessing(size=(256, 256))
_384 = Preprocessing(size=(384, 384), crop=1.0)
_VIDEO = Preprocessing(size=(32, 224, 224), crop=0.875, interpolation="bilinear")
_SEQUENCE = Preprocessing(size=(4096,), crop=1.0, mean=(0.0,), std=(1.0,))
_VOLUME = Preprocessing(size=(32, 48, 32), crop=1.0, mean=(0.5,), std=(0.25,))
_PVT = Preprocessing(size=(224, 224), crop=0.875)
_NANO = Preprocessing(size=(32, 32), crop=1.0)
_VIT = Preprocessing(size=(224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_MAXVIT = Preprocessing(size=(224, 224), crop=0.95)
_FOCAL = Preprocessing(size=(224, 224), crop=0.875)

CATALOG: dict[str, Entry] = {
    "swin_nano": Entry(swin.SWIN_NANO, Swin, _NANO),
    "swin_tiny": Entry(swin.SWIN_TINY, Swin, _224),
    "swin_small": Entry(swin.SWIN_SMALL, Swin, _224),
    "swin_base": Entry(swin.SWIN_BASE, Swin, _224),
    "swin_base_384": Entry(swin.SWIN_BASE_384, Swin, _384),
    "swin_large": Entry(swin.SWIN_LARGE, Swin, _224),
    "swin_large_384": Entry(swin.SWIN_LARGE_384, Swin, _384),
    "swin_v2_tiny": Entry(swin_v2.SWIN_V2_TINY, SwinV2, _256),
    "swin_v2_tiny_w16": Entry(swin_v2.SWIN_V2_TINY_W16, SwinV2, _256),
    "swin_v2_small": Entry(swin_v2.SWIN_V2_SMALL, SwinV2, _256),
    "swin_v2_small_w16": Entry(swin_v2.SWIN_V2_SMALL_W16, SwinV2, _256),
    "swin_v2_base": Entry(swin_v2.SWIN_V2_BASE, SwinV2, _256),
    "swin_v2_base_w12_192": Entry(swin_v2.SWIN_V2_BASE_W12_192, SwinV2, _192),
    "swin_v2_base_w16": Entry(swin_v2.SWIN_V2_BASE_W16, SwinV2, _256),
    "swin_v2_base_22k_w16": Entry(swin_v2.SWIN_V2_BASE_22K_W16, SwinV2, _256),
    "swin_v2_base_w24_384": Entry(swin_v2.SWIN_V2_BASE_W24, SwinV2, _384),
    "swin_v2_large": Entry(swin_v2.SWIN_V2_LARGE, SwinV2, _256),
    "swin_v2_large_w12_192": Entry(swin_v2.SWIN_V2_LARGE_W12_192, SwinV2, _192),
    "swin_v2_large_w16": Entry(swin_v2.SWIN_V2_LARGE_W16, SwinV2, _256),
    "swin_v2_large_w24_384": Entry(swin_v2.SWIN_V2_LARGE_W24, SwinV2, _384),
    "video_swin_tiny": Entry(swin.VIDEO_SWIN_TINY, Swin, _VIDEO),
    "video_swin_small": Entry(swin.VIDEO_SWIN_SMALL, Swin, _VIDEO),
    "video_swin_base": Entry(swin.VIDEO_SWIN_BASE, Swin, _VIDEO),
    "pvt_tiny": Entry(pvt.PVT_TINY, PVT, _PVT),
    "pvt_small": Entry(pvt.PVT_SMALL, PVT, _PVT),
    "pvt_medium": Entry(pvt.PVT_MEDIUM, PVT, _PVT),
    "pvt_large": Entry(pvt.PVT_LARGE, PVT, _PVT),
    "pvt_v2_b0": Entry(pvt_v2.PVT_V2_B0, PVTV2, _PVT),
    "pvt_v2_b1": Entry(pvt_v2.PVT_V2_B1, PVTV2, _PVT),
    "pvt_v2_b2": Entry(pvt_v2.PVT_V2_B2, PVTV2, _PVT),
    "pvt_v2_b2_li": Entry(pvt_v2.PVT_V2_B2_LI, PVTV2, _PVT),
    "pvt_v2_b3": Entry(pvt_v2.PVT_V2_B3, PVTV2, _PVT),
    "pvt_v2_b4": Entry(pvt_v2.PVT_V2_B4, PVTV2, _PVT),
    "pvt_v2_b5": Entry(pvt_v2.PVT_V2_B5, PVTV2, _PVT),
    "mit_b0": Entry(mit.MIT_B0, MiT, _PVT),
    "mit_b1": Entry(mit.MIT_B1, MiT, _PVT),
    "mit_b2": Entry(mit.MIT_B2, MiT, _PVT),
    "mit_b3": Entry(mit.MIT_B3, MiT, _PVT),
    "mit_b4": Entry(mit.MIT_B4, MiT, _PVT),
    "mit_b5": Entry(mit.MIT_B5, MiT, _PVT),
    "focal_tiny": Entry(focal.FOCAL_TINY, Focal, _FOCAL),
    "focal_small": Entry(focal.FOCAL_SMALL, Focal, _FOCAL),
    "focal_base": Entry(focal.FOCAL_BASE, Focal, _FOCAL),
    "focal_tiny_conv": Entry(focal.FOCAL_TINY_CONV, Focal, _FOCAL),
    "focal_small_conv": Entry(focal.FOCAL_SMALL_CONV, Focal, _FOCAL),
    "focal_base_conv": Entry(focal.FOCAL_BASE_CONV, Focal, _FOCAL),
    "focal_fast_tiny": Entry(focal.FOCAL_FAST_TINY, FocalFast, _FOCAL),
    "focal_fast_small": Entry(focal.FOCAL_FAST_SMALL, FocalFast, _FOCAL),
    "focal_fast_base": Entry(focal.FOCAL_FAST_BASE, FocalFast, _FOCAL),
    "maxvit_tiny": Entry(maxvit.MAXVIT_TINY, MaxViT, _MAXVIT),
    "maxvit_small": Entry(maxvit.MAXVIT_SMALL, MaxViT, _MAXVIT),
    "maxvit_base": Entry(maxvit.MAXVIT_BASE, MaxViT, _MAXVIT),
    "hiera_tiny": Entry(hiera.HIERA_TINY, Hiera, _224),
    "hiera_small": Entry(hiera.HIERA_SMALL, Hiera, _224),
    "hiera_base": Entry(hiera.HIERA_BASE, Hiera, _224),
    "vit_tiny": Entry(vit.VIT_TINY, ViT, _VIT),
    "vit_small": Entry(vit.VIT_SMALL, ViT, _VIT),
    "vit_base": Entry(vit.VIT_BASE, ViT, _VIT),
    "window_tiny": Entry(mechanism_swin.WINDOW_TINY, MechanismSwin, _224),
    "global_tiny": Entry(mechanism_swin.GLOBAL_TINY, MechanismSwin, _224),
    "axial_tiny": Entry(mechanism_swin.AXIAL_TINY, MechanismSwin, _224),
    "sparse_tiny": Entry(mechanism_swin.SPARSE_TINY, MechanismSwin, _224),
    "swin1d_tiny": Entry(swin.SWIN1D_TINY, Swin, _SEQUENCE),
    "swin3d_nano": Entry(swin.SWIN3D_NANO, Swin, _VOLUME),
}


def canonical_name(name: str) -> str:
    """Return the catalog's name of a model.

    Args:
        name: that name, or the one that timm, torchvision or transformers gives the model.
    Raises:
        UsageError: no model has it; the closest names are in the message.
    """
    known = name if name in CATALOG else alias_of(name)
    if known is not None:
        return known
    near = _closest(name)
    everything = "run `vitrail list`, or call vitrail.list_models(), for all of them"
    raise UsageError(
        f"model {name!r}",
        names_near(name),
        f"use {near[0]!r}, or {everything}" if near else everything,
    )


def entry_of(name: str) -> Entry:
    """Return what a name stands for; for what may be a name, see ``canonical_name``."""
    return CATALOG[canonical_name(name)]


def names_near(name: str) -> str:
    """Say how many names there are and which are closest to ``name``; all would fill a page."""
    near = _closest(name)
    count = f"one of {len(CATALOG)} names"
    return f"{count}, the closest {', '.join(near)}" if near else count


def _closest(name: str) -> list[str]:
    """Return the models whose names, here or at a peer, look most like ``name``."""
    words = {known.lower(): model for known, model in ALIASES.items()}
    words |= {known: known for known in CATALOG}
    near = difflib.get_close_matches(name.lower(), words, n=12, cutoff=0.4)
    return list(dict.fromkeys(words[word] for word in near))[:4]
