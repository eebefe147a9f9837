"""Fields that a configuration does not have, answered in the words of the field.

Users of timm, torchvision and transformers know the numbers of a model by other names. None of them
is taken: a field has one name, in files, on the command line and in Python. But the error says
which one it is, or what to do instead.
"""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vitrail.errors import UsageError
from vitrail.models.config import BackboneConfig

# What peers call a field of ours, where the two mean the same.
_SAME: dict[str, tuple[str, ...]] = {
    "in_channels": ("in_chans", "num_channels", "in_ch"),
    "num_classes": ("num_labels", "n_classes", "classes"),
    "dim": ("embed_dim", "hidden_size"),
    "dims": ("embed_dims", "hidden_sizes"),
    "num_heads": ("num_attention_heads", "heads"),
    "depths": ("layers", "depth", "num_encoder_blocks", "num_hidden_layers"),
    "patch": ("patch_size", "patch_sizes"),
    "window": ("window_size", "partition_size"),
    "grid": ("grid_size",),
    "stem_dim": ("stem_width", "stem_channels"),
    "expand": ("expand_ratio", "expansion_ratio"),
    "squeeze": ("squeeze_ratio",),
    "windows": ("window_size",),
    "pretrained_window": ("pretrained_window_size", "pretrained_window_sizes"),
    "drop": ("drop_rate", "proj_drop_rate", "dropout", "hidden_dropout_prob", "pos_drop_rate"),
    "attn_drop": ("attn_drop_rate", "attention_dropout", "attention_probs_dropout_prob"),
    "drop_path": ("drop_path_rate", "stochastic_depth_prob"),
    "norm_eps": ("layer_norm_eps", "layer_norm_epsilon"),
    "init_std": ("initializer_range",),
    "reductions": ("sr_ratios", "sequence_reduction_ratios"),
    "absolute_position": ("ape", "use_absolute_embeddings"),
    "frozen_stages": ("freeze_stages",),
    "checkpointing": ("use_checkpoint", "with_cp", "grad_checkpointing", "gradient_checkpointing"),
}
_SIZES = ("img_size", "image_size", "input_size", "strict_img_size", "dynamic_img_size")
_WEIGHTS = ("pretrained", "checkpoint_path", "checkpoint", "pretrained_cfg", "init_cfg")


def check_fields(name: str, config: BackboneConfig, given: Mapping[str, Any]) -> None:
    """Refuse fields that a configuration does not have.

    Args:
        name: of the model, for the error.
        config: the configuration that they would change.
        given: fields and their values.
    Raises:
        UsageError: a field is unknown; the fix is the right one, where the word is known.
    """
    known = [field.name for field in fields(config)]
    for field, value in given.items():
        if field not in known:
            raise UsageError(
                f"{field}={value!r} for {name}",
                f"a field of {type(config).__name__}: {', '.join(known)}",
                _fix(field, value, config, known),
            )


def _fix(field: str, value: Any, config: BackboneConfig, known: list[str]) -> str:
    if field in _WEIGHTS:
        if not value:
            return "leave it out: without weights=... a model starts with random numbers"
        return (
            "use weights='imagenet1k' (`vitrail list --weights` shows which models have some), a "
            "checkpoint file, a hub repository owner/name, or 'bundled' with swin_nano"
        )
    if field in _SIZES:
        return (
            "leave it out: a model takes inputs of any size; vitrail.transform(model) prepares "
            "photos at model.preprocessing.size"
        )
    if field == "features_only":
        if not value:
            return "leave it out: model.features(x) returns the maps of any model"
        stages = tuple(range(len(config.depths)))
        return f"use out_indices={stages}, or call model.features(x) of any model"
    same = [ours for ours, theirs in _SAME.items() if field in theirs]
    if same:
        ours = next((name for name in same if name in known), None)
        return f"use {ours}={value!r}" if ours else f"leave it out: this model has no {same[0]}"
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}?" if near else "leave it out"
