"""What a live SegFormer of transformers or segmentation_models_pytorch does."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from vitrail.errors import UsageError
from vitrail.weights.families.base import Peer, Reader
from vitrail.weights.families.live import (
    check_act,
    check_gelu,
    check_norms,
    check_values,
    labels_of,
    odd_size,
    only,
    overlapping,
    pair,
    reset_output,
    transformers_answers,
)


def _read_transformers(model: Any, part: str) -> Peer:
    settings = model.config
    check_act(model, settings)
    fields: dict[str, Any] = {
        "norm_eps": 1e-5,  # torch's default, whatever layer_norm_eps says
        "embed_norm_eps": 1e-5,
        "drop": float(settings.hidden_dropout_prob),
        "attn_drop": float(settings.attention_probs_dropout_prob),
        "drop_path": float(settings.drop_path_rate),
        **overlapping(settings),
    }
    stages = settings.num_encoder_blocks
    peer = Peer(
        fields,
        num_heads=tuple(settings.num_attention_heads[:stages]),
        preprocessing=labels_of(settings),
        other_size=odd_size(fields["patch"], pair(max(settings.sr_ratios))),
        answers=transformers_answers,
        reset=reset_output,
    )
    if part == "Model":
        fields["global_pool"] = ""
        peer.answers = _last_map
    elif part == "ForSemanticSegmentation":
        _check_labels(model)
        peer.head = {"drop": float(settings.classifier_dropout_prob)}
        peer.options = {"normalise": "fixed", "ignore": settings.semantic_loss_ignore_index}
        peer.run, peer.answers = _coarse, _logits
    return peer


def _check_labels(model: Any) -> None:
    if not model.config.reshape_last_stage:
        raise UsageError(
            f"a {type(model).__name__} with reshape_last_stage=False, which takes squares alone",
            "reshape_last_stage=True",
            "set model.config.reshape_last_stage = True before it is built; weights are the same",
        )


def _last_map(out: Any) -> list[Tensor]:
    tokens = out.last_hidden_state
    return [tokens.movedim(1, -1) if tokens.ndim == 4 else tokens]


def _logits(out: Any) -> list[Tensor]:
    return [out.logits]


def _coarse(model: Any, x: Tensor) -> Tensor:
    """Return the logits on the finest map's grid, where transformers' model ends."""
    return model.head.logits(model.maps(x))


def _read_encoder(model: Any) -> Peer:
    """Read the encoder of segmentation_models_pytorch."""
    patches = [getattr(model, f"patch_embed{n}") for n in range(1, 5)]
    stages = [getattr(model, f"block{n}") for n in range(1, 5)]
    blocks = [block for stage in stages for block in stage]
    check_gelu(block.mlp.act for block in blocks)
    check_norms(model, "norm")
    dilated = [block for block in patches if set(block.proj.dilation) != {1}]
    check_values(model, [("output_stride", 16 if dilated else 32, 32)])
    if model._depth < 2:
        raise UsageError("an encoder of depth 1, which has no map", "a depth from 2 to 5",
                         "build it with depth=5")  # fmt: skip
    fields: dict[str, Any] = {
        "norm_eps": only({block.norm1.eps for block in blocks}, "norm_eps"),
        "embed_norm_eps": only({patch.norm.eps for patch in patches}, "embed_norm_eps"),
        "drop": float(blocks[0].attn.proj_drop.p),
        "attn_drop": float(blocks[0].attn.attn_drop.p),
        "drop_path": float(getattr(blocks[-1].drop_path, "drop_prob", 0.0)),
        "out_indices": tuple(range(model._depth - 1)),
        "num_classes": 0,
    }
    return Peer(
        fields,
        num_heads=tuple(stage[0].attn.num_heads for stage in stages),
        preprocessing={},
        other_size=odd_size((4, 4), (8, 8)),
        answers=_maps,
    )


def _maps(out: Any) -> list[Tensor]:
    return [one.movedim(1, -1) for one in out[2:]]  # after the input, and an empty one


def _read_smp(model: Any) -> Peer | None:
    """Read segmentation_models_pytorch's Segformer on a MiT."""
    if type(model.encoder).__name__ != "MixVisionTransformerEncoder":
        return None
    convolution, upsample, activation = model.segmentation_head
    check_values(
        model,
        [
            ("encoder_depth", model.encoder._depth, 5),
            ("upsampling", int(getattr(upsample, "scale_factor", 1)), 4),
            ("activation", type(activation.activation).__name__, "Identity"),
            ("aux_params", None if model.classification_head is None else "given", None),
            ("classes", "1" if convolution.out_channels == 1 else "several", "several"),
        ],
    )
    peer = _read_encoder(model.encoder)
    peer.fields |= {"out_indices": None}  # the head's backbone has all
    peer.head = {"drop": 0.0, "align": "corners"}
    peer.options = {"normalise": "fixed"}
    peer.other_size = (96, 128)  # it takes multiples of 32 alone
    peer.answers = _whole
    return peer


def _whole(out: Any) -> list[Tensor]:
    return [out]


READERS: Mapping[tuple[str, str], Reader] = {
    **{
        ("transformers", f"Segformer{part}"): partial(_read_transformers, part=part)
        for part in ("Model", "ForImageClassification", "ForSemanticSegmentation")
    },
    ("segmentation_models_pytorch", "MixVisionTransformerEncoder"): _read_encoder,
    ("segmentation_models_pytorch", "Segformer"): _read_smp,
}
