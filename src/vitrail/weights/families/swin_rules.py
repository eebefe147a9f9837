"""Every public checkpoint format of Swin, Swin V2 and Video Swin: names, and a list of rules.

What the formats share is written once, in ``_shared``; a format is what it calls things (`Names`)
plus what only it has. Their official names appear here and nowhere else.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor

from vitrail.weights import buffers
from vitrail.weights.families.base import Format, vitrail
from vitrail.weights.rules import (
    AnyRule,
    Buffer,
    Grids,
    Ignore,
    Make,
    flat_grid,
    fuse,
    permute_columns,
    rename,
    split_qkv_bias,
)
from vitrail.weights.template import Template

Kind = Literal["swin", "swin_v2", "video"]
OURS = "stages.{i}.blocks.{j}"


@dataclass(frozen=True)
class Names:
    """What a format calls the parts of a Swin; the defaults are the official code's.

    ``{i}`` is the stage, ``{j}`` the block; ``merge`` is the merging that follows stage ``{i}``.
    A block's parts are relative to ``block``.
    """

    patch: str = "patch_embed.proj"
    patch_norm: str = "patch_embed.norm"
    position: str = "absolute_pos_embed"
    block: str = "layers.{i}.blocks.{j}"
    norm1: str = "norm1"
    norm2: str = "norm2"
    attn: str = "attn"
    qkv: tuple[str, ...] = ("attn.qkv",)
    proj: str = "attn.proj"
    table: str = "attn.relative_position_bias_table"
    bias_mlp: str = "attn.cpb_mlp"
    qv_bias: tuple[str, str] | None = ("attn.q_bias", "attn.v_bias")
    fc1: str = "mlp.fc1"
    fc2: str = "mlp.fc2"
    merge: str = "layers.{i}.downsample"
    norm: str | None = "norm"
    head: str | None = "head"
    feature_norm: str | None = None


def _shared(names: Names, kind: Kind, grids: Grids | None) -> list[AnyRule]:
    """Return the rules that differ between formats in names only."""
    block = names.block
    rules: list[AnyRule] = [
        rename(f"{names.patch}.{{leaf}}", "embed.proj.{leaf}"),
        rename(f"{names.patch_norm}.{{leaf}}", "embed.norm.{leaf}"),
        flat_grid(names.position, "position.table", grids),
        rename(f"{block}.{names.norm1}.{{leaf}}", f"{OURS}.norm1.{{leaf}}"),
        rename(f"{block}.{names.norm2}.{{leaf}}", f"{OURS}.norm2.{{leaf}}"),
        rename(f"{block}.{names.proj}.{{leaf}}", f"{OURS}.attn.proj.{{leaf}}"),
        rename(f"{block}.{names.fc1}.{{leaf}}", f"{OURS}.mlp.fc1.{{leaf}}"),
        rename(f"{block}.{names.fc2}.{{leaf}}", f"{OURS}.mlp.fc2.{{leaf}}"),
    ]
    ends = {names.norm: "norm", names.head: "head", names.feature_norm: "feature_norms.{i}"}
    rules += [
        rename(f"{end}.{{leaf}}", f"{ours}.{{leaf}}")
        for end, ours in ends.items()
        if end is not None
    ]
    return rules + (_cosine(names) if kind == "swin_v2" else _scaled(names))


def _scaled(names: Names) -> list[AnyRule]:
    """Return the rules of Swin's and Video Swin's attention."""
    qkv = [f"{names.block}.{name}.{{leaf}}" for name in names.qkv]
    return [
        fuse(qkv, f"{OURS}.attn.qkv.{{leaf}}"),
        rename(f"{names.block}.{names.table}", f"{OURS}.attn.bias.table"),
    ]


def _cosine(names: Names) -> list[AnyRule]:
    """Return the rules of Swin V2's attention."""
    block, ours = names.block, f"{OURS}.attn"
    rules: list[AnyRule] = [
        fuse([f"{block}.{name}.weight" for name in names.qkv], f"{ours}.qkv.weight"),
        rename(f"{block}.{names.attn}.logit_scale", f"{ours}.logit_scale"),
        rename(f"{block}.{names.bias_mlp}.{{rest}}", f"{ours}.bias.mlp.{{rest}}"),
    ]
    if names.qv_bias is None:
        theirs = f"{block}.{names.qkv[0]}.bias"
        return [*rules, split_qkv_bias(theirs, f"{ours}.q_bias", f"{ours}.v_bias")]
    q, v = names.qv_bias
    rules.append(rename(f"{block}.{q}", f"{ours}.q_bias"))
    return [*rules, rename(f"{block}.{v}", f"{ours}.v_bias")]


def _merge(names: Names) -> list[AnyRule]:
    """Return the rule of mergings whose columns are in our order."""
    return [rename(f"{names.merge}.{{rest}}", "stages.{i+1}.merge.{rest}")]


def _unfolded_merge(names: Names, kind: Kind) -> list[AnyRule]:
    """Return the rules of mergings whose columns are in ``nn.Unfold``'s order.

    There a channel's four neighbours lie side by side, rows first; here the channels of a
    neighbour do, first axis fastest. Swin V2 normalises after the projection: nothing to permute.
    """

    def read(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)

    def write(x: Tensor) -> Tensor:
        return x.unflatten(-1, (2, 2, -1)).transpose(-1, -3).flatten(-3)

    columns = ["reduction.weight"] if kind == "swin_v2" else ["reduction.weight", "norm.{leaf}"]
    permuted: list[AnyRule] = [
        permute_columns(f"{names.merge}.{name}", f"stages.{{i+1}}.merge.{name}", read, write)
        for name in columns
    ]
    return permuted + (_merge(names) if kind == "swin_v2" else [])


def _buffers(
    names: Names, kind: Kind, *, index: Make | None = None, mask: bool = False
) -> list[AnyRule]:
    """Return the rules of buffers: all are read; the index and the mask are written on request."""
    prefix = f"{names.block}.{names.attn}"
    coordinates = buffers.coordinates if index is not None and kind == "swin_v2" else None
    return [
        Buffer(Template(f"{prefix}.relative_position_index"), "index", index),
        Buffer(Template(f"{prefix}.relative_coords_table"), "coordinates", coordinates),
        Buffer(Template(f"{names.block}.attn_mask"), "mask", buffers.shift_mask if mask else None),
        Buffer(Template(f"{names.block}.attn.attn_mask"), "mask"),
    ]


def _pretraining(mask_token: str) -> list[AnyRule]:
    """Return the rules of what masked pre-training (SimMIM) adds to a backbone."""
    reason = "used by masked pre-training only"
    return [Ignore(Template(key), reason) for key in (mask_token, "decoder.{rest}")]


def _official(kind: Kind, stages: int, grids: Grids | None, *, names: Names,
              index: Make | None = None, mask: bool = False) -> list[AnyRule]:  # fmt: skip
    del stages
    rules = _shared(names, kind, grids) + _merge(names)
    rules += _buffers(names, kind, index=index, mask=mask)
    if kind == "swin_v2":
        old = f"{names.block}.attn.rpe_mlp.{{rest}}"
        rules += [
            rename(old, f"{OURS}.attn.bias.mlp.{{rest}}", alias=True),
            Ignore(Template(f"{names.block}.attn.k_bias"), "a key bias is zero"),
        ]
    return rules + _pretraining("mask_token")


def _torchvision(kind: Kind, stages: int, grids: Grids | None) -> list[AnyRule]:
    del stages
    names = _TORCHVISION_VIDEO if kind == "video" else _TORCHVISION
    index = buffers.square_index if kind == "video" else buffers.flat_index
    return _shared(names, kind, grids) + _merge(names) + _buffers(names, kind, index=index)


def _transformers(kind: Kind, stages: int, grids: Grids | None, *, names: Names) -> list[AnyRule]:
    del stages
    rules = _shared(names, kind, grids) + _merge(names)
    # A backbone's own save_pretrained writes the old names, but for this one.
    norm = Template("swin.layernorm.{leaf}")
    rules.append(Ignore(norm, "of a last norm, which a bare backbone has no use for"))
    old = names is _TRANSFORMERS_OLD and kind == "swin"
    rules += _buffers(names, kind, index=buffers.square_index if old else None)
    return rules + _pretraining("embeddings.mask_token")


def _mm(kind: Kind, stages: int, grids: Grids | None, *, classifier: bool) -> list[AnyRule]:
    last = "stages.{i+1}.downsample" if kind == "swin_v2" else "stages.{i}.downsample"
    names = replace(
        _MM,
        merge=last,
        norm=f"norm{stages - 1}" if classifier else None,
        head="head.fc" if classifier else None,
        feature_norm=None if classifier else "norm{i}",
    )
    rules = _shared(names, kind, grids) + _unfolded_merge(names, kind)
    if not classifier:
        # A classifier's last norm is the norm of a detector's last map; its head has no place.
        rules.append(rename(f"norm{stages - 1}.{{leaf}}", "norm.{leaf}"))
    return rules + _buffers(names, kind, index=buffers.square_index)


_OFFICIAL = Names(feature_norm="norm{i}")
_TIMM = Names(merge="layers.{i+1}.downsample", head="head.fc")
_VIDEO = Names(head="cls_head.fc_cls", feature_norm="norm{i}")
_TORCHVISION = Names(
    patch="features.0.0",
    patch_norm="features.0.2",
    block="features.{2i+1}.{j}",
    qv_bias=None,
    fc1="mlp.0",
    fc2="mlp.3",
    merge="features.{2i+2}",
)
_TORCHVISION_VIDEO = Names(
    block="features.{2i}.{j}", fc1="mlp.0", fc2="mlp.3", merge="features.{2i+1}"
)
_TRANSFORMERS_OLD = Names(
    patch="embeddings.patch_embeddings.projection",
    patch_norm="embeddings.norm",
    position="embeddings.position_embeddings",
    block="encoder.layers.{i}.blocks.{j}",
    norm1="layernorm_before",
    norm2="layernorm_after",
    attn="attention.self",
    qkv=("attention.self.query", "attention.self.key", "attention.self.value"),
    proj="attention.output.dense",
    table="attention.self.relative_position_bias_table",
    bias_mlp="attention.self.continuous_position_bias_mlp",
    qv_bias=("attention.self.query.bias", "attention.self.value.bias"),
    fc1="intermediate.dense",
    fc2="output.dense",
    merge="encoder.layers.{i}.downsample",
    norm="layernorm",
    head="classifier",
    feature_norm="hidden_states_norms.stage{i+1}",
)
_TRANSFORMERS = replace(
    _TRANSFORMERS_OLD,
    attn="attention.relative_position_bias",
    qkv=("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    proj="attention.o_proj",
    table="attention.relative_position_bias.relative_position_bias_table",
    fc1="mlp.fc1",
    fc2="mlp.fc2",
)
_MM = Names(
    patch="patch_embed.projection",
    block="stages.{i}.blocks.{j}",
    attn="attn.w_msa",
    qkv=("attn.w_msa.qkv",),
    proj="attn.w_msa.proj",
    table="attn.w_msa.relative_position_bias_table",
    bias_mlp="attn.w_msa.cpb_mlp",
    qv_bias=("attn.w_msa.q_bias", "attn.w_msa.v_bias"),
    fc1="ffn.layers.0.0",
    fc2="ffn.layers.1",
)


# features.{n} are torchvision's stem, stages and mergings in turn; stages have blocks.
_PARTS = r"features\.(\d+)\.\d+\.attn"
# Every library lets padding join the softmax, and adds -100 across regions (ADR 2 and 5).
_VISIBLE: dict[str, Any] = {"padding": "visible", "mask_value": -100.0}
# Smaller windows look the bias up by a corner of the full index (ADR 8).
_SLICED = _VISIBLE | {"bias_lookup": "sliced", "shift_rule": "clamp"}
# Classifiers leave both axes unshifted where one window covers the shorter; detectors none (ADR 3).
_SHORTEST, _ALWAYS = {"shift_rule": "shortest"}, {"shift_rule": "always"}
_FLOOR = {"patch_fit": "floor"}  # (ADR 7)


def formats() -> list[Format]:
    """Return the formats of all three kinds."""
    square = buffers.square_index
    beside = ("classifier.", "hidden_states_norms.", "decoder.")
    found = [
        *(Format(name, "swin", partial(_transformers, "swin", names=names), ("swin.", ""), beside,
                 fields=_VISIBLE | _SHORTEST, bare_fields=_ALWAYS)
          for name, names in (("transformers", _TRANSFORMERS),
                              ("transformers-old", _TRANSFORMERS_OLD))),
        # Swin V2 was not renamed in 2026: both names mean the one layout it has.
        *(Format(name, "swin_v2", partial(_transformers, "swin_v2", names=_TRANSFORMERS_OLD),
                 ("swinv2.", ""), beside, fields=_VISIBLE)
          for name in ("transformers", "transformers-old")),
        Format("mmdet", "swin", partial(_mm, "swin", classifier=False),
               ("backbone.", ""), (), "state_dict", fields=_VISIBLE | _ALWAYS),
        Format("torchvision", "video", partial(_torchvision, "video"), stage=_PARTS,
               fields=_SLICED),
        Format("video-official", "video", partial(_official, "video", names=_VIDEO, index=square),
               ("backbone.", ""), ("cls_head.",), "state_dict", fields=_SLICED),
    ]  # fmt: skip
    images: tuple[Kind, ...] = ("swin", "swin_v2")
    # The official classifier takes sizes without padding only; its detector's backbone pads.
    theirs = {"fields": {"mask_value": -100.0} | _SHORTEST, "bare_fields": _VISIBLE | _ALWAYS}
    for kind in images:
        official = partial(_official, kind)
        # Before its layout changed, timm kept V1's index in its files, but never V2's.
        old_index = square if kind == "swin" else None
        found += [
            Format("official", kind, partial(official, names=_OFFICIAL, index=square, mask=True),
                   ("", "backbone.", "encoder."), ("decoder.",), "model", **theirs),
            Format("timm", kind, partial(official, names=_TIMM), fields=_VISIBLE),
            Format("timm-old", kind,
                   partial(official, names=_OFFICIAL, index=old_index, mask=True), **theirs),
            Format("torchvision", kind, partial(_torchvision, kind), stage=_PARTS,
                   fields=_VISIBLE | _FLOOR),
            Format("mmpretrain", kind, partial(_mm, kind, classifier=True),
                   ("backbone.", ""), ("head.",), "state_dict", fields=_VISIBLE | _SHORTEST),
        ]  # fmt: skip
    kinds: tuple[Kind, ...] = (*images, "video")
    return found + [vitrail(kind) for kind in kinds]
