"""What a live PVT v2 of timm, or a PVT of transformers, does: heads, norms, dropping."""

from collections.abc import Mapping
from typing import Any

from vitrail.weights.families.base import Peer, Reader
from vitrail.weights.families.live import (
    check_act,
    check_gelu,
    only,
    pool,
    timm_input,
    transformers_input,
)


def _read_timm(model: Any) -> Peer:
    stages = list(model.stages)
    blocks = [block for stage in stages for block in stage.blocks]
    check_gelu(block.mlp.act for block in blocks)
    fields = {
        "global_pool": pool(str(model.global_pool)),
        "norm_eps": only({block.norm1.eps for block in blocks}, "norm_eps"),
        "embed_norm_eps": float(model.patch_embed.norm.eps),
        "drop": float(blocks[0].attn.proj_drop.p),
        "attn_drop": float(blocks[0].attn.attn_drop.p),
        "drop_path": float(getattr(blocks[-1].drop_path1, "drop_prob", 0.0)),
    }
    heads = tuple(stage.blocks[0].attn.num_heads for stage in stages)
    return Peer(fields, num_heads=heads, preprocessing=timm_input(model))


def _read_transformers(model: Any) -> Peer:
    settings = model.config
    check_act(model, settings)
    eps = float(settings.layer_norm_eps)
    fields: dict[str, Any] = {
        "norm_eps": eps,
        "embed_norm_eps": eps,
        "drop": float(settings.hidden_dropout_prob),
        "attn_drop": float(settings.attention_probs_dropout_prob),
        "drop_path": float(settings.drop_path_rate),
    }
    if settings.model_type == "pvt":
        fields["patch_fit"] = "floor"
    heads = tuple(settings.num_attention_heads)
    return Peer(fields, num_heads=heads, preprocessing=transformers_input(settings))


READERS: Mapping[str, Mapping[tuple[str, str], Reader]] = {
    "pvt": {
        ("transformers", name): _read_transformers
        for name in ("PvtForImageClassification", "PvtModel")
    },
    "pvt_v2": {
        ("timm", "PyramidVisionTransformerV2"): _read_timm,
        ("transformers", "PvtV2ForImageClassification"): _read_transformers,
        ("transformers", "PvtV2Model"): _read_transformers,
    },
}
