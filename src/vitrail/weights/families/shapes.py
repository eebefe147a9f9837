"""What follows from the shapes of any backbone's weights, in our names."""

import re
from typing import Any

from vitrail.errors import UsageError
from vitrail.models import CATALOG, BackboneConfig
from vitrail.weights.families.base import Hints
from vitrail.weights.report import Entry
from vitrail.weights.rules import State


def needed(state: State, key: str) -> str:
    """Return a key that must be there.

    Raises:
        UsageError: it is not.
    """
    if key not in state:
        raise UsageError(
            f"weights without {key}",
            "the weights of a whole backbone",
            "give the file of the whole model",
        )
    return key


def check_whole(state: State) -> None:
    """Refuse weights without a stem or without blocks.

    Raises:
        UsageError: parts are missing.
    """
    needed(state, "embed.proj.weight")
    if not has(state, r"^stages\.0\.blocks\.0\.(\w+\.)?attn\."):
        needed(state, "stages.0.blocks.0.attn.proj.weight")


def depths_of(state: State) -> tuple[int, ...]:
    """Return the number of blocks in each stage.

    Raises:
        UsageError: a stage or a block is missing.
    """
    blocks: dict[str, set[str]] = {}
    for key in state:
        found = re.match(r"stages\.(0|[1-9]\d*)\.blocks\.(0|[1-9]\d*)\.", key)
        if found:
            blocks.setdefault(found[1], set()).add(found[2])
    for stage in range(len(blocks)):
        own = blocks.get(str(stage))
        gap = None if own is None else next((j for j in range(len(own)) if str(j) not in own), None)
        if own is None or gap is not None:
            raise UsageError(
                f"weights without stage {stage}" + ("" if own is None else f", block {gap}"),
                "weights of every stage and block from the first",
                "give the file of the whole model",
            )
    return tuple(len(blocks[str(stage)]) for stage in range(len(blocks)))


def outputs_of(state: State) -> dict[str, Any]:
    """Return the classes of the head, or what makes a detector's backbone, with its own norms."""
    head = state.get("head.weight")
    classes: dict[str, Any] = {"num_classes": 0 if head is None else head.shape[0]}
    found = (re.match(r"feature_norms\.(\d{1,3})\.", key) for key in state)
    norms = tuple(sorted({int(m[1]) for m in found if m}))
    if "norm.weight" in state or not norms:
        return classes
    return {"out_indices": norms, "feature_norms": True, "num_classes": 0}


def has(state: State, pattern: str) -> bool:
    """Return whether some key matches a pattern anywhere."""
    return any(re.search(pattern, key) for key in state)


def heads_of(
    config_class: type[BackboneConfig], dims: tuple[int, ...], hints: Hints
) -> tuple[int, ...]:
    """Return the heads of each stage, which no shape shows: those that are known, or published.

    Args:
        config_class: of the family.
        dims: channels of each stage.
        hints: what is known.
    Raises:
        UsageError: no published model has these channels.
    """
    like = hints.like
    if hints.num_heads is not None:
        return hints.num_heads
    if isinstance(like, config_class) and like.stage_dims == dims:
        return like.num_heads
    published = {
        entry.config.stage_dims: entry.config.num_heads
        for entry in CATALOG.values()
        if isinstance(entry.config, config_class)
    }
    if dims in published:
        return published[dims]
    if hints.guess:
        return (1,) * len(dims)
    raise UsageError(
        f"weights with {dims} channels, whose number of heads is not in the file",
        f"channels of a published model, whose heads are known: {', '.join(map(str, published))}",
        "name a model with its heads: --model NAME at the command line, or "
        "create_model(name, num_heads=..., weights=...)",
    )


def compare_heads(known: BackboneConfig, config: BackboneConfig) -> list[Entry]:
    """Return how heads differ: they divide the same channels, so that no shape shows them."""
    same = known.stage_dims == config.stage_dims and len(known.depths) == len(config.depths)
    if not same or known.num_heads == config.num_heads:
        return []
    return [
        Entry(
            "stages.*.blocks.*.attn", "mismatch",
            f"num_heads={known.num_heads} in the file, {config.num_heads} in the model",
            f"create the model with num_heads={known.num_heads}",
        )
    ]  # fmt: skip
