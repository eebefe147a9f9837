"""What a live Swin of timm, torchvision or transformers does: windows, shifts, padding, pooling."""

import warnings
from collections.abc import Iterable
from typing import Any

from torch import nn

from vitrail.errors import UsageError
from vitrail.weights.families.base import Peer, Reader
from vitrail.weights.families.live import (
    check_act,
    check_gelu,
    norm_eps,
    only,
    pair,
    pool,
    timm_input,
    transformers_input,
)
from vitrail.weights.rules import State

# Every peer lets padding join the softmax, and adds -100 across regions.
_AS_PEERS: dict[str, Any] = {"padding": "visible", "mask_value": -100.0}


# --- timm -----------------------------------------------------------------------------------------


def _read_timm(model: Any) -> Peer:
    stages = list(model.layers)
    fields = _timm_fields(model, stages)
    fields["global_pool"] = pool(str(model.global_pool))
    return _peer(model, [_window(s.blocks) for s in stages], fields, wanted=timm_input(model))


def _read_timm_features(model: Any) -> Peer | None:
    """Read timm's ``features_only`` wrapper, which flattens ``layers.0`` to ``layers_0``."""
    names = [name for name, _ in model.named_children() if name.startswith("layers_")]
    if not names or "patch_embed" not in dict(model.named_children()):
        return None
    stages = [model[name] for name in names]
    fields = _timm_fields(model, stages)
    fields |= {"out_indices": tuple(model.feature_info.out_indices), "num_classes": 0}
    state = {k.replace("layers_", "layers.", 1): v for k, v in model.state_dict().items()}
    return _peer(model, [_window(s.blocks) for s in stages], fields, state)


def _timm_fields(model: Any, stages: list[Any]) -> dict[str, Any]:
    blocks = [block for stage in stages for block in stage.blocks]
    check_gelu(block.mlp.act for block in blocks)
    fixed = bool(model.patch_embed.strict_img_size)
    if any(block.always_partition for block in blocks):
        rule: Any = "always"
    elif fixed:
        rule = "axis"  # what timm decided for the one size that it accepts
    else:
        rule = tuple(_built_shift(stage.blocks) for stage in stages)
    _warn_of_rolled_padding(blocks)
    return _pretrained([stage.blocks[0].attn for stage in stages]) | {
        "shift_rule": rule,
        "drop": float(blocks[0].attn.proj_drop.p),
        "attn_drop": float(blocks[0].attn.attn_drop.p),
        "drop_path": float(getattr(blocks[-1].drop_path1, "drop_prob", 0.0)),
    }


def _warn_of_rolled_padding(blocks: Iterable[Any]) -> None:
    """Tell of the one thing that is not taken over: timm rolls maps before it pads them."""
    for block in blocks:
        axes = zip(block.input_resolution, block.window_size, strict=True)
        if any(block.shift_size) and any(n % m for n, m in axes):
            warnings.warn(
                f"timm rolls a map of {tuple(block.input_resolution)} tokens before padding it to "
                f"windows of {tuple(block.window_size)}, so that opposite edges see one another; "
                "Vitrail pads first, and its outputs differ there",
                stacklevel=4,
            )
            return


# --- torchvision ----------------------------------------------------------------------------------


def _read_torchvision(model: Any) -> Peer:
    parts = [part for part in model.features if isinstance(part, nn.Sequential)]
    stages: list[Any] = [part for part in parts if hasattr(part[0], "attn")]
    blocks = [block for stage in stages for block in stage]
    check_gelu(block.mlp[1] for block in blocks)
    video = len(blocks[0].attn.window_size) == 3
    behaviour: dict[str, Any] = {"shift_rule": "axis", "patch_fit": "floor"}
    if video:
        behaviour = {"shift_rule": "clamp", "patch_fit": "pad", "bias_lookup": "sliced"}
    fields = behaviour | {
        "drop": float(blocks[0].attn.dropout),
        "attn_drop": float(blocks[0].attn.attention_dropout),
        "drop_path": float(blocks[-1].stochastic_depth.p),
    }
    return _peer(model, [tuple(stage[0].attn.window_size) for stage in stages], fields)


# --- transformers ---------------------------------------------------------------------------------


def _read_transformers(model: Any) -> Peer:
    settings = model.config
    check_act(model, settings)
    parts = dict(model.named_children())
    core = parts.get("swin", parts.get("swinv2", model))
    stages = list(core.encoder.layers)
    cosine = hasattr(stages[0].blocks[0].attention, "self")
    fields: dict[str, Any] = {
        "drop": float(settings.hidden_dropout_prob),
        "attn_drop": float(settings.attention_probs_dropout_prob),
        "drop_path": float(settings.drop_path_rate),
    }
    bare = type(model).__name__.endswith("Backbone")
    if bare:
        fields |= _backbone_outputs(model)
    if cosine:
        windows = [pair(stage.blocks[0].window_size) for stage in stages]
        fields["shift_rule"] = tuple(_built_shift(stage.blocks) for stage in stages)
        fields |= _pretrained([stage.blocks[0].attention.self for stage in stages])
    else:
        # Its layers overwrite their window_size when they meet a small map: the settings do not.
        windows = [pair(settings.window_size)] * len(stages)
        fields["shift_rule"] = "always" if bare else "shortest"
    return _peer(model, windows, fields, wanted=transformers_input(settings))


def _backbone_outputs(model: Any) -> dict[str, Any]:
    names = list(model.out_features)
    if "stem" in names:
        raise UsageError(
            f"a backbone with out_features={names}",
            "stages only: stage1, stage2, ...",
            "take the stem's output with model.embed",
        )
    # Its Swin V2 backbone has no norms of its own.
    return {
        "out_indices": tuple(int(name.removeprefix("stage")) - 1 for name in names),
        "feature_norms": hasattr(model, "hidden_states_norms"),
        "num_classes": 0,
    }


# --- shared ---------------------------------------------------------------------------------------

READERS: dict[tuple[str, str], Reader] = {
    ("timm", "SwinTransformer"): _read_timm,
    ("timm", "SwinTransformerV2"): _read_timm,
    ("timm", "FeatureListNet"): _read_timm_features,
    ("torchvision", "SwinTransformer"): _read_torchvision,
    ("torchvision", "SwinTransformer3d"): _read_torchvision,
    **{
        ("transformers", name): _read_transformers
        for prefix in ("Swin", "Swinv2")
        for name in (f"{prefix}ForImageClassification", f"{prefix}Model", f"{prefix}Backbone")
    },
}


def _peer(
    model: Any,
    windows: list[Any],
    fields: dict[str, Any],
    state: State | None = None,
    wanted: dict[str, Any] | None = None,
) -> Peer:
    fields = {"norm_eps": norm_eps(model)} | _AS_PEERS | fields
    return Peer(fields, windows, state=state, preprocessing=wanted or {})


def _window(blocks: Iterable[Any]) -> tuple[int, ...]:
    return only({tuple(block.window_size) for block in blocks}, "window")


def _built_shift(blocks: Any) -> str:
    """Tell whether a stage's odd blocks shift; decided when the peer was built, for any input."""
    shift = next((pair(block.shift_size) for i, block in enumerate(blocks) if i % 2), (0, 0))
    window = pair(blocks[0].window_size)
    if not any(shift):
        return "never"
    return "always" if shift == tuple(m // 2 for m in window) else "axis"


def _pretrained(attentions: list[Any]) -> dict[str, Any]:
    """Return the window of pre-training of a Swin V2; of length 0 where it is the window."""
    if not hasattr(attentions[0], "pretrained_window_size"):
        return {}
    sizes = [(pair(a.pretrained_window_size), pair(a.window_size)) for a in attentions]
    if not any(size[0] > 0 for size, _ in sizes):
        return {}
    return {"pretrained_window": tuple(s if s[0] > 0 else w for s, w in sizes)}
