"""Models with 8-bit integers for weights and activations, by each runtime's own quantiser.

Only layers with weights are quantised by ONNX Runtime's (linear layers and convolutions): they are
most of a model's time, while scores and softmax between them keep float32. OpenVINO's (NNCF) also
quantises the products of attention.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.export.agreement import ExportReport, Runner, outputs
from vitrail.export.onnx import ENDING as ONNX
from vitrail.export.onnx import export_onnx, open_onnx
from vitrail.export.openvino import ENDING as OPENVINO
from vitrail.export.openvino import export_openvino, open_openvino
from vitrail.export.photos import Photos
from vitrail.export.program import as_it_runs
from vitrail.export.quantisers import quantise_onnx, quantise_openvino
from vitrail.export.sizes import Exported, checked_size, size_range
from vitrail.files import files_of, whole_or_absent
from vitrail.shapes import Size
from vitrail.threads import wait_for_idle_threads
from vitrail.weights.save import checked_target

LARGEST_ERROR = 0.5  # of the outputs' norm; beyond it a file is of no use
_BATCH = 10  # calibration inputs in one call, where the graph takes several
_ROUNDS, _TIMING = 30, 5.0  # turns at most, and seconds after which no other begins


@dataclass(frozen=True, slots=True)
class Int8Report:
    """What quantising a model changed.

    Args:
        whole: how the float32 file agreed with the model, before it was quantised.
        path: the 8-bit file.
        inputs: how many inputs the ranges of numbers were taken from.
        file_bytes: sizes of the float32 file and of the 8-bit one.
        error: norm of the outputs' change over the norm of the outputs, on those inputs.
        same: share of those inputs, or of their samples, whose first guess is the model's; None
            without a head.
        batch: how many inputs were put in at once.
        seconds: of such a batch, with the float32 file and with the 8-bit one: medians of runs in
            turns, with as many threads as the runtime takes; None unless ``timed``.
    """

    whole: ExportReport
    path: Path
    inputs: int
    file_bytes: tuple[int, int]
    error: float
    same: float | None
    batch: int
    seconds: tuple[float, float] | None


def export_int8(
    model: Exported,
    path: str | Path,
    images: Iterable[Float[Tensor, "channels *spatial"]],
    size: int | Size | None = None,
    *,
    dynamic: bool = True,
    photos: Photos = None,
    timed: bool = False,
) -> Int8Report:
    """Write a model in 8-bit integers, for ONNX Runtime or OpenVINO.

    The float32 file is made and compared with the model first; ranges of activations come from
    images such as the model will see, preprocessed for it: some hundreds are enough.

    Args:
        model: a backbone, or a model of segmentation; it is not changed.
        path: the file to write, ending in ``.onnx`` or ``.xml``.
        images: inputs of one size that the graph serves, for calibration.
        size: lengths of the input, in samples; default those of the weights' preprocessing.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        photos: files of photos to compare the float32 file on.
        timed: also run both files in turns, for a few seconds.
    Raises:
        UsageError: a path or a size that cannot be, no images or images of a size that the graph
            does not serve, or a graph that is no longer the model.
    """
    target = checked_target(path, (ONNX, OPENVINO))
    batches = _batches(model, list(images), checked_size(model, size, dynamic), dynamic)
    write = export_onnx if target.suffix == ONNX else export_openvino
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / f"float{target.suffix}"
        whole = write(model, plain, size, dynamic=dynamic, photos=photos)
        with whole_or_absent(target) as temporary:
            quantise = quantise_onnx if target.suffix == ONNX else quantise_openvino
            quantise(plain, temporary, [batch.cpu().numpy() for batch in batches])
            open_file = open_onnx if target.suffix == ONNX else open_openvino
            run = open_file(temporary)
            error, same = _change(model, run, batches)
            sizes = _bytes(plain), _bytes(temporary)
            seconds = _seconds(open_file(plain), run, batches[0]) if timed else None
    count = sum(map(len, batches))
    return Int8Report(whole, target, count, sizes, error, same, len(batches[0]), seconds)


def _batches(model: Exported, images: list[Tensor], size: Size, dynamic: bool) -> list[Tensor]:
    if not images:
        raise UsageError(
            "no images to calibrate with",
            "some hundreds of inputs such as the model will see",
            "give images (--calibrate DATA)",
        )
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise UsageError(
            f"images of {len(shapes)} sizes to calibrate with: {sorted(shapes)[:3]}",
            "images of one size",
            "resize and crop them: vitrail.transform(model)",
        )
    (shape,) = shapes
    smallest, largest = size_range(model) if dynamic else (size, size)
    least, most = ((model.config.in_channels, *lengths) for lengths in (smallest, largest))
    if len(shape) != len(least) or not all(map(_between, least, shape, most)):
        raise UsageError(
            f"images of shape {shape} to calibrate with",
            f"{least} to {most}" if dynamic else f"{least}",
            "prepare them: vitrail.transform(model)",
        )
    count = _BATCH if dynamic else 1
    return [torch.stack(images[i : i + count]) for i in range(0, len(images), count)]


def _between(least: int, n: int, most: int) -> bool:
    return least <= n <= most


def _change(model: Exported, run: Runner, batches: list[Tensor]) -> tuple[float, float | None]:
    """Return the relative change of the outputs, and the share of unchanged first guesses."""
    parameter = next(model.parameters())
    squares, changes, same, count = 0.0, 0.0, 0.0, 0
    for batch in batches:
        with as_it_runs(model), torch.no_grad():
            expected = outputs(model(batch.to(parameter.device, parameter.dtype)))
        for ours, theirs in zip(expected, run(batch), strict=True):
            squares += ours.double().square().sum().item()
            changes += (ours.cpu().double() - theirs.double()).square().sum().item()
            guesses = (ours.cpu().argmax(1) == theirs.argmax(1)).reshape(len(batch), -1)
            same += guesses.double().mean(1).sum().item()
        count += len(batch)
    error = (changes / max(squares, 1e-30)) ** 0.5
    if not error <= LARGEST_ERROR:
        raise UsageError(
            f"an 8-bit graph whose outputs change by {error:.0%} of their norm",
            f"at most {LARGEST_ERROR:.0%}",
            "calibrate with more images, such as the model will see, or export without int8",
        )
    return error, None if model.head is None else same / count


def _seconds(before: Runner, after: Runner, batch: Tensor) -> tuple[float, float]:
    """Return how long both take, in turns, so that what slows the machine slows both."""
    found: tuple[list[float], list[float]] = [], []
    for run in (before, after):
        run(batch)  # allocates
    end = time.perf_counter() + _TIMING
    while not found[0] or (len(found[0]) < _ROUNDS and time.perf_counter() < end):
        for run, seconds in zip((before, after), found, strict=True):
            wait_for_idle_threads()
            start = time.perf_counter()
            run(batch)
            seconds.append(time.perf_counter() - start)
    return statistics.median(found[0]), statistics.median(found[1])


def _bytes(path: Path) -> int:
    return sum(os.path.getsize(file) for file in files_of(path))
