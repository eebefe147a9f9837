"""What a live MaxViT of timm or torchvision does: sizes, norms, dropping."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from vitrail.errors import UsageError
from vitrail.weights.families.base import Peer, Reader
from vitrail.weights.families.live import (
    channels_first_answers,
    check_gelu,
    only,
    pool,
    timm_input,
)


def _read_timm(model: Any) -> Peer | None:
    fields = _timm_fields(model, list(model.stages))
    head = model.head
    if not hasattr(head.pre_logits, "fc"):
        raise _other("no layer before its head")
    fields["global_pool"] = pool(head.global_pool.pool_type)
    return _peer(fields, timm_input(model))


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
    for block in blocks:
        if getattr(block, "attn_block", None) is None or not hasattr(block, "attn_grid"):
            raise _other(f"blocks of {type(block).__name__}")
        grid = block.attn_grid
        if type(grid.attn.rel_pos).__name__ != "RelPosBiasTf":
            raise _other(f"biases of {type(grid.attn.rel_pos).__name__}")
        if grid.attn.head_first or block.conv.se is None:
            raise _other("heads before queries, keys and values, or other convolutions")
    if type(model.stem.conv1).__name__ != "Conv2dSame":
        raise _other("symmetric padding")
    activations = {type(block.attn_grid.mlp.act).__name__ for block in blocks}
    if activations != {"GELUTanh"}:
        raise _other(f"{', '.join(activations)} activations")
    last = blocks[-1].attn_grid
    return _sizes(tuple(last.partition_size), tuple(blocks[-1].attn_block.partition_size)) | {
        **_norms(block for block in blocks),
        "drop": float(last.attn.proj_drop.p),
        "attn_drop": float(last.attn.attn_drop.p),
        "drop_path": float(getattr(last.drop_path1, "drop_prob", 0.0)),
    }


def _read_torchvision(model: Any) -> Peer:
    layers: list[Any] = [layer.layers for block in model.blocks for layer in block.layers]
    check_gelu(m for m in model.modules() if type(m).__name__.endswith(("GELU", "ReLU")))
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
    side = layers[0].window_attention.grid_size[0] * 4
    return _peer(fields, {"size": (side, side)})


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


def _other(what: str) -> UsageError:
    """Say that a model of timm is a MaxViT of its own kind."""
    return UsageError(
        f"a MaxxVit with {what}",
        "a MaxViT as published: timm's maxvit_*_tf, or torchvision's maxvit_t",
        "build it with timm.create_model('maxvit_tiny_tf_224')",
    )


READERS: dict[tuple[str, str], Reader] = {
    ("timm", "MaxxVit"): _read_timm,
    ("timm", "FeatureListNet"): _read_timm_features,
    ("torchvision", "MaxVit"): _read_torchvision,
}
