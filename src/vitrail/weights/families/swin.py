"""Swin, Swin V2 and Video Swin: three kinds of models, whose formats have most in common."""

import re
from collections.abc import Mapping
from functools import partial

from vitrail.errors import UsageError
from vitrail.models import BackboneConfig, Swin, SwinConfig, SwinV2, SwinV2Config
from vitrail.weights.families.base import Family
from vitrail.weights.families.shapes import has
from vitrail.weights.families.swin_peers import READERS
from vitrail.weights.families.swin_rules import formats
from vitrail.weights.families.swin_shapes import (
    IDENTITY,
    compare_normalisers,
    infer_swin,
    keep_normalisers,
    reshape_tables,
)
from vitrail.weights.rules import Grids, State

# The key of the patch embedding is in every file of a format, and distinguishes most formats.
_PATCHES = {
    "embed.proj.weight": "vitrail",
    "patch_embed.projection.weight": "mm",
    "embeddings.patch_embeddings.projection.weight": "transformers",
    "features.0.0.weight": "torchvision",
    "patch_embed.proj.weight": "official",
}
# A relative position bias: a table, or a network of offsets. Focal has tables as well, and more.
_BIAS = r"\.(relative_position_bias_table|(cpb_mlp|rpe_mlp|continuous_position_bias_mlp)\.\d\.\w+)$"
_OURS = r"^stages\.\d+\.blocks\.\d+\.attn\.(bias\.table|logit_scale)$"
_FOCAL = r"pool_layers|_to_neighbors|_to_windows|unfold"


def _recognise(kind: str, state: State) -> str | None:
    """Return the format of a state dict, if it is of that kind."""
    group = next((group for key, group in _PATCHES.items() if key in state), None)
    if group is None or not has(state, _OURS if group == "vitrail" else _BIAS):
        return None
    if has(state, _FOCAL) or _kind(state) != kind:
        return None
    return _name(group, state, kind)


def _kind(state: State) -> str:
    patch = next(state[key] for key in _PATCHES if key in state)
    if patch.ndim == 5:
        return "video"
    return "swin_v2" if any(key.endswith(".logit_scale") for key in state) else "swin"


def _name(group: str, state: State, kind: str) -> str:
    """Tell the formats of one group apart."""
    if group == "official":
        if any(re.match(r"features\.\d+\.\d+\.", key) for key in state):
            return "torchvision"
        if kind == "video":
            return "video-official"
        merges = {m[1] for key in state if (m := re.match(r"layers\.(\d+)\.downsample\.", key))}
        # timm moved the merging to the start of the stage that follows it; stage 0 has none.
        moved = merges and "0" not in merges
        return "timm" if moved or any(key.startswith("head.fc.") for key in state) else "official"
    if group == "transformers":
        new = any(".attention.q_proj." in key for key in state)
        return "transformers" if new or kind == "swin_v2" else "transformers-old"
    if group == "mm":
        norms = {int(m[1]) for key in state if (m := re.match(r"norm(\d+)\.", key))}
        stages = {int(m[1]) for key in state if (m := re.match(r"stages\.(\d+)\.", key))}
        detector = bool(norms) and min(norms) < max(stages, default=0)
        return "mmdet" if detector and kind == "swin" else "mmpretrain"
    return group


def _grids(config: BackboneConfig) -> Grids:
    assert isinstance(config, SwinConfig)
    grid = config.absolute_position
    return {} if grid is None else {"position.table": grid}


def _refuse(config: BackboneConfig, target: str) -> None:
    assert isinstance(config, SwinConfig)
    if config.patch_overlap is not None and target != "vitrail":
        raise UsageError(
            f"overlapping patches (patch_overlap={config.patch_overlap}) as {target}",
            "the vitrail format: in the others, patches do not overlap",
            "use the format 'vitrail'",
        )


def _holds(kind: str, config: BackboneConfig) -> bool:
    if not isinstance(config, SwinConfig):
        return False
    if isinstance(config, SwinV2Config):
        return kind == "swin_v2"
    return kind == ("video" if config.axes == 3 else "swin")


def _family(kind: str, title: str) -> Family:
    cosine = kind == "swin_v2"
    return Family(
        kind=kind,
        title=title,
        model=SwinV2 if cosine else Swin,
        formats=tuple(found for found in formats() if found.kind == kind),
        anchors=tuple(_PATCHES),
        recognise=partial(_recognise, kind),
        infer=infer_swin,
        identity=(*IDENTITY, "normalisers") if cosine else IDENTITY,
        advised=("dim", "depths", "num_heads", "patch", "merge", "mlp_ratio", "embed_norm"),
        holds=partial(_holds, kind),
        readers={} if cosine else READERS,
        reshape=reshape_tables,
        compare=compare_normalisers,
        keep=keep_normalisers if cosine else Family.keep,
        grids=_grids,
        refuse=_refuse,
    )


_TITLES: Mapping[str, str] = {"swin": "Swin", "swin_v2": "Swin V2", "video": "Video Swin"}
FAMILIES = tuple(_family(kind, title) for kind, title in _TITLES.items())
