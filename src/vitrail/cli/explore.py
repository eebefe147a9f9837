"""`vitrail explore`: what a model sees in a photo, as one offline HTML file or from a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli._against import (
    Against,
    AgainstOption,
    AgainstPhotoOption,
    AgainstSizeOption,
    AgainstWeightsOption,
)
from vitrail.cli._models import OptionalModel, OptionalWeights, load_model
from vitrail.cli._serve import HostOption, PortOption, ServeOption, check_options, serve_photo
from vitrail.cli._shared import (
    JsonOption,
    SizeOption,
    console,
    parse_size,
    print_json,
)
from vitrail.files import check_apart

if TYPE_CHECKING:
    from vitrail.explorer import Report


def run(
    photo: Annotated[
        Path | None,
        typer.Argument(help="A picture file: JPEG, PNG, WebP, ...; with --serve it may follow."),
    ] = None,
    model: OptionalModel = None,
    weights: OptionalWeights = None,
    size: SizeOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The report's file; an older one is replaced.",
            show_default="report.html",
        ),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: JsonOption = False,
    serve: ServeOption = False,
    port: PortOption = None,
    host: HostOption = None,
    against: AgainstOption = None,
    against_weights: AgainstWeightsOption = None,
    against_size: AgainstSizeOption = None,
    against_photo: AgainstPhotoOption = None,
) -> None:
    """Run a model on a photo and write a page that shows what it attends to.

    The page is one HTML file that needs no network: the prediction, the photo cut into patches,
    and for every block the windows, the shift and, for any token, where its attention goes.

    With --serve the same page comes from a server on this machine: photos of up to 2048 x 2048
    pixels are shown window by window, and the page can switch to other photos and models.

    With --against, --against-size or --against-photo the report holds two sides, A and B.
    """
    check_options(photo, serve, port, host, output)
    other = Against(model=against, weights=against_weights, size=against_size, photo=against_photo)
    other.check(serve)
    if serve:
        serve_photo(
            photo, model, weights, size, host=host, port=port, open_it=open_it, as_json=as_json
        )
        return
    assert photo is not None
    output = output or Path("report.html")
    check_apart(output, photo, against_photo, weights, against_weights, instead="report.html")
    lengths = parse_size(size)
    loaded, source = load_model(model, weights)

    from vitrail.explorer import explore

    report = explore(loaded, photo, size=lengths, source=source)
    if other:
        report = report.against(other.explore(loaded, source, photo, lengths))
    path = report.save(output)
    if as_json:
        print_json(summary(report, path))
    else:
        print_answer(report, path)
    if open_it:
        typer.launch(str(path.resolve()))


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
