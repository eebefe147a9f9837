"""The parts of a backbone: its blocks, its attention layers, and what a parameter's name says."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from vitrail.layers import Attend

EMBEDDING = ("embed", "position", "position_drop")


class Place(NamedTuple):
    """Where a parameter or module of a backbone is.

    Args:
        part: first word of its name; inside a stage, the word after the stage: ``"blocks"``,
            ``"merge"``, ``"norm"``; ``""`` for a stage itself.
        stage: number of the stage, or None outside the stages.
        block: number of the block in the stage, or None outside the blocks.
    """

    part: str
    stage: int | None = None
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A block, and where it is."""

    name: str
    stage: int
    index: int
    module: nn.Module


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """A layer that attends, and where it is.

    Args:
        name: of the layer.
        stage: number of its stage.
        block: number of its block in the stage; a block may have several layers, or none.
        around: name of the residual branch that it is in: the block, if that has one layer.
        module: the layer, with its ``pattern`` and its ``attend``.
    """

    name: str
    stage: int
    block: int
    around: str
    module: Any


def place_of(name: str) -> Place:
    """Return where a parameter or module of that name is in a backbone, or in a task's model."""
    first, *rest = name.removeprefix("backbone.").split(".")
    if first != "stages" or not rest or not rest[0].isdecimal():
        return Place(first)
    part = rest[1] if len(rest) > 1 else ""
    inside = part == "blocks" and len(rest) > 2 and rest[2].isdecimal()
    return Place(part, int(rest[0]), int(rest[2]) if inside else None)


class Parts(nn.Module):
    """What a backbone says of its parts, to rooms that look inside and to optimisers."""

    config: Any
    stages: nn.ModuleList

    def blocks(self) -> list[Block]:
        """Return every block, in the order in which they run."""
        return [
            Block(f"stages.{number}.blocks.{index}", number, index, block)
            for number, stage in enumerate(self.stages)
            for index, block in enumerate(stage.blocks)  # type: ignore[arg-type]
        ]

    def attention_layers(self) -> list[AttentionLayer]:
        """Return every layer that attends, in the order in which they run."""
        return [
            AttentionLayer(name, block.stage, block.index, name.rpartition(".")[0], layer)
            for block in self.blocks()
            for name, layer in block.module.named_modules(prefix=block.name)
            if isinstance(getattr(layer, "attend", None), Attend)
        ]

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that the papers exempt from weight decay."""
        return {
            name
            for name, parameter in self.named_parameters()
            if parameter.ndim <= 1
            or name.endswith("position.table")
            or ".prefix." in name
            or ".attn.bias." in name
            or name.endswith(".logit_scale")
        }

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return the patterns by which timm's optimiser factory finds a parameter's layer.

        With them ``timm.optim.create_optimizer_v2(model, layer_decay=...)`` makes the groups that
        it makes for timm's own model of the family. Timm counts the last norm with the last block,
        ``layer_index`` counts it with the head.

        Args:
            coarse: a layer is a stage rather than a block.
        """
        stem = r"^(?:embed|position|stages\.0\.(?:position|prefix))\."
        if coarse:
            return {"stem": stem, "blocks": r"^stages\.(\d+)\."}
        with_previous = (99999,)  # as timm says it
        blocks = [
            (r"^stages\.(\d+)\.(?:merge|position|prefix)\.", (0,)),
            (r"^stages\.(\d+)\.blocks\.(\d+)\.", None),
            (r"^stages\.(\d+)\.norm\.", with_previous),
            (r"^norm\.", with_previous),
        ]
        return {"stem": stem, "blocks": blocks}

    @property
    def num_layers(self) -> int:
        """Number of depths of ``layer_index``: the embedding, each block, the end."""
        return sum(self.config.depths[: len(self.stages)]) + 2

    def layer_index(self, name: str) -> int:
        """Return the depth of a parameter: 0 the embedding, then each block, last norm and head.

        What a stage has before its blocks counts with the first of them, its norm with the last;
        positions and prefix tokens of the first stage count with the embedding.
        """
        part, stage, block = place_of(name)
        if stage is None:
            return 0 if part in EMBEDDING else self.num_layers - 1
        if stage == 0 and part in ("position", "prefix"):
            return 0
        if block is None:
            block = self.config.depths[stage] - 1 if part == "norm" else 0
        return 1 + sum(self.config.depths[:stage]) + block
