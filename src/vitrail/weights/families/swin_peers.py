"""What a live Swin of timm, torchvision or transformers does: windows, shifts, padding, pooling."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn

from vitrail.errors import UsageError
from vitrail.weights.families.base import Departure, Peer, Reader
from vitrail.weights.families.live import (
    check_act,
    check_gelu,
    check_norms,
    check_parts,
    check_values,
    labels_of,
    norm_eps,
    odd_size,
    only,
    pair,
    pool,
    reset_output,
    stages_of,
    timm_input,
    timm_list,
    training_only,
    transformers_answers,
    transformers_input,
)

# Every peer lets padding join the softmax, and adds -100 across regions.
_AS_PEERS: dict[str, Any] = {"padding": "visible", "mask_value": -100.0}


# --- timm -----------------------------------------------------------------------------------------


def _read_timm(model: Any) -> Peer:
    stages = list(model.layers)
    fields = _timm_fields(model, stages)
    fields["global_pool"] = pool(str(model.global_pool))
    peer = _timm_peer(model, stages, fields)
    peer.notes += training_only(model, drop_rate=model.head.drop.p)
    return peer


def _read_timm_list(model: Any) -> Peer | None:
    found = timm_list(model, "layers")
    if found is None:
        return None
    stages, fields, state = found
    peer = _timm_peer(model, stages, _timm_fields(model, stages) | fields)
    peer.state = state
    return peer


def _timm_fields(model: Any, stages: list[Any]) -> dict[str, Any]:
    blocks = [block for stage in stages for block in stage.blocks]
    check_gelu(block.mlp.act for block in blocks)
    check_norms(model, "norm")
    check_parts("embed_layer", [model.patch_embed], "timm", "PatchEmbed")
    if hasattr(blocks[0].attn, "scale"):
        dims = [block.attn.dim // block.attn.num_heads for block in blocks]
        heads = [block.attn.qkv.out_features // 3 // block.attn.num_heads for block in blocks]
        check_values(model, [("head_dim", heads, dims)])
    ratios = [float(block.mlp_ratio) for block in blocks]
    check_values(model, [("mlp_ratio", ratios, ratios[:1] * len(ratios))])
    if any(block.always_partition for block in blocks):
        rule: Any = "always"
    elif bool(model.patch_embed.strict_img_size):
        rule = "axis"  # what timm decided for the one size that it accepts
    else:
        rule = tuple(_built_shift(stage.blocks) for stage in stages)
        if "axis" in rule:
            raise UsageError(
                f"a {type(model).__name__} with strict_img_size=False (dynamic_img_size) built for "
                f"img_size={tuple(model.patch_embed.img_size)}, where it shifts along one axis",
                "one that shifts along both axes or none, as it keeps to that at every size",
                "build it for a square img_size, or with strict_img_size=True",
            )
    return _pretrained([stage.blocks[0].attn for stage in stages]) | {
        "shift_rule": rule,
        "drop": float(blocks[0].attn.proj_drop.p),
        "attn_drop": float(blocks[0].attn.attn_drop.p),
        "drop_path": float(getattr(blocks[-1].drop_path1, "drop_prob", 0.0)),
    }


def _timm_peer(model: Any, stages: list[Any], fields: dict[str, Any]) -> Peer:
    windows = [_window(stage.blocks) for stage in stages]
    peer = _peer(model, windows, fields)
    peer.preprocessing = timm_input(model)
    patch = model.patch_embed
    if not patch.strict_img_size:
        # It pads maps, not patches.
        axes = zip(patch.patch_size, odd_size((1, 1), windows[0]), strict=True)
        peer.other_size = tuple(p * n for p, n in axes)
    peer.notes = _rolled_padding([b for stage in stages for b in stage.blocks], patch)
    if peer.notes:
        peer.departure = Departure(_unshift, {"shift_rule": "never"})
    return peer


def _rolled_padding(blocks: Iterable[Any], patch: Any) -> list[str]:
    """Name the one thing that is not taken over: timm rolls maps before it pads them."""
    for block in (block for block in blocks if any(block.shift_size)):
        grid, window = tuple(block.input_resolution), tuple(block.window_size)
        if not patch.strict_img_size:
            given = (f"maps that windows of {window} tokens do not divide (strict_img_size=False) "
                     "before it pads them")  # fmt: skip
        elif any(n % m for n, m in zip(grid, window, strict=True)):
            given = f"a map of {grid} tokens before padding it to windows of {window}"
        else:
            continue
        return [
            f"timm rolls {given}, so that opposite edges see one another; "
            "Vitrail pads first, and its outputs differ there (ADR 37)"
        ]
    return []


def _unshift(copied: Any) -> None:
    """Take the shifts out of a copy: without them, rolling and padding have no order."""
    for module in copied.modules():
        if hasattr(module, "shift_size") and hasattr(module, "attn_mask"):
            module.shift_size, module.attn_mask = (0, 0), None


# --- torchvision ----------------------------------------------------------------------------------


def _read_torchvision(model: Any) -> Peer:
    parts = [part for part in model.features if isinstance(part, nn.Sequential)]
    stages: list[Any] = [part for part in parts if hasattr(part[0], "attn")]
    blocks = [block for stage in stages for block in stage]
    second = "V2" if hasattr(blocks[0].attn, "logit_scale") else ""
    check_parts("block", blocks, "torchvision", f"SwinTransformerBlock{second}")
    merges = [part for part in model.features if hasattr(part, "reduction")]
    check_parts("downsample_layer", merges, "torchvision", f"PatchMerging{second}")
    check_gelu(block.mlp[1] for block in blocks)
    check_norms(model, "norm")
    window = tuple(blocks[0].attn.window_size)
    behaviour: dict[str, Any] = {"shift_rule": "axis", "patch_fit": "floor"}
    if len(window) == 3:
        behaviour = {"shift_rule": "clamp", "patch_fit": "pad", "bias_lookup": "sliced"}
        check_parts("patch_embed", [model.patch_embed], "torchvision", "PatchEmbed3d")
        patch = model.patch_embed.proj.stride
    else:
        patch = model.features[0][0].stride
    fields = behaviour | {
        "drop": float(blocks[0].attn.dropout),
        "attn_drop": float(blocks[0].attn.attention_dropout),
        "drop_path": float(blocks[-1].stochastic_depth.p),
    }
    peer = _peer(model, [tuple(stage[0].attn.window_size) for stage in stages], fields)
    peer.other_size = odd_size(patch, window)
    return peer


# --- transformers ---------------------------------------------------------------------------------


def _read_transformers(model: Any, part: str = "") -> Peer:
    settings = model.config
    check_act(model, settings)
    children = dict(model.named_children())
    core = children.get("swin", children.get("swinv2", model))
    stages = list(core.encoder.layers)
    cosine = hasattr(stages[0].blocks[0].attention, "self")
    fields: dict[str, Any] = {
        "norm_eps": norm_eps(model, "layer_norm_eps"),
        "drop": float(settings.hidden_dropout_prob),
        "attn_drop": float(settings.attention_probs_dropout_prob),
        "drop_path": float(settings.drop_path_rate),
    }
    if part == "Backbone":
        # Its Swin V2 backbone has no norms of its own.
        norms = hasattr(model, "hidden_states_norms")
        fields |= {"out_indices": stages_of(model), "feature_norms": norms, "num_classes": 0}
    elif core.pooler is None:
        fields["global_pool"] = ""
    if cosine:
        absolute = settings.use_absolute_embeddings
        check_values(settings, [("use_absolute_embeddings", absolute, False)])
        windows = [pair(stage.blocks[0].window_size) for stage in stages]
        fields["shift_rule"] = tuple(_built_shift(stage.blocks) for stage in stages)
        fields |= _pretrained([stage.blocks[0].attention.self for stage in stages])
    else:
        # Its layers overwrite their window_size when they meet a small map: the settings do not.
        windows = [pair(settings.window_size)] * len(stages)
        fields["shift_rule"] = "always" if part == "Backbone" else "shortest"
    peer = _peer(model, windows, fields)
    peer.notes = [] if part == "Backbone" else _memory(model)
    peer.preprocessing = transformers_input(settings)
    peer.answers, peer.reset = transformers_answers, _forget
    if settings.use_absolute_embeddings:
        peer.grids = {"position.table": tuple(core.embeddings.patch_grid)}
    else:
        peer.other_size = odd_size(pair(settings.patch_size), pair(settings.window_size))
        if fields["shift_rule"] == "shortest":
            # It fails where a map is shorter than its window: the table of biases does not shrink.
            least = settings.window_size * 2 ** (len(stages) - 1) + 1
            sides = zip(pair(settings.patch_size), (least, least + 1), strict=True)
            peer.other_size = tuple(p * n + (p > 1) for p, n in sides)
    return peer


def _read_upernet(model: Any) -> Peer | None:
    """Read transformers' UPerNet on a Swin, whose auxiliary head has no part in its logits."""
    if type(model.backbone).__name__ != "SwinBackbone":
        return None
    settings = model.config
    convs = settings.auxiliary_num_convs if model.auxiliary_head is not None else 1
    check_values(model, [("auxiliary_num_convs", convs, max(convs, 1))])
    peer = _read_transformers(model.backbone, "Backbone")
    peer.head = {"pools": tuple(settings.pool_scales), "drop": 0.0}
    peer.options = {"normalise": "fixed", "ignore": settings.loss_ignore_index}
    peer.preprocessing = {"size": peer.preprocessing["size"]} | labels_of(settings)
    peer.answers, peer.reset = transformers_answers, _forget_all
    return peer


def _forget_all(copied: Any) -> None:
    reset_output(copied)
    _forget(copied.backbone)


def _layers(model: Any) -> list[tuple[Any, int, int]]:
    """Return the layers of transformers' Swin, each with the window and shift it was built with."""
    layers = [m for m in model.modules() if hasattr(m, "set_shift_and_window_size")]
    shifted = [i % 2 for depth in model.config.depths for i in range(depth)]
    size = int(model.config.window_size)
    return [(layer, size, odd * (size // 2)) for layer, odd in zip(layers, shifted, strict=False)]


def _forget(copied: Any) -> None:
    """Bring a copy of a transformers Swin back to what it was before its first input."""
    reset_output(copied)
    for layer, window, shift in _layers(copied):
        layer.window_size, layer.shift_size = window, shift


def _memory(model: Any) -> list[str]:
    """Tell of layers that an input has changed for good; ours are as those that are built anew."""
    changed = [
        layer
        for layer, window, shift in _layers(model)
        if (int(layer.window_size), int(layer.shift_size)) != (window, shift)
    ]
    if not changed:
        return []
    return [
        f"an earlier input has changed the window or shift of {len(changed)} of the layers of "
        f"this {type(model).__name__} for good, and what it returns at larger sizes; Vitrail's "
        "model computes what the peer does when it is built anew (ADR 3)"
    ]


# --- shared ---------------------------------------------------------------------------------------

READERS: dict[tuple[str, str], Reader] = {
    ("timm", "SwinTransformer"): _read_timm,
    ("timm", "SwinTransformerV2"): _read_timm,
    ("timm", "FeatureListNet"): _read_timm_list,
    ("torchvision", "SwinTransformer"): _read_torchvision,
    ("torchvision", "SwinTransformer3d"): _read_torchvision,
    **{
        ("transformers", f"{prefix}{part}"): partial(_read_transformers, part=part)
        for prefix in ("Swin", "Swinv2")
        for part in ("ForImageClassification", "Model", "Backbone")
    },
    ("transformers", "UperNetForSemanticSegmentation"): _read_upernet,
}


def _peer(model: Any, windows: list[Any], fields: dict[str, Any]) -> Peer:
    eps = fields["norm_eps"] if "norm_eps" in fields else norm_eps(model)
    return Peer({"norm_eps": eps} | _AS_PEERS | fields, windows)


def _window(blocks: Iterable[Any]) -> tuple[int, ...]:
    return only({tuple(block.window_size) for block in blocks}, "window")


def _built_shift(blocks: Any) -> str:
    """Return whether a stage's odd blocks shift; decided when the peer was built, for any input."""
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
