"""Run a model and what was exported of it on the same inputs: noise of many sizes, and photos."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.data.images import open_photo
from vitrail.errors import UsageError
from vitrail.export.photos import Photos, photo_inputs
from vitrail.export.program import as_it_runs
from vitrail.export.sizes import (
    LARGEST_BATCH,
    Exported,
    checked_size,
    size_range,
    trial_shapes,
)
from vitrail.models import TaskModel, check_original
from vitrail.shapes import Size
from vitrail.tasks import task_of

TOLERANCE = 1e-4  # of the largest output, or absolute where outputs are below one

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
        photos: names of the photos among those inputs.
    """

    path: Path
    smallest: Size
    largest: Size
    batch: tuple[int, int]
    checked: tuple[Size, ...]
    difference: float
    photos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported, and on which inputs it has to agree.

    Args:
        model: what ``checked_size`` takes.
        path: the file to write.
        size: lengths of the input, in samples.
        dynamic: serve batches and sizes of the whole ``size_range``, not one input of ``size``.
        photos: files of photos to compare on; None for those that scikit-image brings along.
    """

    model: Exported
    path: Path
    size: Size
    dynamic: bool
    photos: Photos = None

    @property
    def lengths(self) -> tuple[Size, Size]:
        """Least and greatest lengths of an input, in samples."""
        return size_range(self.model) if self.dynamic else (self.size, self.size)

    @property
    def batch(self) -> tuple[int, int]:
        """Least and greatest number of inputs in one call."""
        return (1, LARGEST_BATCH) if self.dynamic else (1, 1)


def ordered(
    model: Exported, path: Path, size: int | Size | None, dynamic: bool, photos: Photos
) -> Order:
    """Return what is to be exported, after checking the size and the photos.

    Raises:
        UsageError: a size that the model does not take, a photo that cannot be read, or a copy that
            ``vitrail.optimize`` made.
    """
    check_original(model)
    for photo in photos or ():
        open_photo(photo)  # known now, not after the graph was made
    return Order(model, path, checked_size(model, size, dynamic), dynamic, photos)


def compare(order: Order, run: Runner) -> ExportReport:
    """Run inputs through the model and what was exported, and report how they agree.

    Args:
        order: what was exported.
        run: runs it.
    Raises:
        UsageError: it disagrees, or refuses an input that it should serve.
    """
    shapes, names, worst = [], [], 0.0
    for name, x in _inputs(order):
        with as_it_runs(order.model), torch.no_grad():
            expected = outputs(order.model(x))
        worst = max(worst, _difference(name, x, expected, _run(run, name, x)))
        shapes.append((x.shape[0], *x.shape[2:]))
        names += [] if name.startswith("noise") else [name]
    smallest, largest = order.lengths
    photos = tuple(dict.fromkeys(names))
    return ExportReport(order.path, smallest, largest, order.batch, tuple(shapes), worst, photos)


def outputs(out: Any) -> list[Tensor]:
    """Return a model's logits or maps as a list."""
    return [out] if isinstance(out, Tensor) else list(out)


def description(order: Order) -> dict[str, Any]:
    """Return what a file says of itself: preprocessing, classes and sizes; its task."""
    model = order.model
    preprocessing, (smallest, largest) = model.preprocessing, order.lengths
    about: dict[str, Any] = {
        "model": model.name or type(model).__name__,
        "smallest": smallest,
        "largest": largest,
        "batch": order.batch,
        "size": preprocessing.size,
        "crop": preprocessing.crop,
        "interpolation": preprocessing.interpolation,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "classes": preprocessing.classes,
    }
    if isinstance(model, TaskModel):
        task = task_of(model)
        about |= {"classes": task.classes, "task": task.name, "options": asdict(task.options)}
    return about


def output_names(model: Exported) -> list[str]:
    """Return what a file calls its outputs."""
    if isinstance(model, TaskModel) or not model.bare:
        return ["logits"]
    return [f"features_{stage}" for stage in model.out_indices]


def _inputs(order: Order) -> Iterator[tuple[str, Float[Tensor, "batch channels *spatial"]]]:
    model, parameter = order.model, next(order.model.parameters())
    generator = torch.Generator().manual_seed(0)
    shapes: Sequence[Size] = ((1, *order.size),)
    if order.dynamic:
        shapes = trial_shapes(model, order.size)
    for batch, *lengths in shapes:
        x = torch.randn(batch, model.config.in_channels, *lengths, generator=generator)
        yield f"noise of {tuple(lengths)}", x.to(parameter.device, parameter.dtype)
    for name, x in photo_inputs(model, order.photos, order.size, dynamic=order.dynamic):
        yield name, x.to(parameter.device, parameter.dtype)


def _run(run: Runner, name: str, x: Tensor) -> list[Tensor]:
    try:
        return run(x)
    except RuntimeError as error:  # torch asserts more of some lengths than the model does
        raise UsageError(
            f"an exported graph that refuses {name}, batch {x.shape[0]}: {error}",
            "graphs that serve every size from the least up",
            "write an .onnx file, or export one size (dynamic=False, --static)",
        ) from None


def _difference(name: str, x: Tensor, expected: list[Tensor], found: list[Tensor]) -> float:
    worst = 0.0
    for ours, theirs in zip(expected, found, strict=True):
        unit = max(1.0, ours.abs().max().item())
        difference = (ours.cpu() - theirs.cpu()).abs().max().item() / unit
        if not difference <= TOLERANCE:
            raise UsageError(
                f"an exported graph that differs by {difference:.1e} on {name}, "
                f"{tuple(x.shape[2:])}",
                f"at most {TOLERANCE:.0e}",
                "export one size (dynamic=False, --static), and report this as a bug",
            )
        worst = max(worst, difference)
    return worst
