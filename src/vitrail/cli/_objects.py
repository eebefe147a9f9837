"""What `vitrail cost --advise DATA` says of the objects in data."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.cli._shared import console, progress
from vitrail.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from vitrail.analysis import Cost

_WEIGHTS = ("*.safetensors", "*.bin", "*.pth", "*.pt")
Windows = dict[str, tuple[tuple[int, ...], ...] | None]


@dataclass(frozen=True)
class Measured:
    """Objects of data.

    Args:
        data: as given.
        images: that could be read.
        skipped: others.
        extents: lengths of each object along each axis, in samples of its image.
    """

    data: str
    images: int
    skipped: int
    extents: "np.ndarray"


def data_among(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part words into models and data: what is there, and is no checkpoint, is data."""
    from glob import glob, has_magic

    from vitrail.models import CATALOG
    from vitrail.weights.read import SUFFIXES

    data: list[str] = []
    for word in words:
        path = Path(word)
        weights = path.suffix in SUFFIXES or any(
            next(path.glob(kind), None) for kind in _WEIGHTS if path.is_dir()
        )
        there = path.exists() or (has_magic(word) and glob(word))
        if word not in CATALOG and there and not weights:
            data.append(word)
    return [word for word in words if word not in data], data


def measure(data: list[str]) -> Measured:
    """Measure the objects in data of any task that has such.

    Raises:
        UsageError: the data show none.
    """
    import numpy as np

    from vitrail.data.images import ImageError
    from vitrail.tasks import task_for

    task, _ = task_for(data)
    source = task.open(data, train=True, root=Path("."), download=False)
    part, _ = task.split(source, 0.0, 0)
    found: list[Any] = []
    skipped = 0
    with progress() as bar:
        for index in bar.track(part.indices.tolist(), description="objects"):
            try:
                found.append(task.extents(source, index))
            except ImageError:
                skipped += 1
    extents = np.concatenate(found) if found else np.empty((0, 1))
    if not len(extents):
        raise UsageError(
            given=f"{', '.join(data)}, whose {len(found)} readable label(s) show no object",
            allowed="label maps with something beside the background, or boxes",
            fix="leave the data out for advice on --size and --memory alone",
        )
    return Measured(", ".join(data), len(found), skipped, extents)


def as_dict(found: Measured, costs: "list[Cost]", windows: Windows) -> dict[str, Any]:
    """Return what is known of the objects as plain values, for JSON."""
    from vitrail.analysis import QUANTILES, quantiles, stage_fits

    def named(values: tuple[float, ...]) -> dict[str, float]:
        return {f"{q:g}": value for q, value in zip(QUANTILES, values, strict=True)}

    models = []
    for cost in costs:
        stages = stage_fits(cost, found.extents, windows.get(cost.model))
        rows = [{**asdict(stage), "tokens": named(stage.tokens)} for stage in stages]
        models.append({"model": cost.model, "stages": rows})
    return {
        "data": found.data,
        "images": found.images,
        "skipped": found.skipped,
        "count": len(found.extents),
        "samples": named(quantiles(found.extents)),
        "models": models,
    }


def print_objects(facts: dict[str, Any]) -> None:
    """Print how large objects are, and which windows hold them."""
    from rich.table import Table

    from vitrail.cli._cost_tables import _say

    skipped = f"; {facts['skipped']} image(s) cannot be read" if facts["skipped"] else ""
    _say(f"{facts['data']}: {facts['count']:,} objects in {facts['images']:,} images{skipped}")
    shown = ", ".join(f"{float(q):.0%} {value:.0f}" for q, value in facts["samples"].items())
    _say(f"samples along the longest axis, share of the objects up to it: {shown}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("model", "stage", "stride", "tokens 50 %", "90 %", "window", "fit", "whole"):
        table.add_column(column, justify="left" if column == "model" else "right")
    table.add_column("for 90 %", justify="right")
    for model in facts["models"]:
        for number, stage in enumerate(model["stages"], 1):
            window = stage["window"]
            table.add_row(
                model["model"] if number == 1 else "",
                str(number),
                "x".join(map(str, stage["stride"])),
                *(f"{stage['tokens'][q]:.1f}" for q in ("0.5", "0.9")),
                "-" if window is None else "x".join(map(str, window)),
                *("-" if stage[k] is None else f"{stage[k]:.0%}" for k in ("fits", "whole")),
                str(stage["needed"]),
            )
    console().print(table, width=80)
    _say("fit: objects no longer than the window; whole: objects in one window, wherever they lie")
    _say("for 90 %: tokens of the smallest window as long as nine of ten objects")


def draw(found: Measured, facts: dict[str, Any], path: Path) -> None:
    """Draw how many objects are up to how long, and the windows of the first model."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot

    from vitrail.files import write_whole

    figure, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    longest = np.sort(found.extents.max(1))
    axis.step(longest, np.arange(1, len(longest) + 1) / len(longest), where="post", color="k")
    for number, stage in enumerate(facts["models"][0]["stages"], 1):
        if stage["window"] is not None:
            width = math.prod((max(stage["stride"]), max(stage["window"])))
            axis.axvline(width, color=f"C{number}", label=f"window of stage {number}: {width}")
    axis.set(xlabel="samples along the longest axis", ylabel="share of the objects", xscale="log")
    axis.set_title(f"{facts['count']:,} objects, {facts['models'][0]['model']}")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="small")
    axis.grid(alpha=0.3)
    try:
        write_whole(path, lambda temporary: figure.savefig(temporary, dpi=150))
    finally:
        pyplot.close(figure)
