"""Which inputs one exported graph serves, and at which of them it is tried."""

import itertools
import math

from vitrail.errors import UsageError
from vitrail.layers import AbsolutePosition
from vitrail.models import Backbone, TaskModel, backbone_of
from vitrail.patterns import Axial, Global, Pattern, SparseFixed, SparseStrided, Window
from vitrail.shapes import Size, as_size

Exported = Backbone | TaskModel
TASKS = ("segment",)  # whose models give one tensor for one input
LARGEST_BATCH = 1024
_LARGEST = {1: 2**20, 2: 4096, 3: 4096}  # samples along each axis, by number of axes
_LARGEST_INTERPOLATED = 2**16  # beyond it, torch takes minutes to reason about interpolation


def size_range(model: Exported) -> tuple[Size, Size]:
    """Return the least and the greatest lengths of an input that one exported graph serves.

    From one sample up, with three exceptions: where the window gives way to small maps
    (``shift_rule`` ``"clamp"`` or ``"shortest"``), every map must keep the full window; torch
    does not export a single token in 3-D (under a head of a task, in no stage), or one whose
    absolute position is interpolated; nor a line or grid of one token that attends to itself
    alone, where its length may change.
    """
    config = model.config
    smooth = any(isinstance(m, AbsolutePosition) and m.resize == "smooth" for m in model.modules())
    tokens = [1] * config.axes
    if config.axes == 3 or smooth:
        tokens[-1] = 2
    if config.axes == 3 and isinstance(model, TaskModel):  # whose head convolves the last map
        tokens[-1] = config.stage_strides[-1][-1] // config.patch[-1] + 1
    for patterns, strides in zip(_patterns(model), config.stage_strides, strict=False):
        for pattern in patterns:
            if isinstance(pattern, Axial | Global) and not pattern.prefix:
                axis = pattern.axis if isinstance(pattern, Axial) else -1
                tokens[axis] = max(tokens[axis], strides[axis] // config.patch[axis] + 1)
            if not isinstance(pattern, Window) or pattern.shift_rule not in ("clamp", "shortest"):
                continue
            for axis, (m, s, p) in enumerate(zip(pattern.size, strides, config.patch, strict=True)):
                needed = m if pattern.shift_rule == "clamp" else m + 1
                tokens[axis] = max(tokens[axis], (needed - 1) * (s // p) + 1)
    # An axis that the patch does not divide is padded up, or loses what is left over.
    spare = config.patch if config.patch_fit == "floor" else (1,) * config.axes
    smallest = tuple((n - 1) * p + s for n, p, s in zip(tokens, config.patch, spare, strict=True))
    most = _LARGEST[config.axes]
    if smooth:
        most = min(most, _LARGEST_INTERPOLATED)
    return smallest, (most,) * config.axes


def checked_size(model: Exported, size: int | Size | None, dynamic: bool) -> Size:
    if isinstance(model, TaskModel) and model.task.name not in TASKS:
        raise UsageError(
            f"a model for task {model.task.name} to export, whose outputs are no fixed tensors",
            f"a backbone, with a classifier or without; or a model for task {', '.join(TASKS)}",
            "export model.backbone, whose outputs are the maps",
        )
    lengths = as_size(model.preprocessing.size if size is None else size, model.config.axes, "size")
    smallest, largest = size_range(model)
    if not dynamic:
        smallest = model.config.patch if model.config.patch_fit == "floor" else (1,) * len(lengths)
    bounds = zip(lengths, smallest, largest, strict=True)
    if any(not low <= n <= high for n, low, high in bounds):
        raise UsageError(
            f"size={lengths}",
            f"{smallest} to {largest} samples",
            "choose a size in between" + (", or export that one size" if dynamic else ""),
        )
    return lengths


def trial_shapes(model: Exported, size: Size) -> tuple[Size, ...]:
    """Return shapes on both sides of the first stage's switches of padding and shift."""
    smallest, _ = size_range(model)
    extent = tuple(
        max(lengths) * p for lengths, p in zip(_extents(model, 1), model.config.patch, strict=True)
    )
    longer = tuple(n + 1 for n in extent)
    # Axes that differ: swapping two of them must not go unnoticed.
    mixed = tuple(n if axis % 2 else m for axis, (n, m) in enumerate(zip(extent, smallest)))  # noqa: B905
    sizes = [smallest, mixed, extent, longer, size]
    fitting = [tuple(max(n, low) for n, low in zip(s, smallest, strict=True)) for s in sizes]
    batches = itertools.cycle((1, 2))
    return tuple((batch, *s) for batch, s in zip(batches, dict.fromkeys(fitting), strict=False))


def example_size(model: Exported) -> Size:
    """Return a size at which every stage has several windows and pads the last, on every axis."""
    strides, longest = model.config.stage_strides[-1], map(max, _extents(model))
    return tuple(
        math.prod(pair) * 2 + 3 * axis + 5
        for axis, pair in enumerate(zip(strides, longest, strict=True))
    )


def check_blocks(model: Exported) -> None:
    """Refuse blocks whose length is the root of a length that no graph knows."""
    for pattern in itertools.chain.from_iterable(_patterns(model)):
        if isinstance(pattern, SparseFixed | SparseStrided) and pattern.block is None:
            raise UsageError(
                "sparse attention in blocks of ceil(sqrt(N)) tokens, N of any size",
                "one size, as neither format takes the root of a length",
                "export one size (dynamic=False, --static)",
            )


def _patterns(model: Exported) -> list[list[Pattern]]:
    """Return which tokens attend to which in each stage, layer by layer."""
    backbone = backbone_of(model)
    assert backbone is not None
    layers, stages = backbone.attention_layers(), range(len(backbone.stages))
    return [[layer.module.pattern for layer in layers if layer.stage == stage] for stage in stages]


def _extents(model: Exported, stages: int | None = None) -> list[list[int]]:
    """Return for each axis the lengths, in tokens, at which a pattern of some stage switches."""
    lengths: list[list[int]] = [[1] for _ in range(model.config.axes)]
    for pattern in itertools.chain.from_iterable(_patterns(model)[:stages]):
        fields = (getattr(pattern, name, None) for name in ("size", "window", "reduction"))
        for axis, length in enumerate(next(filter(None, fields), ())):
            lengths[axis].append(length)
    return lengths
