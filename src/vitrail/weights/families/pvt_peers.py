"""What a live PVT v2 of timm, or a PVT of transformers, does: heads, norms, dropping."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import UsageError
from vitrail.shapes import Size
from vitrail.weights.families.base import Departure, Peer, Reader
from vitrail.weights.families.live import (
    channels_first_answers,
    check_act,
    check_gelu,
    check_norms,
    odd_size,
    only,
    overlapping,
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


def _read_timm(model: Any) -> Peer:
    fields = _timm_fields(model, list(model.stages)) | {"global_pool": pool(str(model.global_pool))}
    peer = _timm_peer(model, list(model.stages), fields)
    peer.notes += training_only(model, drop_rate=model.head_drop.p)
    return peer


def _read_timm_list(model: Any) -> Peer | None:
    found = timm_list(model, "stages")
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
    return {
        "norm_eps": only({block.norm1.eps for block in blocks}, "norm_eps"),
        "embed_norm_eps": float(model.patch_embed.norm.eps),
        "drop": float(blocks[0].attn.proj_drop.p),
        "attn_drop": float(blocks[0].attn.attn_drop.p),
        "drop_path": float(getattr(blocks[-1].drop_path1, "drop_prob", 0.0)),
    }


def _timm_peer(model: Any, stages: list[Any], fields: dict[str, Any]) -> Peer:
    return Peer(
        fields,
        num_heads=tuple(stage.blocks[0].attn.num_heads for stage in stages),
        preprocessing=timm_input(model),
        other_size=odd_size((4, 4), (8, 8)),
        answers=channels_first_answers,
    )


def _read_transformers(model: Any, part: str = "") -> Peer:
    settings = model.config
    check_act(model, settings)
    fields: dict[str, Any] = {
        "norm_eps": float(settings.layer_norm_eps),
        "embed_norm_eps": float(settings.layer_norm_eps),
        "drop": float(settings.hidden_dropout_prob),
        "attn_drop": float(settings.attention_probs_dropout_prob),
        "drop_path": float(settings.drop_path_rate),
    }
    wanted = transformers_input(settings)
    departure, notes = None, []
    if settings.model_type == "pvt":
        _check_patches(settings)
        fields["patch_fit"] = "floor"
        # It takes one number of tokens; what patches do not divide is dropped.
        aspect = _other_aspect(settings)
        sides = zip(aspect or wanted["size"], pair(settings.patch_sizes[0]), strict=True)
        other = tuple(n + (n % p < p - 1) for n, p in sides)
        if aspect is not None:
            departure = Departure(_resize_positions, {})
            notes = [
                "transformers' PVT reads its tables of positions row by row at sizes with as many "
                f"tokens as its own, such as {aspect[0]}x{aspect[1]}; Vitrail resizes them, and "
                "its outputs differ there (ADR 36)"
            ]
    else:
        fields |= overlapping(settings)
        other = odd_size(fields["patch"], pair(max(settings.sr_ratios)))
    if part == "Model":
        fields["global_pool"] = ""  # all tokens: it pools none
    elif part == "Backbone":
        fields |= {"out_indices": stages_of(model), "num_classes": 0}
    return Peer(
        fields,
        num_heads=tuple(settings.num_attention_heads[: settings.num_encoder_blocks]),
        preprocessing=wanted,
        other_size=other,
        answers=transformers_answers,
        reset=reset_output,
        departure=departure,
        notes=notes,
    )


def _other_aspect(settings: Any) -> Size | None:
    """Return an input that is not square and has the native one's tokens in each stage, if any."""
    own = _grids(settings, pair(settings.image_size))
    patch = pair(settings.patch_sizes[0])
    for rows in range(own[0][0] - 1, 0, -1):
        size = (rows * patch[0], math.prod(own[0]) // rows * patch[1])
        grids = _grids(settings, size)
        # It fails where keys stand for more tokens than there are along an axis.
        ratios = settings.sequence_reduction_ratios[: len(grids)]
        fits = all(min(grid) >= r for grid, r in zip(grids, ratios, strict=True))
        if fits and [*map(math.prod, grids)] == [*map(math.prod, own)]:
            return size
    return None


def _grids(settings: Any, size: Size) -> list[Size]:
    """Return the grid of each stage."""
    grids = []
    for patch in settings.patch_sizes[: settings.num_encoder_blocks]:
        size = tuple(n // p for n, p in zip(size, pair(patch), strict=True))
        grids.append(size)
    return grids


def _resize_positions(copied: Any) -> None:
    """Have a copy resize its positions from the grids it was built for, as the official code."""
    for module in copied.modules():
        own = getattr(type(module), "interpolate_pos_encoding", None)
        if getattr(own, "__module__", "").startswith("transformers."):  # and not a user's
            sides = zip(module.image_size, module.patch_size, strict=True)
            grid = tuple(length // patch for length, patch in sides)
            module.interpolate_pos_encoding = partial(_resized, grid)


def _resized(grid: Size, table: Tensor, height: int, width: int) -> Tensor:
    table = table.unflatten(1, grid).movedim(-1, 1)
    return F.interpolate(table, (height, width), mode="bilinear").flatten(2).mT


def _check_patches(settings: Any) -> None:
    """Refuse patches of a PVT with gaps or overlaps: its ``strides`` are its kernels' lengths."""
    stages = settings.num_encoder_blocks
    patches = [pair(size) for size in settings.patch_sizes[:stages]]
    kernels = [pair(size) for size in settings.strides[:stages]]
    if kernels != patches or len({*patches[1:]}) > 1:
        raise UsageError(
            f"a PVT with patch_sizes={settings.patch_sizes} and strides={settings.strides}",
            "strides equal to patch_sizes, and both equal from the second stage on",
            "use the peer itself",
        )


def _transformers(prefix: str, *parts: str) -> dict[tuple[str, str], Reader]:
    return {
        ("transformers", f"{prefix}{part}"): partial(_read_transformers, part=part)
        for part in parts
    }


READERS: Mapping[str, Mapping[tuple[str, str], Reader]] = {
    "pvt": _transformers("Pvt", "ForImageClassification", "Model"),
    "pvt_v2": {
        ("timm", "PyramidVisionTransformerV2"): _read_timm,
        ("timm", "FeatureListNet"): _read_timm_list,
        **_transformers("PvtV2", "ForImageClassification", "Model", "Backbone"),
    },
}
