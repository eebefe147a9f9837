"""PVT and PVT v2: two kinds of models, whose blocks the formats name alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vitrail.models import PVT, PVTV2, BackboneConfig, PVTConfig, PVTV2Config
from vitrail.models.pvt import PyramidConfig
from vitrail.weights.families.base import Family, Format, Hints, vitrail
from vitrail.weights.families.pvt_peers import READERS
from vitrail.weights.families.shapes import (
    compare_heads,
    depths_of,
    has,
    heads_of,
    needed,
    outputs_of,
)
from vitrail.weights.rules import AnyRule, Grids, Reading, State, flat_grid, fuse, rename

OURS = "stages.{i}.blocks.{j}"
# What the official code calls the parts of a block is what they are called here.
_PARTS = ("norm1", "norm2", "attn.q", "attn.kv", "attn.sr", "attn.norm", "attn.proj",
          "mlp.fc1", "mlp.fc2")  # fmt: skip


@dataclass(frozen=True)
class Names:
    """What a format calls the parts of a PVT; the defaults are the official code's.

    ``{i}`` is the stage, ``{j}`` the block.

    Args:
        patch: the convolution of a stage's patch embedding.
        patch_norm: its norm.
        first: both of the first stage, whose name may be another.
        block: a block.
        parts: our names of a block's parts -> theirs, where they differ.
        kv: keys' and values' projections, where they are two.
        dwconv: the convolution in a perceptron.
        position: a stage's table of positions.
        token: the last stage's token for the head.
        stage_norm: the norm that ends a stage.
        norm: the last norm.
        head: the head.
    """

    patch: str = "patch_embed{i+1}.proj"
    patch_norm: str = "patch_embed{i+1}.norm"
    first: tuple[str, str] = ("patch_embed1.proj", "patch_embed1.norm")
    block: str = "block{i+1}.{j}"
    parts: Mapping[str, str] = field(default_factory=dict)
    kv: tuple[str, str] | None = None
    dwconv: str = "mlp.dwconv.dwconv"
    position: str = "pos_embed{i+1}"
    token: str = "cls_token"
    stage_norm: str = "norm{i+1}"
    norm: str = "norm"
    head: str = "head"


def _shared(names: Names) -> list[AnyRule]:
    """Return the rules that both kinds have."""
    proj, norm = names.first
    rules: list[AnyRule] = [
        rename(f"{proj}.{{leaf}}", "embed.proj.{leaf}"),
        rename(f"{norm}.{{leaf}}", "embed.norm.{leaf}"),
        rename(f"{names.patch}.{{leaf}}", "stages.{i}.merge.proj.{leaf}"),
        rename(f"{names.patch_norm}.{{leaf}}", "stages.{i}.merge.norm.{leaf}"),
        rename(f"{names.head}.{{leaf}}", "head.{leaf}"),
    ]
    for part in _PARTS:
        if part == "attn.kv" and names.kv is not None:
            both = [f"{names.block}.{name}.{{leaf}}" for name in names.kv]
            rules.append(fuse(both, f"{OURS}.attn.kv.{{leaf}}"))
            continue
        theirs = names.parts.get(part, part)
        rules.append(rename(f"{names.block}.{theirs}.{{leaf}}", f"{OURS}.{part}.{{leaf}}"))
    return rules


def _first(names: Names, stages: int, grids: Grids | None) -> list[AnyRule]:
    """Return the rules of PVT: each stage has positions, the last one a token for the head."""
    rules = _shared(names)
    for stage in range(stages):
        theirs = names.position.replace("{i+1}", str(stage + 1)).replace("{i}", str(stage))
        table = f"stages.{stage}.position.table"
        if stage == stages - 1:
            prefix = f"stages.{stage}.prefix"
            rules.append(flat_grid(theirs, table, grids, prefix=f"{prefix}.position"))
            rules.append(rename(names.token.replace("{i}", str(stage)), f"{prefix}.tokens"))
        rules.append(flat_grid(theirs, table, grids))
    return [*rules, rename(f"{names.norm}.{{leaf}}", "norm.{leaf}")]


def _second(names: Names, stages: int, grids: Grids | None) -> list[AnyRule]:
    """Return the rules of PVT v2: a convolution in each perceptron, a norm after each stage."""
    del stages, grids
    return [
        *_shared(names),
        rename(f"{names.block}.{names.dwconv}.{{leaf}}", f"{OURS}.mlp.dwconv.{{leaf}}"),
        rename(f"{names.stage_norm}.{{leaf}}", "stages.{i}.norm.{leaf}"),
    ]


_OFFICIAL = Names()
_TIMM = Names(
    patch="stages.{i}.downsample.proj",
    patch_norm="stages.{i}.downsample.norm",
    first=("patch_embed.proj", "patch_embed.norm"),
    block="stages.{i}.blocks.{j}",
    dwconv="mlp.dwconv",
    stage_norm="stages.{i}.norm",
)
_TRANSFORMERS = Names(
    patch="encoder.patch_embeddings.{i}.projection",
    patch_norm="encoder.patch_embeddings.{i}.layer_norm",
    first=("encoder.patch_embeddings.0.projection", "encoder.patch_embeddings.0.layer_norm"),
    block="encoder.block.{i}.{j}",
    parts={
        "norm1": "layer_norm_1",
        "norm2": "layer_norm_2",
        "attn.q": "attention.self.query",
        "attn.sr": "attention.self.sequence_reduction",
        "attn.norm": "attention.self.layer_norm",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "mlp.dense1",
        "mlp.fc2": "mlp.dense2",
    },
    kv=("attention.self.key", "attention.self.value"),
    position="encoder.patch_embeddings.{i}.position_embeddings",
    token="encoder.patch_embeddings.{i}.cls_token",
    norm="encoder.layer_norm",
    head="classifier",
)
_TRANSFORMERS_V2 = replace(
    _TRANSFORMERS,
    patch="encoder.layers.{i}.patch_embedding.proj",
    patch_norm="encoder.layers.{i}.patch_embedding.layer_norm",
    first=("encoder.layers.0.patch_embedding.proj", "encoder.layers.0.patch_embedding.layer_norm"),
    block="encoder.layers.{i}.blocks.{j}",
    parts={
        **_TRANSFORMERS.parts,
        "attn.q": "attention.query",
        "attn.sr": "attention.spatial_reduction",
        "attn.norm": "attention.layer_norm",
        "attn.proj": "attention.proj",
    },
    kv=("attention.key", "attention.value"),
    stage_norm="encoder.layers.{i}.layer_norm",
)
# All of its norms have the one eps of its settings; the official code has 1e-5 in embeddings.
_ONE_EPS = {"embed_norm_eps": 1e-6}
# Patches of the first version do not overlap: what they do not divide is left over (ADR 7).
_FLOOR: dict[str, Any] = {"patch_fit": "floor"}
_BLOCKS = r"block(\d+)\."
_FIRST = (
    Format("official", "pvt", partial(_first, _OFFICIAL), ("", "backbone."), stage=_BLOCKS,
           fields=_FLOOR),
    Format("transformers", "pvt", partial(_first, _TRANSFORMERS), ("pvt.", ""), ("classifier.",),
           stage=r"encoder\.block\.(\d+)\.", fields=_ONE_EPS | _FLOOR),
    vitrail("pvt"),
)  # fmt: skip
_SECOND = (
    Format("official", "pvt_v2", partial(_second, _OFFICIAL), ("", "backbone."), stage=_BLOCKS),
    Format("timm", "pvt_v2", partial(_second, _TIMM)),
    Format("transformers", "pvt_v2", partial(_second, _TRANSFORMERS_V2), ("pvt_v2.", ""),
           ("classifier.",), stage=r"encoder\.layers\.(\d+)\.", fields=_ONE_EPS),
    vitrail("pvt_v2"),
)  # fmt: skip


# --- recognition ----------------------------------------------------------------------------------

_ANCHORS = ("embed.proj.weight", "patch_embed.proj.weight", "patch_embed1.proj.weight",
            _TRANSFORMERS.first[0] + ".weight", _TRANSFORMERS_V2.first[0] + ".weight")  # fmt: skip


def _recognise(kind: str, state: State) -> str | None:
    """Return the format of a state dict, if it is of that kind."""
    second = has(state, r"\.mlp\.dwconv\.")
    if second != (kind == "pvt_v2"):
        return None
    if "embed.proj.weight" in state:
        return "vitrail" if has(state, r"^stages\.\d+\.blocks\.\d+\.attn\.kv\.") else None
    if "patch_embed1.proj.weight" in state:
        return "official"
    names = _TRANSFORMERS_V2 if second else _TRANSFORMERS
    if f"{names.first[0]}.weight" in state:
        return "transformers"
    timm = second and has(state, r"^stages\.\d+\.blocks\.\d+\.mlp\.dwconv\.")
    return "timm" if timm and "patch_embed.proj.weight" in state else None


# --- configuration --------------------------------------------------------------------------------


def _infer(kind: str, reading: Reading, hints: Hints) -> BackboneConfig:
    """Return the configuration that the shapes imply, with the published models' heads."""
    state = reading.state
    depths = depths_of(state)
    patch = state["embed.proj.weight"]
    axes = patch.ndim - 2
    rows = [state[needed(state, f"stages.{i}.blocks.0.attn.q.weight")] for i in range(len(depths))]
    dims = tuple(weight.shape[0] for weight in rows)
    ones = (1,) * axes
    reductions = tuple(_kernel(state, f"stages.{i}.blocks.0.attn.sr.weight", ones)
                       for i in range(len(depths)))  # fmt: skip
    first, second = tuple(patch.shape[2:]), _kernel(state, "stages.1.merge.proj.weight", ones)
    found: dict[str, Any] = {
        "in_channels": patch.shape[1],
        "dims": dims,
        "depths": depths,
        "mlp_ratios": tuple(
            state[needed(state, f"stages.{i}.blocks.0.mlp.fc1.weight")].shape[0] / dim
            for i, dim in enumerate(dims)
        ),
        "reductions": reductions,
        "qkv_bias": has(state, r"\.attn\.q\.bias$"),
        "embed_norm": "embed.norm.weight" in state,
        "num_heads": heads_of(PVTV2Config if kind == "pvt_v2" else PVTConfig, dims, hints),
    } | outputs_of(state)
    if kind == "pvt_v2":
        return PVTV2Config(**found | _overlapping(state, first, second, reductions, hints))
    tokens = state.get(f"stages.{len(depths) - 1}.prefix.tokens")
    tables = [state[needed(state, f"stages.{i}.position.table")] for i in range(len(depths))]
    return PVTConfig(
        **found,
        patch=first,
        merge=second if len(depths) > 1 else (2,) * axes,
        positions=tuple(tuple(table.shape[1:-1]) for table in tables),
        prefix=0 if tokens is None else tokens.shape[1],
        global_pool="avg" if tokens is None else "token",
    )


def _kernel(state: State, key: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(state[key].shape[2:]) if key in state else otherwise


def _overlapping(
    state: State,
    first: tuple[int, ...],
    second: tuple[int, ...],
    reductions: tuple[tuple[int, ...], ...],
    hints: Hints,
) -> dict[str, Any]:
    """Return what PVT v2 has besides: a kernel spans all but one sample of two neighbours."""
    axes = len(first)
    found: dict[str, Any] = {"patch_kernel": first, "patch": tuple((k + 1) // 2 for k in first)}
    if "stages.1.merge.proj.weight" in state:
        found |= {"merge_kernel": second, "merge": tuple((k + 1) // 2 for k in second)}
    else:
        found |= {"merge_kernel": (3,) * axes, "merge": (2,) * axes}
    # Reduced keys have a convolution; if it spans one cell, the grid is pooled before it.
    if has(state, r"\.attn\.sr\.weight$") and all(set(r) == {1} for r in reductions):
        like = hints.like
        pooled = like.pooled if isinstance(like, PVTV2Config) and like.pooled else (7,) * axes
        known = PVTV2Config().reductions
        found["pooled"] = pooled
        if len(known) == len(reductions) and axes == 2:
            found["reductions"] = known  # unused beside pooling; the published models name them
    return found


def _grids(config: BackboneConfig) -> Grids:
    if not isinstance(config, PVTConfig):
        return {}
    return {f"stages.{i}.position.table": grid for i, grid in enumerate(config.positions)}


_ADVISED = ("dims", "depths", "num_heads", "patch", "merge", "mlp_ratios", "reductions",
            "embed_norm")  # fmt: skip
_IDENTITY = ("dims", "depths", "num_heads", "patch", "merge", "mlp_ratios", "reductions",
             "out_indices")  # fmt: skip


def _family(kind: str, title: str, **own: Any) -> Family:
    config_class: type[PyramidConfig] = own["model"].config_class
    return Family(
        kind=kind,
        title=title,
        anchors=_ANCHORS,
        recognise=partial(_recognise, kind),
        infer=partial(_infer, kind),
        holds=lambda config: isinstance(config, config_class),
        compare=compare_heads,
        grids=_grids,
        readers=READERS[kind],
        **own,
    )


FAMILIES = (
    _family("pvt", "PVT", model=PVT, formats=_FIRST, identity=(*_IDENTITY, "prefix"),
            advised=(*_ADVISED, "prefix")),
    _family("pvt_v2", "PVT v2", model=PVTV2, formats=_SECOND,
            identity=(*_IDENTITY, "patch_kernel", "merge_kernel", "pooled"),
            advised=(*_ADVISED, "patch_kernel", "merge_kernel", "pooled")),
)  # fmt: skip
