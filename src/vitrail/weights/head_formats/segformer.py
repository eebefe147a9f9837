"""SegFormer's head as transformers, segmentation_models_pytorch and the official code name it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from vitrail.heads import SegFormerConfig
from vitrail.weights.head_formats.base import HeadFormat, linear_as_convolution, shape
from vitrail.weights.rules import AnyRule, Ignore, State, rename
from vitrail.weights.template import Template

_FIXED: dict[str, Any] = {"normalise": "fixed"}  # inputs are normalised as for the backbone


def _transformers(stages: int, *, projections: str) -> list[AnyRule]:
    del stages
    return [
        linear_as_convolution(f"{projections}.{{i}}.proj.weight", "project.{i}.weight"),
        rename(f"{projections}.{{i}}.proj.bias", "project.{i}.bias"),
        rename("decode_head.linear_fuse.weight", "fuse.weight"),
        rename("decode_head.batch_norm.{leaf}", "norm.{leaf}"),
        rename("decode_head.classifier.{leaf}", "classify.{leaf}"),
    ]


def _smp(stages: int) -> list[AnyRule]:
    rules: list[AnyRule] = []
    for stage in range(stages):  # its list starts with the coarsest map
        theirs = f"decoder.mlp_stage.{stages - 1 - stage}.linear"
        rules.append(linear_as_convolution(f"{theirs}.weight", f"project.{stage}.weight"))
        rules.append(rename(f"{theirs}.bias", f"project.{stage}.bias"))
    return [
        *rules,
        rename("decoder.fuse_stage.0.weight", "fuse.weight"),
        rename("decoder.fuse_stage.1.{leaf}", "norm.{leaf}"),
        rename("segmentation_head.0.{leaf}", "classify.{leaf}"),
    ]


def _official(stages: int) -> list[AnyRule]:
    del stages
    return [
        linear_as_convolution("decode_head.linear_c{i+1}.proj.weight", "project.{i}.weight"),
        rename("decode_head.linear_c{i+1}.proj.bias", "project.{i}.bias"),
        rename("decode_head.linear_fuse.conv.weight", "fuse.weight"),
        rename("decode_head.linear_fuse.bn.{leaf}", "norm.{leaf}"),
        rename("decode_head.linear_pred.{leaf}", "classify.{leaf}"),
        Ignore(Template("decode_head.conv_seg.{leaf}"), "the official head has it, and no use"),
    ]


def _infer(state: State, known: Mapping[str, Any], *, align: Any) -> SegFormerConfig:
    dim = shape(state, "project.0.weight")[0]
    return SegFormerConfig(**{"dim": dim, "align": align, **known})


_STRETCH = {"align": "stretch", "norm_eps": 1e-5}


def _format(name: str, anchor: str, rules: Any, backbone: str, prefix: str) -> HeadFormat:
    fields = _STRETCH | ({"align": "corners"} if name == "smp" else {})
    infer = partial(_infer, align=fields["align"])
    return HeadFormat(name, "mit", "segformer", anchor, rules, infer, backbone, prefix,
                      options=_FIXED, fields=fields)  # fmt: skip


FORMATS = (
    *(
        _format(name, "decode_head.linear_fuse.weight",
                partial(_transformers, projections=f"decode_head.{word}"), name, "segformer.")
        for name, word in (("transformers", "linear_projections"), ("transformers-old", "linear_c"))
    ),
    _format("smp", "decoder.fuse_stage.0.weight", _smp, "official", "encoder."),
    _format("official", "decode_head.linear_fuse.conv.weight", _official, "official", "backbone."),
)  # fmt: skip
