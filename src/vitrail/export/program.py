"""Models as torch.export programs: one graph that serves a range of sizes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic_config

from vitrail.export.sizes import (
    LARGEST_BATCH,
    Exported,
    check_blocks,
    checked_size,
    example_size,
    size_range,
)
from vitrail.layers import Attend, WindowAttention
from vitrail.patterns import Window
from vitrail.shapes import Size

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def export_program(
    model: Exported,
    size: int | Size | None = None,
    *,
    dynamic: bool = True,
    backend: str | None = None,
) -> ExportedProgram:
    """Trace a model into a torch.export program, in evaluation mode.

    Args:
        model: any backbone; it is not changed.
        size: lengths of the input, in samples; default those of the weights' preprocessing.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        backend: the implementation of attention in the graph; default what suits the problem.
    Returns:
        A program whose ``module()`` takes ``(batch, channels, *samples)``.
    Raises:
        UsageError: a size that the model does not take.
    """
    size = checked_size(model, size, dynamic)
    parameter = next(model.parameters())
    batch, dims = 1, None
    if dynamic:
        check_blocks(model)
        smallest, largest = size_range(model)
        # The numbers of the example mean nothing, but none may be one: it would be a constant.
        batch, size = 2, example_size(model)
        ranges = zip(AXES[len(size)], smallest, largest, strict=True)
        lengths = [Dim(name, min=low, max=high) for name, low, high in ranges]
        dims = ({0: Dim("batch", min=1, max=LARGEST_BATCH), **dict(enumerate(lengths, 2))},)
    x = torch.zeros(
        batch, model.config.in_channels, *size, device=parameter.device, dtype=parameter.dtype
    )
    with (
        as_it_runs(model, full_windows=dynamic, backend=backend),
        torch.no_grad(),
        # Lengths of one are ordinary lengths; truths that sympy cannot prove are checked on a run.
        symbolic_config.patch(backed_size_oblivious=True),  # type: ignore[attr-defined]
    ):
        program = torch.export.export(
            model, (x,), dynamic_shapes=dims, prefer_deferred_runtime_asserts_over_guards=True
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine; they are of no use on another
    return program


@contextmanager
def as_it_runs(
    model: Exported, *, full_windows: bool = False, backend: str | None = None
) -> Iterator[None]:
    """Put a model into evaluation mode for a while; all of it is afterwards as it was.

    Args:
        model: any backbone.
        full_windows: let windows keep their size on any map. Within ``size_range`` no map is so
            small that they would not, but symbolic lengths do not say so.
        backend: the implementation of attention to use, if not the one that suits the problem.
    """
    modes = {module: module.training for module in model.modules()}
    layers = [module for module in model.modules() if isinstance(module, WindowAttention)]
    calls = [module for module in model.modules() if isinstance(module, Attend)]
    before = [layer.pattern for layer in layers], [call.backend for call in calls]
    try:
        nn.Module.train(model, False)
        for call in calls:
            call.backend = backend or call.backend
        for layer in layers:
            pattern = layer.pattern
            if not (full_windows and isinstance(pattern, Window)):
                continue
            if pattern.shift_rule in ("clamp", "shortest"):
                layer.pattern = replace(pattern, shift_rule="axis")
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for layer, pattern in zip(layers, before[0], strict=True):
            layer.pattern = pattern
        for call, chosen in zip(calls, before[1], strict=True):
            call.backend = chosen
