"""Every value that a peer's constructor or configuration takes, at one that is not its default.

A plain value: the conversion computes what the peer does. ``Refused``: the refusal names the field.
``Warned``: it computes that in evaluation, and a warning names the field.
"""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from torch import Tensor, nn

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
transformers = pytest.importorskip("transformers")


@dataclass(frozen=True)
class Refused:
    """A value that is refused; ``word`` is what the refusal says, if not the field's name."""

    value: Any
    word: str | None = None


@dataclass(frozen=True)
class Warned:
    """A value of training that is not taken over."""

    value: Any


@dataclass(frozen=True)
class Case:
    """One class of peers.

    Args:
        build: makes one from fields.
        base: fields of a small one.
        fields: other values of every field.
        declared: names of all fields that there are.
        any_size: it takes inputs that nothing divides.
        beside: for some fields, others that have to go with them.
        alone: fields that hide others, or that others hide, besides those in ``beside``.
    """

    build: Callable[..., nn.Module]
    base: dict[str, Any]
    fields: dict[str, Any]
    declared: Callable[[], set[str]]
    any_size: bool = False
    beside: dict[str, dict[str, Any]] = field(default_factory=dict)
    alone: tuple[str, ...] = (
        "use_absolute_embeddings",
        "out_indices",
        "linear",
        "linear_attention",
        "always_partition",
        "dynamic_img_size",
    )


def arguments(cls: type) -> set[str]:
    """Return the names of a constructor's arguments; where a tensor lies is none of a model's."""
    return {*inspect.signature(cls).parameters} - {"device", "dtype"}


def settings(cls: type) -> set[str]:
    """Return the names of a configuration's fields, but those that say nothing of a model."""
    said = {f.name.lstrip("_") for f in dataclasses.fields(cls)}
    return said - {"architectures", "transformers_version", "dtype", "label2id", "problem_type",
                   "is_encoder_decoder"}  # fmt: skip


def maps(out: Any) -> list[Tensor]:
    """Return a peer's answer as ours are: channels last, a list."""
    if isinstance(out, Tensor):
        return [out]
    if isinstance(out, (list, tuple)):
        return [*out] if not isinstance(out[0], (list, tuple)) else [*out[0]]
    for name in ("logits", "feature_maps", "pooler_output", "last_hidden_state"):
        found = getattr(out, name, None)
        if found is not None:
            return [found] if isinstance(found, Tensor) else [*found]
    raise AssertionError(type(out))


def huggingface(model: str, config: str, **fields: Any) -> nn.Module:
    return getattr(transformers, model)(getattr(transformers, config)(**fields))


_swin3d = torchvision.models.video.swin_transformer


class OtherBlock(torchvision.models.swin_transformer.SwinTransformerBlock):
    """A block of a user's own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"attn_layer": _swin3d.ShiftedWindowAttention3d} | options)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x


class OtherMerging(torchvision.models.swin_transformer.PatchMerging):
    """A merging of a user's own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class OtherEmbed3d(_swin3d.PatchEmbed3d):
    """A patch embedding of a user's own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class OtherEmbed(timm.layers.PatchEmbed):
    """A patch embedding of a user's own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


NORM = partial(nn.LayerNorm, eps=1e-3)
SWIN: dict[str, Any] = {"img_size": 56, "depths": (2, 2), "num_heads": (3, 6), "embed_dim": 24,
                        "num_classes": 5}  # fmt: skip
_TIMM_SWIN: dict[str, Any] = {
    "img_size": (56, 112), "patch_size": 2, "in_chans": 1, "num_classes": 7, "global_pool": "",
    "embed_dim": 36, "depths": (1, 3), "num_heads": (2, 4), "window_size": (7, 14),
    "always_partition": True, "strict_img_size": Warned(False), "dynamic_img_size": True,
    "mlp_ratio": 2.0, "qkv_bias": False, "drop_rate": Warned(0.2), "proj_drop_rate": 0.1,
    "attn_drop_rate": 0.1, "drop_path_rate": 0.3, "norm_layer": NORM,
}  # fmt: skip
_TV_SWIN: dict[str, Any] = {
    "patch_size": [4, 2], "embed_dim": 36, "depths": [1, 3], "num_heads": [2, 4],
    "window_size": [3, 5], "mlp_ratio": 2.0, "dropout": 0.1, "attention_dropout": 0.1,
    "stochastic_depth_prob": 0.3, "num_classes": 7, "norm_layer": NORM,
}  # fmt: skip
_HF: dict[str, Any] = {
    "num_channels": 1, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "drop_path_rate": 0.3, "initializer_range": 0.1, "hidden_act": Refused("relu"),
    "id2label": {0: "a", 1: "b", 2: "c"}, "return_dict": False, "output_hidden_states": True,
    "chunk_size_feed_forward": 1, "qkv_bias": False,
}  # fmt: skip
_HF_SWIN: dict[str, Any] = {
    **_HF, "image_size": [64, 96], "patch_size": 2, "embed_dim": 36, "depths": (1, 3),
    "num_heads": (2, 4), "window_size": 5, "mlp_ratio": 2.0, "encoder_stride": 16,
    "layer_norm_eps": Refused(1e-3), "use_absolute_embeddings": True,
}  # fmt: skip
_HF_PYRAMID: dict[str, Any] = {
    **_HF, "image_size": 128, "num_encoder_blocks": 2, "depths": (2, 1, 1, 2),
    "hidden_sizes": (10, 12, 18, 36), "num_attention_heads": (2, 4, 3, 6),
    "mlp_ratios": (2, 3, 4, 5), "layer_norm_eps": 1e-3,
}  # fmt: skip
HF_SWIN: dict[str, Any] = {"image_size": 64, "window_size": 8, "num_labels": 5, "depths": (2, 2),
                           "num_heads": (3, 6), "embed_dim": 24}  # fmt: skip
HF_PYRAMID: dict[str, Any] = {
    "image_size": 64, "hidden_sizes": (12, 20, 24, 36), "num_attention_heads": (1, 2, 3, 4),
    "depths": (1, 1, 1, 1), "mlp_ratios": (3, 2, 4, 2), "num_labels": 5,
}  # fmt: skip
_OUT = {"out_features": ["stage1"], "out_indices": [1, 2]}
_ONLY_TWO = {"hidden_sizes": (12, 20), "depths": (1, 1), "num_attention_heads": (1, 2)}


def _transformers(model: str, config: str, base: Any, fields: Any, **options: Any) -> Case:
    declared = partial(settings, getattr(transformers, config))
    return Case(partial(huggingface, model, config), base, fields, declared, **options)


def _swins(prefix: str) -> dict[str, Case]:
    config, fields = f"{prefix}Config", dict(_HF_SWIN)
    if prefix == "Swinv2":
        fields |= {"pretrained_window_sizes": (6, 4), "use_absolute_embeddings": Refused(True)}
    base = HF_SWIN
    return {
        f"{prefix}ForImageClassification": _transformers(
            f"{prefix}ForImageClassification", config, base, {**fields, **_OUT}, any_size=True
        ),
        f"{prefix}Model": _transformers(
            f"{prefix}Model", config, base, {**fields, **_OUT}, any_size=True
        ),
        f"{prefix}Backbone": _transformers(
            f"{prefix}Backbone", config, base | {"out_features": ["stage1", "stage2"]},
            {**fields, **_OUT}, any_size=True,
        ),
    }  # fmt: skip


def _pvts() -> dict[str, Case]:
    first = _HF_PYRAMID | {
        "sequence_reduction_ratios": (4, 2, 2, 1), "patch_sizes": Refused((4, 4, 2, 2)),
        "strides": Refused((2, 2, 2, 2)), "num_labels": 7,
    }  # fmt: skip
    second = _HF_PYRAMID | {
        "sr_ratios": (4, 2, 2, 1), "patch_sizes": (5, 4, 4, 4), "strides": (2, 2, 2, 2),
        "linear_attention": True, "image_size": (64, 96), **_OUT,
    }  # fmt: skip
    beside = {"num_encoder_blocks": _ONLY_TWO}
    reduced = _ONLY_TWO | {"sequence_reduction_ratios": (4, 1)}
    return {
        "PvtForImageClassification": _transformers(
            "PvtForImageClassification", "PvtConfig", HF_PYRAMID, first,
            beside={"num_encoder_blocks": reduced},
        ),
        "PvtModel": _transformers(
            "PvtModel", "PvtConfig", HF_PYRAMID, first, beside={"num_encoder_blocks": reduced}
        ),
        "PvtV2ForImageClassification": _transformers(
            "PvtV2ForImageClassification", "PvtV2Config", HF_PYRAMID, second, any_size=True,
            beside=beside,
        ),
        "PvtV2Model": _transformers(
            "PvtV2Model", "PvtV2Config", HF_PYRAMID, second, any_size=True, beside=beside
        ),
        "PvtV2Backbone": _transformers(
            "PvtV2Backbone", "PvtV2Config", HF_PYRAMID | {"out_features": ["stage2", "stage4"]},
            second, any_size=True,
            beside={"num_encoder_blocks": _ONLY_TWO | {"out_features": ["stage2"]},
                    "out_indices": {"out_features": None}},
        ),
    }  # fmt: skip


def _timms() -> dict[str, Case]:
    models = timm.models
    swin = models.swin_transformer.SwinTransformer
    second = models.swin_transformer_v2.SwinTransformerV2
    pvt = models.pvt_v2.PyramidVisionTransformerV2
    vit = models.vision_transformer.VisionTransformer
    block = models.vision_transformer.ResPostBlock
    return {
        "timm Swin": Case(
            swin, SWIN,
            _TIMM_SWIN | {"head_dim": Refused(4), "weight_init": "jax",
                          "embed_layer": Refused(OtherEmbed, "OtherEmbed")},
            partial(arguments, swin),
        ),
        "timm Swin V2": Case(
            second, SWIN | {"img_size": 64, "window_size": 8},
            _TIMM_SWIN | {"img_size": (64, 128), "window_size": (8, 16),
                          "act_layer": Refused("relu"), "pretrained_window_sizes": (6, 4)},
            partial(arguments, second),
        ),
        "timm PVT v2": Case(
            pvt,
            {"embed_dims": (12, 20, 24, 36), "num_heads": (1, 2, 3, 4), "depths": (1, 1, 1, 1),
             "mlp_ratios": (3, 2, 4, 2), "num_classes": 5},
            {"in_chans": 1, "num_classes": 7, "global_pool": "", "depths": (2, 1, 1, 2),
             "embed_dims": (10, 12, 18, 36), "num_heads": (2, 4, 3, 6), "sr_ratios": (4, 2, 2, 1),
             "mlp_ratios": (2, 3, 4, 5), "qkv_bias": False, "linear": True,
             "drop_rate": Warned(0.2), "proj_drop_rate": 0.1, "attn_drop_rate": 0.1,
             "drop_path_rate": 0.3, "norm_layer": NORM},
            partial(arguments, pvt), any_size=True,
            beside={"global_pool": {"num_classes": 0}},
        ),
        "timm ViT": Case(
            vit, {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5},
            {"img_size": (64, 96), "patch_size": 8, "in_chans": 1, "num_classes": 7,
             "global_pool": "", "embed_dim": 36, "depth": 3, "num_heads": 4, "mlp_ratio": 2.0,
             "qkv_bias": False, "qk_norm": Refused(True), "scale_attn_norm": Refused(True),
             "scale_mlp_norm": Refused(True), "proj_bias": Refused(False),
             "init_values": Refused(0.1), "class_token": False, "pos_embed": Refused("none"),
             "no_embed_class": Refused(True), "reg_tokens": Refused(2), "pre_norm": Refused(True),
             "final_norm": Refused(False), "fc_norm": Refused(True),
             "pool_include_prefix": True, "dynamic_img_size": True,
             "dynamic_img_pad": True, "drop_rate": Warned(0.2), "pos_drop_rate": Warned(0.2),
             "patch_drop_rate": Warned(0.2), "proj_drop_rate": 0.1, "attn_drop_rate": 0.1,
             "drop_path_rate": 0.3, "weight_init": "jax", "fix_init": True,
             "embed_layer": Refused(OtherEmbed, "OtherEmbed"),
             "embed_norm_layer": Refused(NORM), "norm_layer": NORM, "act_layer": Refused("relu"),
             "block_fn": Refused(block), "mlp_layer": Refused(timm.layers.SwiGLU),
             "attn_layer": Refused("diff")},
            partial(arguments, vit),
            beside={"class_token": {"global_pool": ""}, "fc_norm": {"global_pool": ""},
                    "dynamic_img_pad": {"dynamic_img_size": True}},
        ),
    }  # fmt: skip


def _torchvisions() -> dict[str, Case]:
    models = torchvision.models
    swins, video = models.swin_transformer, models.video.swin_transformer
    base = {
        "patch_size": [4, 4],
        "window_size": [7, 7],
        "embed_dim": 24,
        "depths": [2, 2],
        "num_heads": [3, 6],
        "num_classes": 5,
    }
    second = {"block": swins.SwinTransformerBlockV2, "downsample_layer": swins.PatchMergingV2}
    clip = {"patch_size": [2, 4, 4], "window_size": [4, 7, 7]}
    vit = models.VisionTransformer
    stem = [models.vision_transformer.ConvStemConfig(12, 16, 16)]
    return {
        "torchvision Swin": Case(
            swins.SwinTransformer, base,
            _TV_SWIN | {"block": Refused(swins.SwinTransformerBlockV2, "downsample_layer"),
                        "downsample_layer": Refused(swins.PatchMergingV2)},
            partial(arguments, swins.SwinTransformer), any_size=True,
        ),
        "torchvision Swin V2": Case(
            swins.SwinTransformer, base | second,
            _TV_SWIN | {"block": Refused(swins.SwinTransformerBlock, "downsample_layer"),
                        "downsample_layer": Refused(swins.PatchMerging)},
            partial(arguments, swins.SwinTransformer), any_size=True,
        ),
        "torchvision video Swin": Case(
            video.SwinTransformer3d, base | clip,
            _TV_SWIN | {"patch_size": [1, 4, 2], "window_size": [2, 3, 5],
                        "block": Refused(OtherBlock, "OtherBlock"),
                        "downsample_layer": Refused(OtherMerging, "OtherMerging"),
                        "patch_embed": Refused(OtherEmbed3d, "OtherEmbed3d")},
            partial(arguments, video.SwinTransformer3d), any_size=True,
        ),
        "torchvision ViT": Case(
            vit,
            {"image_size": 64, "patch_size": 16, "num_layers": 2, "num_heads": 3,
             "hidden_dim": 24, "mlp_dim": 48, "num_classes": 5},
            {"image_size": 32, "patch_size": 8, "num_layers": 3, "num_heads": 4, "hidden_dim": 36,
             "mlp_dim": 72, "dropout": 0.1, "attention_dropout": 0.1, "num_classes": 7,
             "representation_size": Refused(16), "norm_layer": NORM,
             "conv_stem_configs": Refused(stem)},
            partial(arguments, vit),
        ),
    }  # fmt: skip


def _timm_maxvit(**fields: Any) -> nn.Module:
    model = timm.models.maxxvit
    base = model.model_cfgs["maxvit_tiny_tf"]
    return model.MaxxVit(base, **fields)


def _timm_maxvit_fields() -> set[str]:
    """Return the words of its constructor, which prefix those of its parts' configurations."""
    module = timm.models.maxxvit
    parts = {"conv_": module.MaxxVitConvCfg, "transformer_": module.MaxxVitTransformerCfg,
             "": module.MaxxVitCfg}  # fmt: skip
    names = {
        prefix + one.name for prefix, part in parts.items() for one in dataclasses.fields(part)
    }
    return arguments(module.MaxxVit) - {"cfg", "kwargs"} | names - {"conv_cfg", "transformer_cfg"}


def _maxvits() -> dict[str, Case]:
    timm_base = {
        "img_size": 64, "embed_dim": (32, 64), "depths": (2, 2), "block_type": ("M", "M"),
        "stem_width": 24, "head_hidden_size": 64, "num_classes": 5,
        "transformer_window_size": (4, 4), "transformer_grid_size": (4, 4),
    }  # fmt: skip
    words = {  # of convolutions, of attention, and of both
        "conv_": {
            "block_type": Refused("convnext"), "expand_ratio": 2.0, "expand_output": Refused(False),
            "kernel_size": Refused(5), "group_size": Refused(4), "pre_norm_act": Refused(True),
            "output_bias": Refused(False), "stride_mode": Refused("pool"),
            "pool_type": Refused("max"), "downsample_pool_type": "max", "padding": Refused(""),
            "attn_early": Refused(True), "attn_layer": Refused("eca"),
            "attn_act_layer": Refused("relu"), "attn_ratio": 0.5, "init_values": 0.1,
            "act_layer": Refused("relu"), "norm_layer": Refused("layernorm2d"),
            "norm_layer_cl": "layernorm", "norm_eps": 1e-2,
        },
        "transformer_": {
            "dim_head": 16, "head_first": Refused(True), "expand_ratio": 2.0,
            "expand_first": False, "shortcut_bias": False, "attn_bias": Refused(False),
            "attn_drop": 0.1, "proj_drop": 0.1, "pool_type": "max",
            "rel_pos_type": Refused("bias"), "rel_pos_dim": 64, "partition_ratio": 16,
            "window_size": (2, 4), "grid_size": (4, 2), "no_block_attn": Refused(True),
            "use_nchw_attn": Refused(True), "init_values": Refused(0.1),
            "act_layer": Refused("relu"), "norm_layer": Refused("batchnorm2d"),
            "norm_layer_cl": Refused("rmsnorm"), "norm_eps": 1e-2,
        },
        "": {
            "embed_dim": (64, 64), "depths": (1, 3), "block_type": Refused(("M", "C")),
            "stem_width": Refused((16, 24)), "stem_bias": Refused(False),
            "head_hidden_size": Refused(48), "weight_init": "", "img_size": (64, 128),
            "in_chans": 1, "num_classes": 7, "global_pool": "", "drop_rate": Warned(0.2),
            "drop_path_rate": 0.3,
        },
    }  # fmt: skip
    theirs = torchvision.models.MaxVit
    return {
        "timm MaxViT": Case(
            _timm_maxvit, timm_base,
            {prefix + name: v for prefix, part in words.items() for name, v in part.items()},
            _timm_maxvit_fields,
            beside={"conv_block_type": {"conv_kernel_size": 7, "stem_width": 32}},
        ),
        "torchvision MaxViT": Case(
            theirs,
            {"input_size": (64, 64), "stem_channels": 32, "partition_size": 4,
             "block_layers": [2, 2], "block_channels": [32, 64], "head_dim": 32,
             "stochastic_depth_prob": 0.1, "num_classes": 5},
            {"input_size": (128, 128), "stem_channels": 24, "partition_size": 8,
             "block_layers": [1, 3], "block_channels": [64, 96], "head_dim": 16,
             "stochastic_depth_prob": 0.3,
             "norm_layer": partial(nn.BatchNorm2d, eps=1e-2, momentum=0.5),
             "activation_layer": Refused(nn.SiLU), "squeeze_ratio": 0.5, "expansion_ratio": 2,
             "mlp_ratio": 2, "mlp_dropout": Refused(0.2), "attention_dropout": Refused(0.2),
             "num_classes": 7},
            partial(arguments, theirs),
        ),
    }  # fmt: skip


CASES: dict[str, Case] = (
    _torchvisions() | _timms() | _maxvits() | _swins("Swin") | _swins("Swinv2") | _pvts()
)
