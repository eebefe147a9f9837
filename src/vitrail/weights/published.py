"""Published weights by name: one literal table, as the packages that publish them list them.

``scripts/published_weights.py`` prints the rows anew, and the tests hold each of them to the
installed package. A row stands here if its model is the catalog's, number by number: weights of a
ViT with positions for another size are not. Of transformers' models, those repositories that its
documentation names. What a package's own table does not say (a licence, an accuracy) is None.
"""

import math
from dataclasses import dataclass
from typing import Any

from vitrail.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

MIT, APACHE, NON_COMMERCIAL = "mit", "apache-2.0", "cc-by-nc-4.0"
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Published weights, and the input they were made for.

    Args:
        tag: their name here, ``source:name``.
        source: the package whose table lists them: timm, torchvision or transformers.
        where: a hub repository, or a member of torchvision's enumerations.
        size: input samples along each axis of an image.
        classes: classes of their head, 0 for none; None if the table does not say.
        licence: its short name; None if the table does not say.
        top1: percentage of validation images, or of video clips, classified right.
        crop: part of the resized short side that the centre crop keeps.
        interpolation: how images are resized.
        mean: subtracted from each channel.
        std: divides each channel after that.
    """

    tag: str
    source: str
    where: str
    size: int
    classes: int | None
    licence: str | None = None
    top1: float | None = None
    crop: float | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def _timm(name: str, size: int, classes: int, licence: str | None, *, crop: float = 0.9,
          norm: Any = (IMAGENET_MEAN, IMAGENET_STD)) -> Published:  # fmt: skip
    return Published(
        tag=f"timm:{name.partition('.')[2]}", source="timm", where=f"timm/{name}", size=size,
        classes=classes, licence=licence, crop=crop, mean=norm[0], std=norm[1],
    )  # fmt: skip


def _vision(name: str, size: int, classes: int, top1: float, resize: int, *,
            interpolation: str = "bicubic", licence: str | None = None) -> Published:  # fmt: skip
    # Rounded down, so that the short side is resized to `resize` again and not to one less.
    crop = math.floor(1e4 * size / resize) / 1e4
    return Published(
        tag=f"torchvision:{name.partition('.')[2]}", source="torchvision", where=name, size=size,
        classes=classes, licence=licence, top1=top1, crop=crop, interpolation=interpolation,
    )  # fmt: skip


def _transformers(repository: str, size: int) -> Published:
    name = repository.partition("/")[2]
    return Published(
        tag=f"transformers:{name}", source="transformers", where=repository, size=size, classes=None
    )


_ROWS: dict[str, tuple[Published, ...]] = {
    "swin_tiny": (
        _timm("swin_tiny_patch4_window7_224.ms_in1k", 224, 1000, MIT),
        _timm("swin_tiny_patch4_window7_224.ms_in22k", 224, 21841, MIT),
        _timm("swin_tiny_patch4_window7_224.ms_in22k_ft_in1k", 224, 1000, MIT),
        _vision("Swin_T_Weights.IMAGENET1K_V1", 224, 1000, 81.474, 232),
        _transformers("microsoft/swin-tiny-patch4-window7-224", 224),
    ),
    "swin_small": (
        _timm("swin_small_patch4_window7_224.ms_in22k_ft_in1k", 224, 1000, MIT),
        _timm("swin_small_patch4_window7_224.ms_in1k", 224, 1000, MIT),
        _timm("swin_small_patch4_window7_224.ms_in22k", 224, 21841, MIT),
        _vision("Swin_S_Weights.IMAGENET1K_V1", 224, 1000, 83.196, 246),
    ),
    "swin_base": (
        _timm("swin_base_patch4_window7_224.ms_in22k_ft_in1k", 224, 1000, MIT),
        _timm("swin_base_patch4_window7_224.ms_in1k", 224, 1000, MIT),
        _timm("swin_base_patch4_window7_224.ms_in22k", 224, 21841, MIT),
        _vision("Swin_B_Weights.IMAGENET1K_V1", 224, 1000, 83.582, 238),
    ),
    "swin_base_384": (
        _timm("swin_base_patch4_window12_384.ms_in22k_ft_in1k", 384, 1000, MIT, crop=1.0),
        _timm("swin_base_patch4_window12_384.ms_in1k", 384, 1000, MIT, crop=1.0),
        _timm("swin_base_patch4_window12_384.ms_in22k", 384, 21841, MIT, crop=1.0),
    ),
    "swin_large": (
        _timm("swin_large_patch4_window7_224.ms_in22k_ft_in1k", 224, 1000, MIT),
        _timm("swin_large_patch4_window7_224.ms_in22k", 224, 21841, MIT),
    ),
    "swin_large_384": (
        _timm("swin_large_patch4_window12_384.ms_in22k_ft_in1k", 384, 1000, MIT, crop=1.0),
        _timm("swin_large_patch4_window12_384.ms_in22k", 384, 21841, MIT, crop=1.0),
    ),
    "swin_v2_tiny": (
        _timm("swinv2_tiny_window8_256.ms_in1k", 256, 1000, MIT),
        _vision("Swin_V2_T_Weights.IMAGENET1K_V1", 256, 1000, 82.072, 260),
        _transformers("microsoft/swinv2-tiny-patch4-window8-256", 256),
    ),
    "swin_v2_tiny_w16": (_timm("swinv2_tiny_window16_256.ms_in1k", 256, 1000, MIT),),
    "swin_v2_small": (
        _timm("swinv2_small_window8_256.ms_in1k", 256, 1000, MIT),
        _vision("Swin_V2_S_Weights.IMAGENET1K_V1", 256, 1000, 83.712, 260),
    ),
    "swin_v2_small_w16": (_timm("swinv2_small_window16_256.ms_in1k", 256, 1000, MIT),),
    "swin_v2_base": (
        _timm("swinv2_base_window8_256.ms_in1k", 256, 1000, MIT),
        _vision("Swin_V2_B_Weights.IMAGENET1K_V1", 256, 1000, 84.112, 272),
    ),
    "swin_v2_base_w12_192": (_timm("swinv2_base_window12_192.ms_in22k", 192, 21841, MIT),),
    "swin_v2_base_w16": (_timm("swinv2_base_window16_256.ms_in1k", 256, 1000, MIT),),
    "swin_v2_base_22k_w16": (
        _timm("swinv2_base_window12to16_192to256.ms_in22k_ft_in1k", 256, 1000, MIT),
    ),
    "swin_v2_base_w24_384": (
        _timm("swinv2_base_window12to24_192to384.ms_in22k_ft_in1k", 384, 1000, MIT, crop=1.0),
    ),
    "swin_v2_large_w12_192": (_timm("swinv2_large_window12_192.ms_in22k", 192, 21841, MIT),),
    "swin_v2_large_w16": (
        _timm("swinv2_large_window12to16_192to256.ms_in22k_ft_in1k", 256, 1000, MIT),
    ),
    "swin_v2_large_w24_384": (
        _timm("swinv2_large_window12to24_192to384.ms_in22k_ft_in1k", 384, 1000, MIT, crop=1.0),
    ),
    "video_swin_tiny": (
        _vision("Swin3D_T_Weights.KINETICS400_V1", 224, 400, 77.715, 256, interpolation="bilinear"),
    ),
    "video_swin_small": (
        _vision("Swin3D_S_Weights.KINETICS400_V1", 224, 400, 79.521, 256, interpolation="bilinear"),
    ),
    "video_swin_base": (
        _vision("Swin3D_B_Weights.KINETICS400_V1", 224, 400, 79.427, 256, interpolation="bilinear"),
        _vision(
            "Swin3D_B_Weights.KINETICS400_IMAGENET22K_V1",
            224,
            400,
            81.643,
            256,
            interpolation="bilinear",
        ),
    ),
    "pvt_tiny": (_transformers("Xrenya/pvt-tiny-224", 224),),
    "pvt_v2_b0": (
        _timm("pvt_v2_b0.in1k", 224, 1000, APACHE),
        _transformers("OpenGVLab/pvt_v2_b0", 224),
    ),
    "pvt_v2_b1": (_timm("pvt_v2_b1.in1k", 224, 1000, APACHE),),
    "pvt_v2_b2": (_timm("pvt_v2_b2.in1k", 224, 1000, APACHE),),
    "pvt_v2_b2_li": (_timm("pvt_v2_b2_li.in1k", 224, 1000, APACHE),),
    "pvt_v2_b3": (_timm("pvt_v2_b3.in1k", 224, 1000, APACHE),),
    "pvt_v2_b4": (_timm("pvt_v2_b4.in1k", 224, 1000, APACHE),),
    "pvt_v2_b5": (_timm("pvt_v2_b5.in1k", 224, 1000, APACHE),),
    "hiera_tiny": (
        _timm("hiera_tiny_224.mae_in1k_ft_in1k", 224, 1000, NON_COMMERCIAL),
        _timm("hiera_tiny_224.mae", 224, 0, NON_COMMERCIAL),
        _transformers("facebook/hiera-tiny-224-hf", 224),
    ),
    "hiera_small": (
        _timm("hiera_small_224.mae_in1k_ft_in1k", 224, 1000, NON_COMMERCIAL),
        _timm("hiera_small_224.mae", 224, 0, NON_COMMERCIAL),
    ),
    "hiera_base": (
        _timm("hiera_base_224.mae_in1k_ft_in1k", 224, 1000, NON_COMMERCIAL),
        _timm("hiera_base_224.mae", 224, 0, NON_COMMERCIAL),
    ),
    "maxvit_tiny": (
        _timm("maxvit_tiny_tf_224.in1k", 224, 1000, APACHE, crop=0.95),
        _vision("MaxVit_T_Weights.IMAGENET1K_V1", 224, 1000, 83.7, 224),
    ),
    "maxvit_small": (_timm("maxvit_small_tf_224.in1k", 224, 1000, APACHE, crop=0.95),),
    "maxvit_base": (
        _timm("maxvit_base_tf_224.in1k", 224, 1000, APACHE, crop=0.95),
        _timm("maxvit_base_tf_224.in21k", 224, 21843, APACHE, crop=0.95, norm=_HALF),
    ),
    "vit_tiny": (
        _timm("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("vit_tiny_patch16_224.augreg_in21k", 224, 21843, APACHE, norm=_HALF),
        _timm("deit_tiny_patch16_224.fb_in1k", 224, 1000, APACHE),
    ),
    "vit_small": (
        _timm("vit_small_patch16_224.augreg_in21k_ft_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("vit_small_patch16_224.augreg_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("vit_small_patch16_224.augreg_in21k", 224, 21843, APACHE, norm=_HALF),
        _timm("vit_small_patch16_224.dino", 224, 0, APACHE),
        _timm("deit_small_patch16_224.fb_in1k", 224, 1000, APACHE),
    ),
    "vit_base": (
        _timm("vit_base_patch16_224.augreg2_in21k_ft_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("vit_base_patch16_224.augreg_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("vit_base_patch16_224.augreg_in21k", 224, 21843, APACHE, norm=_HALF),
        _timm("vit_base_patch16_224.augreg_in21k_ft_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("vit_base_patch16_224.bamboo", 224, 115217, None, crop=1.0, norm=_CLIP),
        _timm("vit_base_patch16_224.dino", 224, 0, APACHE),
        _timm("vit_base_patch16_224.mae", 224, 0, NON_COMMERCIAL),
        _timm("vit_base_patch16_224.orig_in21k", 224, 0, APACHE, norm=_HALF),
        _timm("vit_base_patch16_224.orig_in21k_ft_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("vit_base_patch16_224.sam_in1k", 224, 1000, APACHE, norm=_HALF),
        _timm("deit_base_patch16_224.fb_in1k", 224, 1000, APACHE),
        _vision("ViT_B_16_Weights.IMAGENET1K_V1", 224, 1000, 81.072, 256, interpolation="bilinear"),
        _vision(
            "ViT_B_16_Weights.IMAGENET1K_SWAG_LINEAR_V1",
            224,
            1000,
            81.886,
            224,
            licence=NON_COMMERCIAL,
        ),
        _transformers("google/vit-base-patch16-224", 224),
        _transformers("google/vit-base-patch16-224-in21k", 224),
    ),
}
PUBLISHED: dict[str, dict[str, Published]] = {
    name: {row.tag: row for row in rows} for name, rows in _ROWS.items()
}
