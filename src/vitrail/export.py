"""Models for other runtimes: torch.export programs (.pt2) and ONNX files.

One exported graph serves a range of sizes. Windows, shifts and padding are arithmetic in the graph,
so that a map smaller than a window, or one that no window divides, needs no graph of its own. What
was exported is run beside the model on both sides of such switches before a file is written.
"""

import itertools
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic_config

from vitrail.errors import UsageError
from vitrail.layers import AbsolutePosition, Attend, WindowAttention
from vitrail.models import Backbone
from vitrail.patterns import Axial, Global, Pattern, SparseFixed, SparseStrided, Window
from vitrail.shapes import Size, as_size

TOLERANCE = 1e-4  # of the largest output, or absolute where outputs are below one
LARGEST_BATCH = 1024
LARGEST_ONNX = 2**31 - 2**24  # bytes of weights; a protobuf file ends at 2 GiB
_LARGEST = {1: 2**20, 2: 4096, 3: 4096}  # samples along each axis, by number of axes
_LARGEST_INTERPOLATED = 2**16  # beyond it, torch takes minutes to reason about interpolation
_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}

Runner = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported, and how it was found to agree with the model.

    Args:
        path: the file.
        smallest: least lengths of an input, in samples.
        largest: greatest lengths of an input, in samples; lengths in between are all served.
        batch: least and greatest number of inputs in one call.
        checked: shapes of the inputs that were run through both.
        difference: largest difference of an output, relative to the largest output, or absolute
            where outputs are below one.
    """

    path: Path
    smallest: Size
    largest: Size
    batch: tuple[int, int]
    checked: tuple[Size, ...]
    difference: float


def size_range(model: Backbone) -> tuple[Size, Size]:
    """Return the least and the greatest lengths of an input that one exported graph serves.

    From one sample up, with three exceptions: where the window gives way to small maps
    (``shift_rule`` ``"clamp"`` or ``"shortest"``), every map must keep the full window; torch
    does not export a single token in 3-D, or one whose absolute position is interpolated; nor a
    line or grid of one token that attends to itself alone, where its length may change.
    """
    config = model.config
    smooth = any(isinstance(m, AbsolutePosition) and not m.linear for m in model.modules())
    tokens = [1] * config.axes
    if config.axes == 3 or smooth:
        tokens[-1] = 2
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


def export_program(
    model: Backbone,
    size: int | Size | None = None,
    *,
    dynamic: bool = True,
    backend: str | None = None,
) -> ExportedProgram:
    """Trace a model into a torch.export program, in evaluation mode.

    Args:
        model: any backbone; it is not changed.
        size: lengths of the input, in samples; default those that the weights want.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        backend: the implementation of attention in the graph; default what suits the problem.
    Returns:
        A program whose ``module()`` takes ``(batch, channels, *samples)``.
    Raises:
        UsageError: a size that the model does not take.
    """
    size = _checked_size(model, size, dynamic)
    parameter = next(model.parameters())
    batch, dims = 1, None
    if dynamic:
        _check_blocks(model)
        smallest, largest = size_range(model)
        # The numbers of the example mean nothing, but none may be one: it would be a constant.
        batch, size = 2, _example_size(model)
        ranges = zip(_AXES[len(size)], smallest, largest, strict=True)
        lengths = [Dim(name, min=low, max=high) for name, low, high in ranges]
        dims = ({0: Dim("batch", min=1, max=LARGEST_BATCH), **dict(enumerate(lengths, 2))},)
    x = torch.zeros(
        batch, model.config.in_channels, *size, device=parameter.device, dtype=parameter.dtype
    )
    with (
        _as_it_runs(model, full_windows=dynamic, backend=backend),
        torch.no_grad(),
        # Lengths of one are ordinary lengths; truths that sympy cannot prove are checked on a run.
        symbolic_config.patch(backed_size_oblivious=True),  # type: ignore[attr-defined]
    ):
        return torch.export.export(
            model, (x,), dynamic_shapes=dims, prefer_deferred_runtime_asserts_over_guards=True
        )


def export_pt2(
    model: Backbone, path: str | Path, size: int | Size | None = None, *, dynamic: bool = True
) -> ExportReport:
    """Write a torch.export program, after comparing it with the model.

    Args:
        model: any backbone; it is not changed.
        path: the file to write, ending in ``.pt2``.
        size: lengths of the input, in samples; default those that the weights want.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
    Raises:
        UsageError: a path or a size that cannot be, or a program that disagrees with the model.
    """
    target = _checked_path(path, ".pt2")
    program = export_program(model, size, dynamic=dynamic)
    module = program.module()
    report = _compare(model, target, size, dynamic, lambda x: _outputs(module(x)))
    with whole_or_absent(target) as temporary:
        about = json.dumps(_description(model, report))
        torch.export.save(program, temporary, extra_files={"vitrail.json": about})
    return report


def export_onnx(
    model: Backbone, path: str | Path, size: int | Size | None = None, *, dynamic: bool = True
) -> ExportReport:
    """Write an ONNX file, after comparing it with the model under ONNX Runtime.

    Needs the extra ``export``. Preprocessing, classes and sizes are in the file's metadata.

    Args:
        model: any backbone; it is not changed.
        path: the file to write, ending in ``.onnx``.
        size: lengths of the input, in samples; default those that the weights want.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
    Raises:
        UsageError: a path or a size that cannot be, weights beyond the format's 2 GiB, or a graph
            that disagrees with the model.
    """
    target = _checked_path(path, ".onnx")
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    if weights > LARGEST_ONNX:
        raise UsageError(
            f"{weights / 2**30:.1f} GiB of weights", "at most 2 GiB in an ONNX file",
            f"write {target.with_suffix('.pt2').name} instead",
        )  # fmt: skip
    import onnxruntime

    # Plain products: the exporter takes torch's fused attention apart in a way that views reject.
    program = export_program(model, size, dynamic=dynamic, backend="reference")
    graph = _onnx_graph(model, program)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / target.name
        graph.save(str(trial), external_data=False)
        session = onnxruntime.InferenceSession(trial, providers=["CPUExecutionProvider"])
    report = _compare(model, target, size, dynamic, _onnx_runner(session))
    for key, value in _description(model, report).items():
        graph.model.metadata_props[f"vitrail.{key}"] = json.dumps(value)
    with whole_or_absent(target) as temporary:
        graph.save(str(temporary), external_data=False)
    return report


@contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of ``path`` once it is written."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _onnx_graph(model: Backbone, program: ExportedProgram) -> Any:
    names = [f"features_{stage}" for stage in model.out_indices] if model.bare else ["logits"]
    with warnings.catch_warnings():
        # About torch's own use of what it deprecates, and about names it gives to sizes.
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            program, (), dynamo=True, verbose=False, input_names=["input"], output_names=names
        )


def _onnx_runner(session: Any) -> Runner:
    def run(x: Tensor) -> list[Tensor]:
        return [torch.from_numpy(out) for out in session.run(None, {"input": x.cpu().numpy()})]

    return run


def _outputs(out: Any) -> list[Tensor]:
    return [out] if isinstance(out, Tensor) else list(out)


def _compare(
    model: Backbone, path: Path, size: int | Size | None, dynamic: bool, run: Runner
) -> ExportReport:
    """Run inputs through the model and what was exported, and report how they agree."""
    size = _checked_size(model, size, dynamic)
    smallest, largest = size_range(model) if dynamic else (size, size)
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    shapes, worst = _trial_shapes(model, size) if dynamic else ((1, *size),), 0.0
    for batch, *lengths in shapes:
        x = torch.randn(batch, model.config.in_channels, *lengths, generator=generator)
        x = x.to(parameter.device, parameter.dtype)
        with _as_it_runs(model), torch.no_grad():
            expected = _outputs(model(x))
        try:
            found = run(x)
        except RuntimeError as error:  # torch asserts more of some lengths than the model does
            raise UsageError(
                f"an exported graph that refuses an input of {(batch, *lengths)}: {error}",
                "graphs that serve every size from the least up",
                "write an .onnx file, or export one size (dynamic=False, --static)",
            ) from None
        for ours, theirs in zip(expected, found, strict=True):
            unit = max(1.0, ours.abs().max().item())
            difference = (ours.cpu() - theirs.cpu()).abs().max().item() / unit
            if not difference <= TOLERANCE:
                raise UsageError(
                    f"an exported graph that differs by {difference:.1e} on {tuple(lengths)}",
                    f"at most {TOLERANCE:.0e}",
                    "export one size (dynamic=False, --static), and report this as a bug",
                )
            worst = max(worst, difference)
    batches = (1, LARGEST_BATCH) if dynamic else (1, 1)
    return ExportReport(path, smallest, largest, batches, shapes, worst)


def _trial_shapes(model: Backbone, size: Size) -> tuple[Size, ...]:
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


def _example_size(model: Backbone) -> Size:
    """Return a size at which every stage has several windows and pads the last, on every axis."""
    strides, longest = model.config.stage_strides[-1], map(max, _extents(model))
    return tuple(
        math.prod(pair) * 2 + 3 * axis + 5
        for axis, pair in enumerate(zip(strides, longest, strict=True))
    )


def _check_blocks(model: Backbone) -> None:
    """Refuse blocks whose length is the root of a length that no graph knows."""
    for pattern in itertools.chain.from_iterable(_patterns(model)):
        if isinstance(pattern, SparseFixed | SparseStrided) and pattern.block is None:
            raise UsageError(
                "sparse attention in blocks of ceil(sqrt(N)) tokens, N of any size",
                "one size, as neither format takes the root of a length",
                "export one size (dynamic=False, --static)",
            )


def _patterns(model: Backbone) -> list[list[Pattern]]:
    """Return who sees whom in each stage, layer by layer."""
    return [
        [m.pattern for m in stage.modules() if isinstance(getattr(m, "pattern", None), Pattern)]  # type: ignore[misc]
        for stage in model.stages
    ]


def _extents(model: Backbone, stages: int | None = None) -> list[list[int]]:
    """Return for each axis the lengths, in tokens, at which a pattern of some stage switches."""
    lengths: list[list[int]] = [[1] for _ in range(model.config.axes)]
    for pattern in itertools.chain.from_iterable(_patterns(model)[:stages]):
        fields = (getattr(pattern, name, None) for name in ("size", "window", "reduction"))
        for axis, length in enumerate(next(filter(None, fields), ())):
            lengths[axis].append(length)
    return lengths


@contextmanager
def _as_it_runs(
    model: Backbone, *, full_windows: bool = False, backend: str | None = None
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
            if full_windows and layer.pattern.shift_rule in ("clamp", "shortest"):
                layer.pattern = replace(layer.pattern, shift_rule="axis")
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for layer, pattern in zip(layers, before[0], strict=True):
            layer.pattern = pattern
        for call, chosen in zip(calls, before[1], strict=True):
            call.backend = chosen


def _checked_size(model: Backbone, size: int | Size | None, dynamic: bool) -> Size:
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


def _checked_path(path: str | Path, suffix: str) -> Path:
    target = Path(path)
    if target.suffix != suffix:
        raise UsageError(
            f"path={str(path)!r}", f"a file ending in {suffix}", f"use {target.stem}{suffix}"
        )
    if not target.parent.is_dir():
        raise UsageError(
            f"path={str(path)!r}", "a file in a folder that exists", f"mkdir -p {target.parent}"
        )
    return target


def _description(model: Backbone, report: ExportReport) -> dict[str, Any]:
    preprocessing = model.preprocessing
    return {
        "model": model.name or type(model).__name__,
        "smallest": report.smallest,
        "largest": report.largest,
        "batch": report.batch,
        "size": preprocessing.size,
        "crop": preprocessing.crop,
        "interpolation": preprocessing.interpolation,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "classes": preprocessing.classes,
    }
