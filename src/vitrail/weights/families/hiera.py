"""Hiera: timm's names, the official ones, and those of transformers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vitrail.errors import UsageError
from vitrail.models import BackboneConfig
from vitrail.models.hiera import Hiera, HieraConfig
from vitrail.weights.families.base import Family, Format, Hints, vitrail
from vitrail.weights.families.hiera_peers import READERS
from vitrail.weights.families.shapes import (
    compare_heads,
    depths_of,
    has,
    heads_of,
    needed,
    outputs_of,
)
from vitrail.weights.rules import AnyRule, Grids, Reading, State, flat_grid, rename

_PARTS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2", "shortcut")


@dataclass(frozen=True)
class Names:
    """What a format calls the parts of a Hiera; the defaults are timm's.

    Args:
        patch: the patch embedding.
        position: the table of positions.
        block: a block; ``{n}`` counts all blocks, ``{i}`` and ``{j}`` are stage and block.
        parts: our names of a block's parts -> theirs, where they differ.
        norm: the norm of pooled tokens.
        head: the head.
    """

    patch: str = "patch_embed.proj"
    position: str = "pos_embed"
    block: str = "blocks.{n}"
    parts: Mapping[str, str] = field(default_factory=lambda: {"shortcut": "proj"})
    norm: str = "head.norm"
    head: str = "head.fc"

    def rules(self, stages: int, grids: Grids | None) -> list[AnyRule]:
        """Return the rules of this format."""
        del stages
        rules: list[AnyRule] = [
            rename(f"{self.patch}.{{leaf}}", "embed.proj.{leaf}"),
            flat_grid(self.position, "position.table", grids),
            rename(f"{self.norm}.{{leaf}}", "norm.{leaf}"),
            rename(f"{self.head}.{{leaf}}", "head.{leaf}"),
            rename("hidden_states_norms.stage{i+1}.{leaf}", "feature_norms.{i}.{leaf}"),
        ]
        number = 0
        for i, depth in enumerate((grids or {}).get("depths", ())):
            for j in range(depth):
                block = self.block.format(n=number, i=i, j=j)
                rules += [
                    rename(f"{block}.{self.parts.get(part, part)}.{{leaf}}",
                           f"stages.{i}.blocks.{j}.{part}.{{leaf}}") for part in _PARTS
                ]  # fmt: skip
                number += 1
        return rules


_TRANSFORMERS = Names(
    patch="embeddings.patch_embeddings.projection",
    position="embeddings.position_embeddings",
    block="encoder.stages.{i}.layers.{j}",
    parts={"norm1": "layernorm_before", "norm2": "layernorm_after", "shortcut": "proj"},
    norm="pooler.layernorm",
    head="classifier",
)
_OFFICIAL = Names(norm="norm", head="head.projection")


def _blocks(state: State) -> Grids:
    """Return the depths of stages whose blocks are counted from the first to the last."""
    numbers = {int(m[1]) for key in state if (m := re.match(r"blocks\.(\d{1,4})\.", key))}
    starts = {int(m[1]) for key in state if (m := re.match(r"blocks\.(\d{1,4})\.proj\.", key))}
    if not numbers:
        return {}
    ends = [0, *sorted(starts), max(numbers) + 1]
    return {"depths": tuple(b - a for a, b in pairwise(ends))}


def _layers(state: State) -> Grids:
    """Return the depths of stages that the names imply."""
    pattern = re.compile(r"encoder\.stages\.(\d{1,3})\.layers\.(\d{1,4})\.")
    found: dict[int, int] = {}
    for key in state:
        if m := pattern.match(key):
            found[int(m[1])] = max(found.get(int(m[1]), 0), int(m[2]) + 1)
    return {"depths": tuple(found.get(stage, 0) for stage in range(len(found)))} if found else {}


_ONE = r"()"  # the layout gives the stages, not the names
_FORMATS = (
    Format("official", "hiera", _OFFICIAL.rules, stage=_ONE, layout=_blocks),
    Format("timm", "hiera", Names().rules, stage=_ONE, layout=_blocks),
    Format("transformers", "hiera", _TRANSFORMERS.rules, ("hiera.", ""),
           ("classifier.", "hidden_states_norms."), stage=r"encoder\.stages\.(\d+)\.",
           layout=_layers),
    vitrail("hiera"),
)  # fmt: skip


def _recognise(state: State) -> str | None:
    """Return the format of a state dict, if it is of a Hiera."""
    if f"{_TRANSFORMERS.patch}.weight" in state:
        names = r"^encoder\.stages\.\d+\.layers\.\d+\.attn\.qkv\."
        return "transformers" if has(state, names) else None
    if "patch_embed.proj.weight" in state:
        # Nothing else has blocks with a projection beside those of attention.
        if not has(state, r"^blocks\.\d+\.proj\.") or "pos_embed_win" in state:
            return None
        return "timm" if has(state, r"^head\.(fc|norm)\.") else "official"
    ours = has(state, r"^stages\.\d+\.blocks\.0\.shortcut\.") and "embed.proj.weight" in state
    return "vitrail" if ours else None


def _infer(reading: Reading, hints: Hints) -> BackboneConfig:
    """Return the configuration that the shapes imply, with the published windows and heads."""
    state = reading.state
    patch = state["embed.proj.weight"]
    dim, kernel, depths = patch.shape[0], tuple(patch.shape[2:]), depths_of(state)
    dims = tuple(dim * 2**stage for stage in range(len(depths)))
    like = hints.like if isinstance(hints.like, HieraConfig) else None
    like = like if like is not None and like.patch_kernel == kernel else None
    known = like or HieraConfig()
    same = len(known.depths) == len(depths) and known.axes == len(kernel)
    if not same and not hints.guess and not hints.num_heads:
        raise UsageError(
            f"weights of a Hiera with {len(depths)} stages and {len(kernel)} axes",
            "4 stages of 2 axes, as published: no shape shows windows and strides",
            "create the model with its numbers, and load the weights into it",
        )
    table = state[needed(state, "position.table")]
    perceptron = state[needed(state, "stages.0.blocks.0.mlp.fc1.weight")].shape[0]
    return HieraConfig(
        in_channels=patch.shape[1],
        dim=dim,
        depths=depths,
        num_heads=heads_of(HieraConfig, dims, hints),
        patch=known.patch if same else tuple((k + 1) // 2 for k in kernel),
        merge=known.merge if same else (2,) * len(kernel),
        window=known.window if same else (2 ** len(depths),) * len(kernel),
        windowed=known.windowed if same else (True,) * len(depths),
        patch_kernel=kernel,
        positions=tuple(table.shape[1:-1]),
        mlp_ratio=perceptron / dim,
        qkv_bias=has(state, r"\.attn\.qkv\.bias$"),
        embed_norm="embed.norm.weight" in state,
        **outputs_of(state),
    )


def _grids(config: BackboneConfig) -> Grids:
    assert isinstance(config, HieraConfig)
    return {"position.table": config.positions, "depths": config.depths}


def _refuse(config: BackboneConfig, name: str) -> None:
    """Refuse to write what a format has no name for.

    Raises:
        UsageError: norms of maps, which transformers' backbone alone has; a norm of patches.
    """
    assert isinstance(config, HieraConfig)
    if name == "vitrail":
        return
    for field_, allowed in (("embed_norm", False), ("feature_norms", name == "transformers")):
        if getattr(config, field_) and not allowed:
            raise UsageError(
                f"a Hiera with {field_}=True as {name}", f"{field_}=False", "use 'vitrail'"
            )


def _holds(config: BackboneConfig) -> bool:
    return isinstance(config, HieraConfig)


_BEHAVIOUR: tuple[str, ...] = ("windowed", "feature_norm_eps")
_SHAPED: tuple[str, ...] = ("dim", "depths", "num_heads", "patch", "patch_kernel", "merge",
                            "mlp_ratio")  # fmt: skip
_OPTIONS: dict[str, Any] = {"compare": compare_heads, "grids": _grids, "refuse": _refuse}
FAMILIES = (
    Family(
        kind="hiera",
        title="Hiera",
        model=Hiera,
        formats=_FORMATS,
        anchors=("embed.proj.weight", "patch_embed.proj.weight", f"{_TRANSFORMERS.patch}.weight"),
        recognise=_recognise,
        infer=_infer,
        identity=(*_SHAPED, "window", "windowed", "out_indices"),
        advised=(*_SHAPED, "window", "windowed"),
        behaviour=_BEHAVIOUR,
        holds=_holds,
        readers=READERS,
        **_OPTIONS,
    ),
)
