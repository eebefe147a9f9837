"""What a live Hiera of timm or transformers does: windows, pooled queries, heads, norms."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from vitrail.weights.families.base import Departure, Peer, Reader
from vitrail.weights.families.live import (
    check_act,
    check_gelu,
    check_norms,
    check_parts,
    check_values,
    only,
    pool,
    stages_of,
    timm_input,
    training_only,
    transformers_answers,
    transformers_input,
)

_NOT_UNROLLED = (
    "transformers' HieraBackbone does not order its tokens by windows, so that they attend within "
    "other groups than HieraModel's and the official code's; Vitrail's maps are HieraModel's"
)


def _read_timm(model: Any) -> Peer:
    blocks = list(model.blocks)
    check_parts("block", blocks, "timm", "HieraBlock")
    check_gelu(block.mlp.act for block in blocks)
    check_norms(model, "norm")
    starts = [0, *(number for number, block in enumerate(blocks) if block.do_expand)]
    pools = tuple(number for number, block in enumerate(blocks) if block.attn.q_stride > 1)
    check_values(model, [
        ("abs_win_pos_embed", model.pos_embed_win is not None, False),
        ("sep_pos_embed", model.pos_embed is None, False),
        ("init_values", not isinstance(blocks[0].ls1, nn.Identity), False),
        ("use_expand_proj", all(blocks[start].proj is not None for start in starts[1:]), True),
        ("dim_mul", only({b.dim_out / b.dim for b in blocks if b.do_expand} or {2}, "dim_mul"), 2),
        ("q_pool", model.q_pool, len(starts) - 1),
        ("patch_padding", _halves(model.patch_embed.proj), True),
        # Its order of tokens makes windows of this size, whatever the unit's.
        ("mask_unit_size", tuple(model.mask_unit_size), _unit(model.q_stride, len(starts))),
    ])  # fmt: skip
    assert pools == tuple(starts[1:])
    # A stage's first block attends as the stage before: its second one, or the next stage, counts.
    within = [blocks[0].attn.use_mask_unit_attn]
    for start, end in zip(starts[1:], [*starts[2:], len(blocks)], strict=True):
        teller = start + 1 if start + 1 < end else end
        within.append(teller < len(blocks) and blocks[teller].attn.use_mask_unit_attn)
    fields: dict[str, Any] = {
        "global_pool": pool(str(model.head.pool_type)),
        "norm_eps": only({block.norm1.eps for block in blocks}, "norm_eps"),
        "window": tuple(model.mask_unit_size),
        "windowed": tuple(map(bool, within)),
        "merge": tuple(model.q_stride),
        "patch": tuple(model.patch_embed.proj.stride),
        "drop_path": float(getattr(blocks[-1].drop_path1, "drop_prob", 0.0)),
    }
    grid = tuple(model.tokens_spatial_shape)
    peer = Peer(fields, num_heads=tuple(blocks[start].attn.heads for start in starts),
                grids={"position.table": grid})  # fmt: skip
    peer.notes = training_only(model, patch_drop_rate=model.patch_drop_rate,
                               drop_rate=model.head.drop.p)  # fmt: skip
    peer.preprocessing = timm_input(model)
    patch = zip(grid, fields["patch"], strict=True)
    peer.preprocessing["size"] = tuple(n * p for n, p in patch)
    return peer


def _unit(stride: Sequence[int], stages: int) -> tuple[int, ...]:
    """Return the window that tokens are ordered by: a cell of the last stage."""
    return tuple(s ** (stages - 1) for s in stride)


def _halves(proj: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    return all(p == k // 2 for p, k in zip(proj.padding, proj.kernel_size, strict=True))


def _read_transformers(model: Any, part: str = "") -> Peer:
    settings = model.config
    check_act(model, settings)
    core = dict(model.named_children()).get("hiera", model)
    within = tuple(map(bool, settings.masked_unit_attention))
    stages = len(settings.depths)
    check_values(settings, [
        ("embed_dim_multiplier", settings.embed_dim_multiplier, 2),
        ("num_query_pool", settings.num_query_pool, stages - 1),
        ("patch_padding", _halves(core.embeddings.patch_embeddings.projection), True),
        ("masked_unit_size", tuple(settings.masked_unit_size),
         _unit(settings.query_stride, stages)),
        # There, the block that leads to a stage attends within windows if either stage does.
        ("masked_unit_attention", within, tuple(sorted(within, reverse=True))),
        ("mask_ratio", core.embeddings.is_mae, False),
    ])  # fmt: skip
    fields: dict[str, Any] = {
        "norm_eps": float(settings.layer_norm_eps),
        "window": tuple(settings.masked_unit_size),
        "windowed": within,
        "merge": tuple(settings.query_stride),
        "patch": tuple(settings.patch_stride),
        "drop_path": float(settings.drop_path_rate),
    }
    peer = Peer(fields, num_heads=tuple(settings.num_heads), answers=transformers_answers)
    grid = tuple(n // s for n, s in zip(settings.image_size, settings.patch_stride, strict=True))
    peer.grids = {"position.table": grid}
    peer.preprocessing = transformers_input(settings)
    if part == "Backbone":
        eps = only({norm.eps for norm in model.hidden_states_norms.values()}, "layer_norm_eps")
        fields |= {"out_indices": stages_of(model), "feature_norms": True, "num_classes": 0,
                   "feature_norm_eps": float(eps)}  # fmt: skip
        peer.departure, peer.notes = Departure(_unroll, {}), [_NOT_UNROLLED]
    elif core.pooler is None:
        fields["global_pool"] = ""
    return peer


def _unroll(copied: Any) -> None:
    """Have a copy order its tokens by windows, as its sister classes do."""
    settings, functions = copied.config, sys.modules[type(copied).__module__]
    schedule = [settings.query_stride] * (len(settings.depths) - 1)

    def order(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        tokens = functions.unroll(output[0], tuple(args[0].shape[-2:]), settings.patch_stride,
                                  schedule)  # fmt: skip
        return (tokens, *output[1:])

    copied.embeddings.register_forward_hook(order)


READERS: Mapping[tuple[str, str], Reader] = {
    ("timm", "Hiera"): _read_timm,
    **{
        ("transformers", f"Hiera{part}"): partial(_read_transformers, part=part)
        for part in ("ForImageClassification", "Model", "Backbone")
    },
}
