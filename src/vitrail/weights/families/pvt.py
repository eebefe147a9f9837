"""PVT, PVT v2 and MiT: kinds of models whose blocks the formats name alike."""

import re
from functools import partial
from typing import Any

from vitrail.models import (
    PVT,
    PVTV2,
    BackboneConfig,
    MiT,
    MiTConfig,
    PVTConfig,
    PVTV2Config,
)
from vitrail.models.pvt import PyramidConfig
from vitrail.weights.families import mit_peers, pvt_peers
from vitrail.weights.families.base import Family, Hints
from vitrail.weights.families.pvt_rules import (
    FIRST,
    MIT,
    SECOND,
    SEGFORMER,
    SEGFORMER_OLD,
    TRANSFORMERS,
    TRANSFORMERS_V2,
)
from vitrail.weights.families.shapes import (
    compare_heads,
    depths_of,
    has,
    heads_of,
    needed,
    outputs_of,
)
from vitrail.weights.rules import Grids, Reading, State

# --- recognition ----------------------------------------------------------------------------------

_ANCHORS = ("embed.proj.weight", "patch_embed.proj.weight", "patch_embed1.proj.weight",
            *(names.first[0] + ".weight"
              for names in (TRANSFORMERS, TRANSFORMERS_V2, SEGFORMER, SEGFORMER_OLD)))  # fmt: skip


def _recognise(kind: str, state: State, *, named: bool = False) -> str | None:
    """Return the format of a state dict, if it is of that kind.

    Args:
        kind: of the models.
        state: the state dict.
        named: its model is known to be of that kind, so that names which several have are its.
    """
    second = has(state, r"\.mlp\.dwconv\.")
    if second != (kind != "pvt") or (second and not named and (kind == "mit") != _is_mit(state)):
        return None
    if "embed.proj.weight" in state:
        return "vitrail" if has(state, r"^stages\.\d+\.blocks\.\d+\.attn\.kv\.") else None
    if "patch_embed1.proj.weight" in state:
        return "official"
    if kind == "mit" and f"{SEGFORMER_OLD.first[0]}.weight" in state:
        return "transformers-old"
    names = SEGFORMER if kind == "mit" else TRANSFORMERS_V2 if second else TRANSFORMERS
    if f"{names.first[0]}.weight" in state:
        return "transformers"
    timm = second and has(state, r"^stages\.\d+\.blocks\.\d+\.mlp\.dwconv\.")
    return "timm" if timm and "patch_embed.proj.weight" in state else None


def _is_mit(state: State) -> bool:
    """Return whether names are SegFormer's own, or every perceptron is four times its stage.

    The b5 of MiT and of PVT v2 are one network: under names that both have it is PVT v2's.
    """
    if any(f"{names.first[0]}.weight" in state for names in (SEGFORMER, SEGFORMER_OLD)):
        return True
    blocks = [key.removesuffix("mlp.fc1.weight") for key in state
              if re.search(r"\.0\.mlp\.fc1\.weight$", key)]  # fmt: skip
    shapes = [tuple(state[f"{block}mlp.fc1.weight"].shape) for block in blocks]
    wide = all(len(shape) == 2 and shape[0] == 4 * shape[1] for shape in shapes)
    deep = any(re.search(r"(^block3|^stages\.2\.blocks)\.39\.", key) for key in state)
    return wide and bool(shapes) and not deep


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
        "num_heads": heads_of(_CONFIGS[kind], dims, hints),
    } | outputs_of(state)
    if kind != "pvt":
        return _CONFIGS[kind](**found | _overlapping(state, first, second, reductions, hints))
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


_CONFIGS: dict[str, Any] = {"pvt": PVTConfig, "pvt_v2": PVTV2Config, "mit": MiTConfig}
_READERS = {**pvt_peers.READERS, "mit": mit_peers.READERS}
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
        recognise_named=partial(_recognise, kind, named=True),
        infer=partial(_infer, kind),
        holds=lambda config: type(config) is config_class,
        compare=compare_heads,
        grids=_grids,
        readers=_READERS[kind],
        **own,
    )


FAMILIES = (
    _family("pvt", "PVT", model=PVT, formats=FIRST, identity=(*_IDENTITY, "prefix"),
            advised=(*_ADVISED, "prefix")),
    *(_family(kind, title, model=model, formats=formats,
              identity=(*_IDENTITY, "patch_kernel", "merge_kernel", "pooled"),
              advised=(*_ADVISED, "patch_kernel", "merge_kernel", "pooled"))
      for kind, title, model, formats in (("mit", "MiT", MiT, MIT),  # the narrower one first
                                          ("pvt_v2", "PVT v2", PVTV2, SECOND))),
)  # fmt: skip
