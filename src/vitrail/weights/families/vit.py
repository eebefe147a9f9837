"""ViT: timm's names (which are those of DeiT as well), and torchvision's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from vitrail.errors import UsageError
from vitrail.models import BackboneConfig
from vitrail.models.vit import ViT, ViTConfig
from vitrail.weights.families.base import Family, Format, Hints, Peer, Reader, vitrail
from vitrail.weights.families.live import (
    check_gelu,
    check_norms,
    check_parts,
    check_values,
    only,
    timm_input,
    training_only,
)
from vitrail.weights.families.shapes import (
    compare_heads,
    depths_of,
    has,
    heads_of,
    needed,
    outputs_of,
)
from vitrail.weights.rules import AnyRule, Grids, Reading, State, flat_grid, rename

OURS = "stages.0.blocks.{j}"
# Channels of models that are published, and not in our catalog -> their heads.
_PUBLISHED = {1024: 16, 1280: 16}


@dataclass(frozen=True)
class Names:
    """What a format calls the parts of a ViT; the defaults are timm's. ``{j}`` is the block."""

    patch: str = "patch_embed.proj"
    patch_norm: str = "patch_embed.norm"
    position: str = "pos_embed"
    token: str = "cls_token"
    block: str = "blocks.{j}"
    parts: Mapping[str, str] = field(default_factory=dict)
    norm: str = "norm"
    head: str = "head"

    def rules(self, stages: int, grids: Grids | None) -> list[AnyRule]:
        """Return the rules of this format."""
        del stages
        prefix, table = "stages.0.prefix", "position.table"
        parts = {part: part for part in ("norm1.{leaf}", "norm2.{leaf}", "attn.qkv.{leaf}",
                                         "attn.proj.{leaf}", "mlp.fc1.{leaf}",
                                         "mlp.fc2.{leaf}")} | dict(self.parts)  # fmt: skip
        return [
            rename(f"{self.patch}.{{leaf}}", "embed.proj.{leaf}"),
            rename(f"{self.patch_norm}.{{leaf}}", "embed.norm.{leaf}"),
            flat_grid(self.position, table, grids, prefix=f"{prefix}.position"),
            flat_grid(self.position, table, grids),
            rename(self.token, f"{prefix}.tokens"),
            *(rename(f"{self.block}.{theirs}", f"{OURS}.{ours}") for ours, theirs in parts.items()),
            rename(f"{self.norm}.{{leaf}}", "norm.{leaf}"),
            rename(f"{self.head}.{{leaf}}", "head.{leaf}"),
        ]


_TORCHVISION = Names(
    patch="conv_proj",
    patch_norm="conv_norm",
    position="encoder.pos_embedding",
    token="class_token",
    block="encoder.layers.encoder_layer_{j}",
    parts={
        "norm1.{leaf}": "ln_1.{leaf}",
        "norm2.{leaf}": "ln_2.{leaf}",
        "attn.qkv.{leaf}": "self_attention.in_proj_{leaf}",
        "attn.proj.{leaf}": "self_attention.out_proj.{leaf}",
        "mlp.fc1.{leaf}": "mlp.0.{leaf}",
        "mlp.fc2.{leaf}": "mlp.3.{leaf}",
    },
    norm="encoder.ln",
    head="heads.head",
)
_ONE_STAGE = r"()"  # every key is of the one stage


def _torchvision(stages: int, grids: Grids | None) -> list[AnyRule]:
    # Before 2022 the perceptron's layers had names.
    block = _TORCHVISION.block
    old = (("mlp.linear_1", "mlp.fc1"), ("mlp.linear_2", "mlp.fc2"))
    return _TORCHVISION.rules(stages, grids) + [
        rename(f"{block}.{theirs}.{{leaf}}", f"{OURS}.{ours}.{{leaf}}", alias=True)
        for theirs, ours in old
    ]


_FORMATS = (
    # Other grids than its own: timm resizes positions by antialiased bicubic.
    Format("timm", "vit", Names().rules, ("", "backbone."), stage=_ONE_STAGE,
           fields={"position_resize": "antialiased"}),
    Format("torchvision", "vit", _torchvision, stage=_ONE_STAGE,
           fields={"patch_fit": "floor"}),
    vitrail("vit"),
)  # fmt: skip


def _recognise(state: State) -> str | None:
    """Return the format of a state dict, if it is of a ViT."""
    if "conv_proj.weight" in state:
        return "torchvision" if has(state, r"^encoder\.layers\.encoder_layer_\d+\.") else None
    if "patch_embed.proj.weight" in state:
        plain = has(state, r"^blocks\.\d+\.attn\.qkv\.") and "pos_embed" in state
        # Hiera's first blocks of a stage project their shortcut.
        return "timm" if plain and not has(state, r"^blocks\.\d+\.proj\.") else None
    ours = "embed.proj.weight" in state and "position.table" in state
    one = not has(state, r"^stages\.[1-9]") and not has(state, r"\.attn\.bias\.")
    return "vitrail" if ours and one and has(state, r"^stages\.0\..*\.attn\.qkv\.") else None


def _infer(reading: Reading, hints: Hints) -> BackboneConfig:
    """Return the configuration that the shapes imply, with the published models' heads."""
    state = reading.state
    patch = state["embed.proj.weight"]
    dim = patch.shape[0]
    tokens = state.get("stages.0.prefix.tokens")
    table = state[needed(state, "position.table")]
    known = Hints(num_heads=(_PUBLISHED[dim],)) if dim in _PUBLISHED else hints
    like = isinstance(hints.like, ViTConfig) and hints.like.dim == dim
    settled = hints if hints.num_heads or like else known
    rows = state[needed(state, "stages.0.blocks.0.mlp.fc1.weight")].shape[0]
    return ViTConfig(
        in_channels=patch.shape[1],
        dim=dim,
        patch=tuple(patch.shape[2:]),
        depths=depths_of(state),
        num_heads=heads_of(ViTConfig, (dim,), settled),
        mlp_ratio=rows / dim,
        positions=tuple(table.shape[1:-1]),
        prefix=0 if tokens is None else tokens.shape[1],
        global_pool="avg" if tokens is None else "token",
        qkv_bias=has(state, r"\.attn\.qkv\.bias$"),
        embed_norm="embed.norm.weight" in state,
        **outputs_of(state),
    )


def _grids(config: BackboneConfig) -> Grids:
    assert isinstance(config, ViTConfig)
    return {"position.table": config.positions}


def _holds(config: BackboneConfig) -> bool:
    return isinstance(config, ViTConfig)


# --- live peers -----------------------------------------------------------------------------------


def _read_timm(model: Any) -> Peer:
    blocks = list(model.blocks)
    _check_timm(model, blocks)
    attention, patch = blocks[0].attn, model.patch_embed
    fields: dict[str, Any] = {
        "global_pool": str(model.global_pool),
        "norm_eps": only({block.norm1.eps for block in blocks}, "norm_eps"),
        "drop": float(attention.proj_drop.p),
        "attn_drop": float(attention.attn_drop.p),
        "drop_path": float(getattr(blocks[-1].drop_path1, "drop_prob", 0.0)),
        "patch_fit": "pad" if patch.dynamic_img_pad else "floor",
    }
    notes = training_only(
        model,
        drop_rate=model.head_drop.p,
        pos_drop_rate=model.pos_drop.p,
        patch_drop_rate=getattr(model.patch_drop, "prob", 0.0),
    )
    grid, other = tuple(patch.grid_size), None
    if model.dynamic_img_size:
        fields["position_resize"] = "antialiased"
        rest = 1 if patch.dynamic_img_pad else 0
        axes = zip(patch.patch_size, grid, (1, 2), strict=True)
        other = tuple(p * (n + more) + rest for p, n, more in axes)
    return Peer(fields, num_heads=(attention.num_heads,), grids={"position.table": grid},
                preprocessing=timm_input(model), other_size=other, notes=notes)  # fmt: skip


def _is_plain_mean(model: Any) -> bool:
    """Return whether pooling is the mean of the grid's tokens, normalised before."""
    whole = model.pool_include_prefix and model.num_prefix_tokens
    return isinstance(model.fc_norm, nn.Identity) and not whole


def _check_timm(model: Any, blocks: list[Any]) -> None:
    """Refuse by name what timm's ViT may have and no ViT here does."""
    pooling, first = str(model.global_pool), blocks[0]
    if pooling not in ("token", "") and not (pooling == "avg" and _is_plain_mean(model)):
        raise UsageError(
            f"a ViT with global_pool={pooling!r}",
            "'token', '', or 'avg' with fc_norm=False: others normalise after the mean, or pool "
            "as no ViT here does",
            "build it with global_pool='token'",
        )
    check_parts("block_fn", blocks, "timm", "Block")
    check_parts("attn_layer", [block.attn for block in blocks], "timm", "Attention")
    check_parts("mlp_layer", [block.mlp for block in blocks], "timm", "Mlp")
    check_parts("embed_layer", [model.patch_embed], "timm", "PatchEmbed")
    check_gelu(block.mlp.act for block in blocks)
    check_norms(model, "norm")

    def has(part: Any) -> bool:
        return not isinstance(part, nn.Identity)

    check_values(model, [
        ("qk_norm", has(first.attn.q_norm), False),
        ("scale_attn_norm", has(first.attn.norm), False),
        ("scale_mlp_norm", has(first.mlp.norm), False),
        ("proj_bias", first.attn.proj.bias is not None, True),
        ("init_values (layer scale)", has(first.ls1), False),
        ("pos_embed", "none" if model.pos_embed is None else "learn", "learn"),
        ("no_embed_class", bool(model.no_embed_class and model.num_prefix_tokens), False),
        ("reg_tokens", int(model.num_reg_tokens), 0),
        ("pre_norm", has(model.norm_pre), False),
        ("embed_norm_layer eps", getattr(model.patch_embed.norm, "eps", first.norm1.eps),
         first.norm1.eps),
        ("fc_norm", has(model.fc_norm), False),
        ("final_norm", has(model.norm), True),
    ])  # fmt: skip


def _read_torchvision(model: Any) -> Peer:
    layers = list(model.encoder.layers)
    attention = layers[0].self_attention
    check_gelu(layer.mlp[1] for layer in layers)
    check_norms(model, "ln")
    stem = type(model.conv_proj).__name__
    check_values(model, [
        ("representation_size", "pre_logits" in dict(model.heads.named_children()), False),
        ("conv_stem_configs", stem != "Conv2d", False),
    ])  # fmt: skip
    fields: dict[str, Any] = {
        "norm_eps": only({layer.ln_1.eps for layer in layers}, "norm_eps"),
        "drop": float(model.dropout),
        "attn_drop": float(attention.dropout),
        "drop_path": 0.0,
        "patch_fit": "floor",
    }
    size = (model.image_size, model.image_size)
    return Peer(fields, num_heads=(attention.num_heads,), preprocessing={"size": size})


_READERS: dict[tuple[str, str], Reader] = {
    ("timm", "VisionTransformer"): _read_timm,
    ("torchvision", "VisionTransformer"): _read_torchvision,
}

FAMILIES = (
    Family(
        kind="vit",
        title="ViT",
        model=ViT,
        formats=_FORMATS,
        anchors=("embed.proj.weight", "patch_embed.proj.weight", "conv_proj.weight"),
        recognise=_recognise,
        infer=_infer,
        identity=("dim", "depths", "num_heads", "patch", "mlp_ratio", "prefix", "out_indices"),
        advised=("dim", "depths", "num_heads", "patch", "mlp_ratio", "prefix"),
        holds=_holds,
        readers=_READERS,
        compare=compare_heads,
        grids=_grids,
    ),
)
