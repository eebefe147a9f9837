"""UPerNet as transformers and mmsegmentation name it, with its auxiliary head."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from vitrail.errors import UsageError
from vitrail.heads import UPerNetConfig
from vitrail.weights.head_formats.base import HeadFormat, shape
from vitrail.weights.rules import AnyRule, State, rename

_PARTS = {
    "bottleneck": "bottleneck",
    "fpn_bottleneck": "fuse",
    "lateral_convs.{i}": "lateral.{i}",
    "fpn_convs.{i}": "smooth.{i}",
    "psp_modules.{i}.1": "pool.{i}",
}


def _rules(stages: int, *, norm: str, classifier: str) -> list[AnyRule]:
    """Return the rules of a head whose units name a convolution ``conv`` and its norm ``norm``."""
    del stages
    units = {f"decode_head.{theirs}": ours for theirs, ours in _PARTS.items()}
    units |= {"auxiliary_head.convs.{i}": "auxiliary.convs.{i}",
              "auxiliary_head.conv_cat": "auxiliary.joined"}  # fmt: skip
    rules: list[AnyRule] = []
    for theirs, ours in units.items():
        rules.append(rename(f"{theirs}.conv.{{leaf}}", f"{ours}.0.{{leaf}}"))
        rules.append(rename(f"{theirs}.{norm}.{{leaf}}", f"{ours}.1.{{leaf}}"))
    for theirs, ours in (("decode_head", ""), ("auxiliary_head", "auxiliary.")):
        rules.append(rename(f"{theirs}.{classifier}.{{leaf}}", f"{ours}classify.{{leaf}}"))
    return rules


def _infer(state: State, fields: Mapping[str, Any]) -> UPerNetConfig:
    dim = shape(state, "fuse.0.weight")[0]
    pools = len({m[1] for key in state if (m := re.match(r"pool\.(\d+)\.", key))})
    known = UPerNetConfig(**{"dim": dim, "align": "stretch", **fields})
    if pools != len(known.pools):
        raise UsageError(
            f"a UPerNet of {pools} pooled maps, whose cells no weight shows",
            f"{len(known.pools)} pooled maps, of {known.pools} cells",
            "take over the live model with vitrail.from_model(model)",
        )
    if "auxiliary.classify.weight" not in state:
        return known
    widths = [shape(state, f"lateral.{n}.0.weight")[1] for n in range(len(state))
              if f"lateral.{n}.0.weight" in state]  # fmt: skip
    widths.append(shape(state, "pool.0.0.weight")[1])
    first = shape(state, "auxiliary.convs.0.0.weight")
    convs = {m[1] for key in state if (m := re.match(r"auxiliary\.convs\.(\d+)\.", key))}
    if first[1] not in widths:
        raise UsageError(
            f"an auxiliary head of {first[1]} channels",
            f"those of one of the maps: {', '.join(map(str, widths))}",
            "check where the file comes from; it may be damaged",
        )
    return replace(
        known,
        aux_dim=first[0],
        aux_level=widths.index(first[1]),
        aux_convs=len(convs),
        aux_joined="auxiliary.joined.0.weight" in state,
    )


_FIELDS: dict[str, Any] = {"align": "stretch", "norm_eps": 1e-5, "pools": (1, 2, 3, 6)}


def _format(
    name: str, anchor: str, norm: str, classifier: str, prefix: str = "backbone."
) -> HeadFormat:
    return HeadFormat(
        name,
        "swin",
        "upernet",
        f"decode_head.fpn_bottleneck.{anchor}",
        partial(_rules, norm=norm, classifier=classifier),
        _infer,
        "mmdet" if name == "mmseg" else name,
        prefix,
        "backbone.",
        options={"normalise": "fixed"},
        fields=_FIELDS,
    )


FORMATS = (
    _format("transformers", "batch_norm.weight", "batch_norm", "classifier", "backbone.swin."),
    _format("transformers-old", "batch_norm.weight", "batch_norm", "classifier"),
    *(_format(name, "bn.weight", "bn", "conv_seg") for name in ("mmseg", "official")),
)
