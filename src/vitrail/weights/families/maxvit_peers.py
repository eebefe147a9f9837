"""What a live MaxViT of timm or torchvision does: sizes, norms, dropping."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from vitrail.errors import UsageError
from vitrail.weights.families.base import Peer, Reader
from vitrail.weights.families.live import (
    channels_first_answers,
    check_gelu,
    check_parts,
    only,
    pool,
    timm_input,
    training_only,
)

# An argument of the constructor, what the model has of it, what it has to have, and its value then.
Setting = tuple[str, Any, Any, Any]


def _read_timm(model: Any) -> Peer | None:
    fields = _timm_fields(model, list(model.stages))
    head = model.head
    before = getattr(head.pre_logits, "fc", None)
    _check([
        ("head_hidden_size", before and len(before.weight), model.num_features,
         model.num_features),
        ("transformer_norm_layer", _kind(head.norm), "LayerNorm2d", "layernorm2d"),
    ])  # fmt: skip
    fields["global_pool"] = pool(head.global_pool.pool_type)
    peer = _peer(fields, timm_input(model))
    peer.notes += training_only(model, drop_rate=model.drop_rate)
    return peer


def _read_timm_features(model: Any) -> Peer | None:
    """Read timm's ``features_only`` wrapper, which flattens ``stages.0`` to ``stages_0``."""
    names = [name for name, _ in model.named_children()]
    stages = [name for name in names if name.startswith("stages_")]
    if "stem" not in names or not stages or not hasattr(model[stages[0]].blocks[0], "attn_grid"):
        return None
    outputs = tuple(model.feature_info.out_indices)
    if 0 in outputs:
        raise UsageError(
            f"a backbone with out_indices={outputs}, the first of which is its stem's map",
            "the maps of stages",
            "build it with out_indices=(1, 2, 3, 4)",
        )
    fields = _timm_fields(model, [model[name] for name in stages])
    fields |= {"out_indices": tuple(i - 1 for i in outputs), "num_classes": 0}
    peer = _peer(fields, {})
    peer.state = {k.replace("stages_", "stages.", 1): v for k, v in model.state_dict().items()}
    return peer


def _timm_fields(model: Any, stages: list[Any]) -> dict[str, Any]:
    blocks: list[Any] = [block for stage in stages for block in stage.blocks]
    if any(not hasattr(block, "attn_grid") for block in blocks):
        raise _other("block_type", sorted({type(block).__name__ for block in blocks}), "M")
    convs = [block.conv for block in blocks]
    _check(_blocks_of_timm(blocks))
    _check(_convolutions_of_timm(convs))
    ratios = {conv.conv1_1x1.out_channels / conv.conv3_1x1.out_channels for conv in convs}
    stem = model.stem
    _check([
        ("conv_expand_output", len(ratios) == 1, True, True),
        ("conv_padding", _kind(stem.conv1), "Conv2dSame", "same"),
        ("stem_width", (stem.conv1.out_channels, stem.conv2.out_channels),
         (stem.conv2.out_channels,) * 2, stem.conv2.out_channels),
        ("stem_bias", stem.conv1.bias is not None, True, True),
    ])  # fmt: skip
    last = blocks[-1].attn_grid
    return _sizes(tuple(last.partition_size), tuple(blocks[-1].attn_block.partition_size)) | {
        **_norms(block for block in blocks),
        "drop": float(last.attn.proj_drop.p),
        "attn_drop": float(last.attn.attn_drop.p),
        "drop_path": float(getattr(last.drop_path1, "drop_prob", 0.0)),
    }


def _blocks_of_timm(blocks: list[Any]) -> Iterable[Setting]:
    for block in blocks:
        yield "transformer_no_block_attn", block.attn_block is None, False, False
        yield "transformer_use_nchw_attn", block.nchw_attn, False, False
        yield "conv_block_type", _kind(block.conv), "MbConvBlock", "mbconv"
        for part in (block.attn_block, block.attn_grid):
            attn = part.attn
            yield "transformer_rel_pos_type", _kind(attn.rel_pos), "RelPosBiasTf", "bias_tf"
            yield "transformer_head_first", attn.head_first, False, False
            yield "transformer_attn_bias", attn.qkv.bias is not None, True, True
            yield "transformer_init_values", _kind(part.ls1), "Identity", None
            yield "transformer_act_layer", _kind(part.mlp.act), "GELUTanh", "gelu_tanh"
            for norm in (part.norm1, part.norm2):
                yield "transformer_norm_layer_cl", _kind(norm), "LayerNorm", "layernorm"


def _convolutions_of_timm(convs: list[Any]) -> Iterable[Setting]:
    for conv in convs:
        deep = conv.conv2_kxk
        yield "conv_kernel_size", deep.kernel_size, (3, 3), 3
        yield "conv_group_size", deep.in_channels // deep.groups, 1, 1
        yield "conv_output_bias", conv.conv3_1x1.bias is not None, True, True
        yield (
            "conv_stride_mode",
            (_kind(conv.down), conv.conv1_1x1.stride),
            ("Identity", (1, 1)),
            "dw",
        )
        if hasattr(conv.shortcut, "pool"):
            pooled = conv.shortcut.pool
            yield "conv_padding", _kind(deep), "Conv2dSame", "same"
            found = _kind(pooled), pooled.kernel_size
            yield "conv_pool_type", found, ("AvgPool2dSame", (2, 2)), "avg2"
        yield "conv_attn_early", conv.se_early is not None, False, False
        yield "conv_attn_layer", _kind(conv.se), "SEModule", "se"
        yield "conv_attn_act_layer", _kind(conv.se.act), "SiLU", "silu"
        for norm in (conv.pre_norm, conv.norm1, conv.norm2):
            yield "conv_norm_layer", _kind(norm), "BatchNormAct2d", "batchnorm2d"
        yield "conv_pre_norm_act", _kind(conv.pre_norm.act), "Identity", False
        for norm in (conv.norm1, conv.norm2):
            yield "conv_act_layer", _kind(norm.act), "GELUTanh", "gelu_tanh"


def _kind(module: Any) -> str:
    return type(module).__name__


def _read_torchvision(model: Any) -> Peer:
    layers: list[Any] = [layer.layers for block in model.blocks for layer in block.layers]
    convs = [layer.MBconv.layers for layer in layers]
    parts = [part for conv in convs for part in (conv.conv_a, conv.conv_b)]
    norms = [conv.pre_norm for conv in convs] + [part[1] for part in parts]
    check_parts("norm_layer", norms, "torch", "BatchNorm2d")
    perceptrons = [layer.grid_attention.mlp_layer for layer in layers]
    check_parts("activation_layer", [part[2] for part in parts + perceptrons], "torch", "GELU")
    check_gelu(part[2] for part in parts + perceptrons)
    last = layers[-1].grid_attention
    size = (model.partition_size,) * 2
    fields = _sizes(size, size) | {
        **_norms(layers),
        "drop": float(last.mlp_layer[-1].p),
        "attn_drop": 0.0,  # what it calls so drops values after the projection
        "drop_path": float(last.stochastic_dropout.p),
    }
    if float(last.attn_layer[-1].p) != fields["drop"]:
        raise UsageError(
            f"a MaxViT with attention_dropout={last.attn_layer[-1].p}, "
            f"mlp_dropout={fields['drop']}",
            "the same for both: each drops values after a last layer",
            "build it with equal numbers",
        )
    return _peer(fields, {"size": tuple(4 * n for n in layers[0].window_attention.grid_size)})


def _norms(parts: Iterable[nn.Module]) -> dict[str, Any]:
    """Return what norms add to the variance, and the weight of a batch in their statistics."""
    modules = [m for part in parts for m in part.modules()]
    batch = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
    return {
        "norm_eps": only({m.eps for m in modules if isinstance(m, nn.LayerNorm)}, "norm_eps"),
        "conv_norm_eps": only({m.eps for m in batch}, "conv_norm_eps"),
        "momentum": only({m.momentum for m in batch}, "momentum"),
    }


def _sizes(grid: tuple[int, ...], window: tuple[int, ...]) -> dict[str, Any]:
    return {"window": window, "grid": grid}


def _peer(fields: dict[str, Any], wanted: dict[str, Any]) -> Peer:
    return Peer(fields, windows=[fields["window"]], preprocessing=wanted,
                answers=channels_first_answers)  # fmt: skip


def _check(settings: Iterable[Setting]) -> None:
    """Refuse what the published models of timm do not have, by the name of its argument."""
    for name, found, wanted, argument in settings:
        if found != wanted:
            raise _other(name, found, argument)


def _other(name: str, found: Any, argument: Any) -> UsageError:
    return UsageError(
        f"a MaxxVit with another {name} ({found})",
        f"{name}={argument!r}, as timm's maxvit_*_tf have",
        f"build it with {name}={argument!r}, as timm.create_model('maxvit_tiny_tf_224') is, or use "
        "the peer itself",
    )


READERS: dict[tuple[str, str], Reader] = {
    ("timm", "MaxxVit"): _read_timm,
    ("timm", "FeatureListNet"): _read_timm_features,
    ("torchvision", "MaxVit"): _read_torchvision,
}
