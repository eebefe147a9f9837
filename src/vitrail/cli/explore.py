"""`vitrail explore`: what a model sees in a photo, as one offline HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli._shared import (
    JsonOption,
    SizeOption,
    complete_model,
    console,
    parse_size,
    print_json,
)
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.explorer import Report
    from vitrail.models import Backbone

DEFAULT_MODEL = "swin_nano"  # the model whose weights come with the package


def run(
    photo: Annotated[Path, typer.Argument(help="A picture file: JPEG, PNG, WebP, ...")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"Name out of `vitrail list`; by default what --weights hold, or {DEFAULT_MODEL}.",
            autocompletion=complete_model,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            "-w",
            help="A checkpoint file, 'bundled', a hub repository id (owner/name), or 'none' for "
            "random numbers.",
        ),
    ] = None,
    size: SizeOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The report's file; an older one is replaced.")
    ] = Path("report.html"),
    open_it: Annotated[
        bool, typer.Option("--open", help="Open the report in the browser.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a model on a photo and write a page that shows what it attends to.

    The page is one HTML file that needs no network: the prediction, the photo cut into patches,
    and for every block the windows, the shift and, for any token, where its attention goes.
    """
    if output.exists() and photo.exists() and output.samefile(photo):
        raise UsageError(
            f"-o {output}, which is the photo itself", "another file", "use -o report.html"
        )
    lengths = parse_size(size)
    loaded, source = load_model(model, weights)

    from vitrail.explorer import explore

    report = explore(loaded, photo, size=lengths, source=source)
    path = report.save(output)
    if as_json:
        print_json(summary(report, path))
    else:
        print_answer(report, path)
    if open_it:
        typer.launch(str(path.resolve()))


def load_model(name: str | None, weights: str | None) -> "tuple[Backbone, str]":
    """Return the model that the options ask for, and in words where its weights came from.

    Args:
        name: of the model, or None for the one the weights are of.
        weights: where they are; "none" for random numbers, None for the bundled ones.
    Raises:
        UsageError: a model without weights, where random ones were not asked for.
    """
    import torch

    from vitrail import create_model
    from vitrail.weights import model_from_file

    if weights == "none":
        torch.manual_seed(0)  # the same random numbers every time
        return create_model(name or DEFAULT_MODEL).eval(), "none: random numbers, seed 0"
    if weights is None:
        if name not in (None, DEFAULT_MODEL):
            raise UsageError(
                f"--model {name} without weights; none come with the package for it",
                "a checkpoint file, a hub repository id, or 'none' for random numbers",
                f"add --weights FILE, or --weights none to see untrained {name}",
            )
        weights = "bundled"
    if name is None:
        return model_from_file(weights), weights
    return create_model(name, weights=weights), weights


def summary(report: "Report", path: Path) -> dict[str, object]:
    """Return what `--json` prints."""
    facts = report.trace.model
    return {
        "model": facts.name,
        "weights": facts.weights,
        "trained": facts.trained,
        "sha256": facts.sha256,
        "size": list(report.trace.spatial),
        "top": [{"label": label, "probability": p} for label, p in report.top()],
        "report": str(path.resolve()),
    }


def print_answer(report: "Report", path: Path) -> None:
    """Print the most probable classes and where the report is."""
    from rich.table import Table
    from rich.text import Text

    from vitrail.explorer import plain

    facts, out = report.trace.model, console()
    size = " x ".join(map(str, report.trace.spatial))
    out.print(Text(f"{facts.name} on {size} pixels, weights: {plain(facts.weights)}"))
    if not facts.trained:
        out.print(Text("These weights are untrained: the answer means nothing.", style="yellow"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, probability in report.top():
        bar = Text("█" * round(30 * probability), style="blue")
        table.add_row(Text(plain(label)), Text(f"{probability:6.1%}"), bar)
    out.print(table)
    size_mb = path.stat().st_size / 1e6
    out.print(Text(f"Report: {path.resolve()} ({size_mb:.1f} MB); open it in any browser."))
