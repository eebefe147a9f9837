"""Rules between a peer's state dict and ours, each of which works in both directions.

A format is a list of rules. A rule says which of their keys stand for which of ours, with a pair
of functions between the tensors; ``read`` applies a list from theirs to ours, ``write`` the same
list from ours to theirs. Adding a format means writing down one more list, and nothing else.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import BackboneConfig
from vitrail.models.tensors import check_dense
from vitrail.shapes import Size
from vitrail.weights.template import Binding, Template

State = dict[str, Tensor]
Tensors = list[Tensor]
Make = Callable[[Any, Size | None, int, int], Tensor | None]
Grids = Mapping[str, Size]  # our key of a position table -> lengths of its grid


def _same(tensors: Tensors) -> Tensors:
    return tensors


@dataclass(frozen=True)
class Rule:
    """Some of their keys stand for some of ours.

    Args:
        theirs: their keys; all of them must be there for the rule to apply.
        ours: our keys, with the same fields.
        read: from their tensors to ours.
        write: from our tensors to theirs.
        alias: an old name that is read, and never written.
    """

    theirs: tuple[Template, ...]
    ours: tuple[Template, ...]
    read: Callable[[Tensors], Tensors] = _same
    write: Callable[[Tensors], Tensors] = _same
    alias: bool = False


@dataclass(frozen=True)
class Buffer:
    """One of their keys that follows from the configuration: dropped when read, made to be written.

    Args:
        theirs: their key; ``{i}`` is the stage, ``{j}`` the block.
        what: what it holds: ``"index"``, ``"coordinates"`` or ``"mask"``.
        make: returns the tensor for a configuration, an input size, a stage and a block, or None
            where that block has no such buffer; a buffer without ``make`` is read only.
    """

    theirs: Template
    what: str
    make: Make | None = None


@dataclass(frozen=True)
class Ignore:
    """One of their keys that a backbone with a classifier has no use for (a mask token, say)."""

    theirs: Template
    reason: str


AnyRule = Rule | Buffer | Ignore


@dataclass
class Reading:
    """What ``read`` made of a state dict.

    Args:
        state: our keys.
        origin: our key -> the keys it came from.
        buffers: (what, stage) -> a buffer; not loaded, but the window follows from them.
        ignored: their keys without a use here -> why.
        unknown: their keys that no rule knows.
    """

    state: State = field(default_factory=dict)
    origin: dict[str, tuple[str, ...]] = field(default_factory=dict)
    buffers: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


# --- constructors ---------------------------------------------------------------------------------


def rename(theirs: str, ours: str, *, alias: bool = False) -> Rule:
    """The same tensor under another name."""
    return Rule((Template(theirs),), (Template(ours),), alias=alias)


def fuse(theirs: Sequence[str], ours: str) -> Rule:
    """Several tensors of theirs are one of ours, one after the other along the rows."""
    parts = len(theirs)
    return Rule(
        tuple(map(Template, theirs)),
        (Template(ours),),
        read=lambda tensors: [torch.cat(tensors)],
        write=lambda tensors: list(tensors[0].chunk(parts)),
    )


def permute_columns(
    theirs: str, ours: str, read: Callable[[Tensor], Tensor], write: Callable[[Tensor], Tensor]
) -> Rule:
    """The same numbers with the last axis in another order."""
    return Rule(
        (Template(theirs),),
        (Template(ours),),
        read=lambda tensors: [read(tensors[0])],
        write=lambda tensors: [write(tensors[0])],
    )


def split_qkv_bias(theirs: str, q_bias: str, v_bias: str) -> Rule:
    """Their one bias of queries, keys and values is our two; that of the keys is zero.

    Adding a vector to every key of a cosine attention would matter, so the peers that store a key
    bias set it to zero before they use it: whatever the file holds there is never read.
    """

    def read(tensors: Tensors) -> Tensors:
        q, _, v = tensors[0].chunk(3)
        return [q, v]

    def write(tensors: Tensors) -> Tensors:
        q, v = tensors
        return [torch.cat([q, torch.zeros_like(q), v])]

    return Rule((Template(theirs),), (Template(q_bias), Template(v_bias)), read=read, write=write)


def flat_grid(theirs: str, ours: str, grids: Grids | None, *, prefix: str | None = None) -> Rule:
    """Their list of places is our grid of places.

    Args:
        theirs: their key, ``[1, places, dim]``.
        ours: our key, ``[1, *grid, dim]``.
        grids: the grid's lengths under our key; a square one when left out, or when the file's
            table is not of that grid.
        prefix: our key of the positions of prefix tokens, which stand first in their list.
    """
    grid = (grids or {}).get(ours)

    def read(tensors: Tensors) -> Tensors:
        count = tensors[0].shape[1]
        first, lengths = _layout(count, grid, prefixed=prefix is not None)
        if lengths is None:
            raise UsageError(
                f"positions of {count} places in {theirs}",
                "a square grid" if prefix is None else "a square grid, and one token",
                "name the model, with the lengths of its grid",
            )
        places = tensors[0][:, first:].unflatten(1, lengths)
        return [places] if prefix is None else [places, tensors[0][:, :first]]

    def write(tensors: Tensors) -> Tensors:
        return [torch.cat([*tensors[1:], tensors[0].flatten(1, -2)], dim=1)]

    keys = (ours,) if prefix is None else (ours, prefix)
    return Rule((Template(theirs),), tuple(map(Template, keys)), read=read, write=write)


def _layout(count: int, grid: Size | None, *, prefixed: bool) -> tuple[int, Size | None]:
    """Return how many places are of prefix tokens, and the grid: one that is known, or a square."""
    # One token is what there nearly always is; a list without any is the last guess.
    for first in (1, 2, 0) if prefixed else (0,):
        if grid is not None and count - first == math.prod(grid):
            return first, grid
        side = math.isqrt(max(count - first, 0))
        if first < 2 and side > 0 and side * side == count - first:
            return first, (side, side)
    return 0, None


# --- application ----------------------------------------------------------------------------------


def read(state: State, rules: Iterable[AnyRule]) -> Reading:
    """Turn their state dict into ours; the earlier rule wins a key."""
    result = Reading()
    left = dict(state)
    for rule in rules:
        if isinstance(rule, Rule):
            for binding, keys in _complete(left, rule.theirs):
                tensors = _applied(rule, {key: left.pop(key) for key in keys})
                for template, tensor in zip(rule.ours, tensors, strict=True):
                    if tensor.numel() == 0:
                        continue  # no prefix tokens: no positions of theirs
                    ours = template.fill(binding)
                    result.state[ours] = tensor
                    result.origin[ours] = keys
            continue
        for key in list(left):
            binding = rule.theirs.match(key)
            if binding is None:
                continue
            tensor = left.pop(key)
            if isinstance(rule, Ignore):
                result.ignored[key] = rule.reason
            else:
                result.ignored[key] = "follows from the window"
                result.buffers[rule.what, int(binding["i"])] = tensor
    result.unknown = list(left)
    return result


def _applied(rule: Rule, theirs: State) -> Tensors:
    """Return our tensors for theirs.

    Raises:
        UsageError: they are no weights, or their shapes are not of this format.
    """
    for key, tensor in theirs.items():
        check_dense(key, tensor)
    try:
        return rule.read(list(theirs.values()))
    except (RuntimeError, IndexError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        shapes = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in theirs.items())
        raise UsageError(
            f"weights whose shapes are of no such model: {shapes[:500]}",
            "the weights of one model, whole",
            "check where the file comes from; it may be damaged",
        ) from error


def write(
    state: State, rules: Sequence[AnyRule], config: BackboneConfig, size: Size | None = None
) -> tuple[State, list[str]]:
    """Turn our state dict into theirs.

    Args:
        state: our keys.
        rules: the format.
        config: what the state belongs to, for the buffers.
        size: the input's lengths that their buffers are made for.
    Returns:
        Their state dict, and those of our keys that the format has no place for.
    """
    theirs: State = {}
    left = dict(state)
    for rule in rules:
        if isinstance(rule, Rule) and not rule.alias:
            for binding, keys in _complete(left, rule.ours):
                tensors = rule.write([left.pop(key) for key in keys])
                for template, tensor in zip(rule.theirs, tensors, strict=True):
                    theirs[template.fill(binding)] = tensor.contiguous()
        elif isinstance(rule, Buffer) and rule.make is not None:
            for i, depth in enumerate(config.depths):
                for j in range(depth):
                    tensor = rule.make(config, size, i, j)
                    if tensor is not None:
                        theirs[rule.theirs.fill({"i": i, "j": j})] = tensor
    return theirs, list(left)


def _complete(
    state: State, templates: tuple[Template, ...]
) -> list[tuple[Binding, tuple[str, ...]]]:
    """Return the variables' values for which every template's key is in ``state``, and the keys."""
    found = []
    for key in state:
        binding = templates[0].match(key)
        if binding is None:
            continue
        keys = tuple(template.fill(binding) for template in templates)
        if all(other in state for other in keys):
            found.append((binding, keys))
    return found
