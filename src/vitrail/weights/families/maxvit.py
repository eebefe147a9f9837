"""MaxViT: the names of timm's ``maxvit_*_tf`` and of torchvision's ``maxvit_t``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import BackboneConfig
from vitrail.models.maxvit import MAXVIT_T, MAXVIT_TINY, MaxViT, MaxViTConfig
from vitrail.ops.relative import relative_index
from vitrail.shapes import Size, as_size
from vitrail.weights.families.base import Family, Format, Hints, Reshape, vitrail
from vitrail.weights.families.maxvit_peers import READERS
from vitrail.weights.families.shapes import depths_of, has, needed, outputs_of
from vitrail.weights.report import Entry
from vitrail.weights.resize import resize_table
from vitrail.weights.rules import (
    AnyRule,
    Buffer,
    Grids,
    Reading,
    Rule,
    State,
    Tensors,
    permute_columns,
    rename,
)
from vitrail.weights.template import Template
from vitrail.weights.windows import window_of_rows

_PARTS = ("window", "grid")
_CONV = ("shortcut", "norm", "conv1", "norm1", "conv2", "norm2", "squeeze", "excite", "conv3")
# What the formats' models do differently, whether their shapes show it or not.
_DIFFERENT = ("act", "conv_padding", "shortcut_pool", "shortcut_proj", "stem_bias", "head_bias",
              "scale")  # fmt: skip


@dataclass(frozen=True)
class Names:
    """What a format calls the parts of a MaxViT; ``{i}`` is the stage, ``{j}`` the block.

    Args:
        stem: the stem's first convolution, its norm, its second convolution.
        block: a block.
        conv: prefix of the parts of a block's convolution, and their names as in ``_CONV``.
        attention: prefix of attention in windows, and in grids.
        parts: our names of an attention's parts -> theirs.
        tail: the last norm, the layer before the head, the head.
        flipped: tables are ``[heads, *offsets]`` of key minus query.
        index: a table's buffer, if the file has one.
    """

    stem: tuple[str, str, str]
    block: str
    conv: tuple[str, tuple[str, ...]]
    attention: tuple[str, str]
    parts: Mapping[str, str]
    tail: tuple[str, str, str]
    flipped: bool = False
    index: str | None = None

    def rules(self, stages: int, grids: Grids | None) -> list[AnyRule]:
        """Return the rules of this format."""
        del stages
        ours = ("embed.proj", "embed.norm", "embed.conv", "norm", "pre_logits.fc", "head")
        rules: list[AnyRule] = [
            _leaf(theirs, mine) for theirs, mine in zip((*self.stem, *self.tail), ours, strict=True)
        ]
        # Timm's head for every token is of convolutions over one.
        rules = [_unfolded(self.tail[i], ours[3 + i]) for i in (1, 2)] + rules
        prefix, names = self.conv
        for theirs, mine in zip(names, _CONV, strict=True):
            # A stage's first convolution leads to it; the first stage's ends the embedding.
            for i, j, home in (("0", "0", "embed.merge"), ("{i+1}", "0", "stages.{i+1}.merge"),
                               ("{i}", "{j+1}", "stages.{i}.blocks.{j+1}.conv")):  # fmt: skip
                block = self.block.replace("{i}", i).replace("{j}", j)
                rules.append(_leaf(f"{block}.{prefix}{theirs}", f"{home}.{mine}"))
        for part, theirs in zip(_PARTS, self.attention, strict=True):
            home, block = f"stages.{{i}}.blocks.{{j}}.{part}", f"{self.block}.{theirs}"
            rules += [_leaf(f"{block}.{name}", f"{home}.{mine}")
                      for mine, name in self.parts.items() if mine != "table"]  # fmt: skip
            table, mine = f"{block}.{self.parts['table']}", f"{home}.attn.bias.table"
            offsets = (grids or {}).get(part)
            rules.append(_flipped(table, mine, offsets) if self.flipped else rename(table, mine))
            if self.index is not None:
                make = partial(_index, part)
                rules.append(Buffer(Template(f"{block}.{self.index}"), f"{part} index", make))
        return rules


def _leaf(theirs: str, ours: str) -> Rule:
    return rename(f"{theirs}.{{leaf}}", f"{ours}.{{leaf}}")


def _unfolded(theirs: str, ours: str) -> Rule:
    return permute_columns(
        f"{theirs}.weight", f"{ours}.weight", lambda t: t.flatten(1), lambda t: t
    )


def _flipped(theirs: str, ours: str, offsets: Size | None) -> Rule:
    """Their table has heads first, and offsets from the key's side; ours has rows from ours.

    Args:
        theirs: their key.
        ours: our key.
        offsets: the table's lengths, where they are not all the same.
    """

    def read(tensors: Tensors) -> Tensors:
        table = tensors[0]
        return [table.flip(*range(1, table.ndim)).flatten(1).T.contiguous()]

    def write(tensors: Tensors) -> Tensors:
        rows, heads = tensors[0].shape
        side = math.isqrt(rows)
        lengths = offsets if offsets is not None and math.prod(offsets) == rows else (side, side)
        table = tensors[0].T.reshape(heads, *lengths)
        return [table.flip(*range(1, table.ndim))]

    return Rule((Template(theirs),), (Template(ours),), read=read, write=write)


def _index(part: str, config: Any, size: Size | None, stage: int, block: int) -> Tensor:
    """Return torchvision's buffer of which row each pair of tokens reads."""
    del size, stage, block
    return relative_index(getattr(config, part)).to(torch.int64)


_TIMM = Names(
    stem=("stem.conv1", "stem.norm1", "stem.conv2"),
    block="stages.{i}.blocks.{j}",
    conv=("conv.", ("shortcut.expand", "pre_norm", "conv1_1x1", "norm1", "conv2_kxk", "norm2",
                    "se.fc1", "se.fc2", "conv3_1x1")),
    attention=("attn_block", "attn_grid"),
    parts={part: part for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    | {"table": "attn.rel_pos.relative_position_bias_table"},
    tail=("head.norm", "head.pre_logits.fc", "head.fc"),
    flipped=True,
)  # fmt: skip
_TORCHVISION = Names(
    stem=("stem.0.0", "stem.0.1", "stem.1.0"),
    block="blocks.{i}.layers.{j}.layers",
    conv=("MBconv.", ("proj.1", "layers.pre_norm", "layers.conv_a.0", "layers.conv_a.1",
                      "layers.conv_b.0", "layers.conv_b.1", "layers.squeeze_excitation.fc1",
                      "layers.squeeze_excitation.fc2", "layers.conv_c")),
    attention=("window_attention", "grid_attention"),
    parts={
        "norm1": "attn_layer.0",
        "attn.qkv": "attn_layer.1.to_qkv",
        "attn.proj": "attn_layer.1.merge",
        "table": "attn_layer.1.relative_position_bias_table",
        "norm2": "mlp_layer.0",
        "mlp.fc1": "mlp_layer.1",
        "mlp.fc2": "mlp_layer.3",
    },
    tail=("classifier.2", "classifier.3", "classifier.5"),
    index="attn_layer.1.relative_position_index",
)  # fmt: skip
_FIELDS = {
    name: {field: getattr(config, field) for field in _DIFFERENT}
    for name, config in (("timm", MAXVIT_TINY), ("torchvision", MAXVIT_T))
}
_FORMATS = (
    Format("timm", "maxvit", _TIMM.rules, fields=_FIELDS["timm"]),
    Format("torchvision", "maxvit", _TORCHVISION.rules, stage=r"blocks\.(\d+)\.",
           fields=_FIELDS["torchvision"]),
    vitrail("maxvit"),
)  # fmt: skip


def _recognise(state: State) -> str | None:
    """Return the format of a state dict, if it is of a MaxViT."""
    if "stem.0.0.weight" in state:
        return "torchvision" if has(state, r"^blocks\.0\.layers\.0\.layers\.MBconv\.") else None
    if "stem.conv1.weight" in state:
        # Timm has MaxViTs of its own, with other parts; these have tables of three axes.
        table = state.get(f"stages.0.blocks.0.attn_grid.{_TIMM.parts['table']}")
        return "timm" if table is not None and table.ndim == 3 else None
    ours = has(state, r"^stages\.\d+\.blocks\.\d+\.grid\.attn\.")
    return "vitrail" if ours and "embed.proj.weight" in state else None


def _infer(reading: Reading, hints: Hints) -> BackboneConfig:
    """Return the configuration that the shapes imply; strides are the published models'."""
    state = reading.state
    stem = state["embed.proj.weight"]
    axes, depths = stem.ndim - 2, depths_of(state)
    tables = [state[needed(state, f"stages.{i}.blocks.0.window.attn.bias.table")]
              for i in range(len(depths))]  # fmt: skip
    dims = tuple(state[needed(state, f"stages.{i}.blocks.0.window.norm1.weight")].numel()
                 for i in range(len(depths)))  # fmt: skip
    hidden = state[needed(state, "embed.merge.conv1.weight")].shape[0]
    squeezed = state[needed(state, "embed.merge.squeeze.weight")].shape[0]
    perceptron = state[needed(state, "stages.0.blocks.0.window.mlp.fc1.weight")].shape[0]
    like = hints.like if isinstance(hints.like, MaxViTConfig) and hints.like.axes == axes else None
    projected = "embed.merge.shortcut.weight" in state
    return MaxViTConfig(
        in_channels=stem.shape[1],
        dims=dims,
        depths=depths,
        num_heads=tuple(table.shape[-1] for table in tables),
        patch=like.patch if like else (4,) * axes,
        merge=like.merge if like else (2,) * axes,
        mlp_ratio=perceptron / dims[0],
        stem_dim=stem.shape[0],
        expand=hidden / dims[0],
        squeeze=squeezed / dims[0],
        shortcut_proj=projected if stem.shape[0] == dims[0] else bool(like and like.shortcut_proj),
        stem_bias="embed.proj.bias" in state,
        head_bias="head.bias" in state if "head.weight" in state else not like or like.head_bias,
        qkv_bias=has(state, r"\.attn\.qkv\.bias$"),
        embed_norm="embed.norm.weight" in state,
        **{part: _size_of(state, part, axes, hints) for part in _PARTS},
        **outputs_of(state),
    )


def _size_of(state: State, part: str, axes: int, hints: Hints) -> Size:
    """Return the window or grid that a table was made for: a known one, or one of equal sides."""
    key = needed(state, f"stages.0.blocks.0.{part}.attn.bias.table")
    rows = state[key].shape[0]
    known = [getattr(hints.like, part, None)]
    if hints.window is not None:
        size = hints.window[0] if isinstance(hints.window, tuple) else hints.window
        known.append(as_size(size if isinstance(size, tuple) else hints.window, axes, "window"))
    for size in known:
        if size is not None and math.prod(2 * m - 1 for m in size) == rows:
            return size
    found = window_of_rows(rows, axes)
    if found is None:
        raise UsageError(
            f"a relative bias of {rows} rows in {key}",
            "a window whose product of (2 * length - 1) is the number of rows",
            f"give the sizes, e.g. create_model(name, window=(7, 9), grid=(7, 9), weights=...), "
            f"or load into a model with {part}=...",
        )
    return found


def _reshape_tables(
    reading: Reading, known: BackboneConfig | None, config: BackboneConfig
) -> Reshape:
    """Return what brings bias tables to a configuration's window and grid."""
    assert isinstance(config, MaxViTConfig)
    axes = reading.state["embed.proj.weight"].ndim - 2

    def reshape(key: str, tensor: Tensor, shape: Size) -> tuple[Tensor | None, Entry | None] | None:
        part = key.split(".")[-4] if key.endswith(".attn.bias.table") else ""
        if part not in _PARTS or tuple(tensor.shape) == shape or tensor.shape[-1] != shape[-1]:
            return None
        wanted = getattr(config, part)
        size = getattr(known, part) if known else window_of_rows(tensor.shape[0], axes)
        if size is None or len(size) != len(wanted):
            return None
        return resize_table(tensor, size, wanted), Entry(
            key, "resized", f"{part} {size} became {wanted}"
        )

    return reshape


def _grids(config: BackboneConfig) -> Grids:
    """Return the lengths of the tables of offsets, by the part of a block that they are of."""
    return {part: tuple(2 * m - 1 for m in getattr(config, part)) for part in _PARTS}


def _refuse(config: BackboneConfig, name: str) -> None:
    """Refuse to write what a format's models do not do.

    Raises:
        UsageError: always, for such a model.
    """
    if name == "vitrail":
        return
    other = [f for f, value in _FIELDS[name].items() if getattr(config, f) != value]
    if other or config.axes != 2:
        given = ", ".join(f"{f}={getattr(config, f)!r}" for f in other) or f"{config.axes} axes"
        raise UsageError(
            f"a MaxViT with {given} as {name}",
            f"for images, with {', '.join(f'{f}={v!r}' for f, v in _FIELDS[name].items())}",
            "use 'vitrail'",
        )


def _holds(config: BackboneConfig) -> bool:
    return isinstance(config, MaxViTConfig)


FAMILIES = (
    Family(
        kind="maxvit",
        title="MaxViT",
        model=MaxViT,
        formats=_FORMATS,
        anchors=("embed.proj.weight", "stem.conv1.weight", "stem.0.0.weight"),
        recognise=_recognise,
        infer=_infer,
        identity=("dims", "depths", "num_heads", "window", "grid", "patch", "merge", "mlp_ratio",
                  "stem_dim", "expand", "squeeze", "shortcut_proj", "stem_bias", "head_bias",
                  "out_indices"),
        advised=("dims", "depths", "num_heads", "window", "grid", "stem_dim", *_DIFFERENT),
        behaviour=(*_DIFFERENT, "grid", "conv_norm_eps", "momentum"),
        holds=_holds,
        readers=READERS,
        reshape=_reshape_tables,
        grids=_grids,
        refuse=_refuse,
    ),
)  # fmt: skip
