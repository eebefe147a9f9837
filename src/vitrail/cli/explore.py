"""`vitrail explore`: what a model sees in a photo, as one offline HTML file or from a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    prints,
    say,
)
from vitrail.files import check_apart, check_writable

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
    check_writable(output)
    read = (photo, against_photo, model, weights, against, against_weights)
    check_apart(output, *read, instead="report.html")
    lengths = parse_size(size)
    from vitrail.data.images import open_photo

    for given in filter(None, (photo, against_photo)):
        open_photo(given)  # what is no picture is refused before models are read
    say("reading the model")
    loaded, source = load_model(model, weights, any_task=True)

    from vitrail.explorer import explore

    report = explore(loaded, photo, size=lengths, source=source, begin=say)
    if other:
        say("the second side")
        report = report.against(other.explore(loaded, source, photo, lengths, say))
    say("writing the report")
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
        "top": rows(report.manifest["answer"]),
        "trained_size": list(trained_size(report)),
        "top_at_trained_size": rows(answer_at_trained_size(report)),
        **covered(report),
        "report": str(path.resolve()),
    }


def covered(report: "Report") -> dict[str, list[dict[str, Any]]]:
    """Return what each class of a mask covers, with the keys that every verb uses."""
    found = report.manifest["outcome"]["classes"]
    keys = {"class": "label", "index": "class", "share": "share"}
    return {"mask": [{k: row[v] for k, v in keys.items()} for row in found]} if found else {}


def rows(answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the most probable classes with the keys that every verb uses."""
    return [
        {"class": row["label"], "index": row["class"], "probability": row["probability"]}
        for row in answer
    ]


def trained_size(report: "Report") -> tuple[int, ...]:
    """Return the size of the model's weights: the report's own, where it shows no other."""
    other = report.manifest["at_trained_size"]
    return tuple(other["size"] if other else report.trace.spatial)


def answer_at_trained_size(report: "Report") -> list[dict[str, Any]]:
    """Return the most probable classes at the size of the weights."""
    other = report.manifest["at_trained_size"]
    return other["answer"] if other else report.manifest["answer"]


def print_answer(report: "Report", path: Path) -> None:
    """Print the most probable classes and where the report is."""
    from rich.table import Table
    from rich.text import Text

    from vitrail.explorer import single_line

    facts, out = report.trace.model, console()
    size = " x ".join(map(str, report.trace.spatial))
    out.print(Text(f"{facts.name} on {size} pixels, weights: {single_line(facts.weights)}"))
    if not facts.trained:
        out.print(Text("These weights are untrained: the answer means nothing.", style="yellow"))
    table = Table(box=None, pad_edge=False, show_header=False)
    block = "█" if prints("█") else "#"
    covers = [(row["class"], row["share"]) for row in covered(report).get("mask", [])]
    for label, probability in report.top() or covers:
        bar = Text(block * round(30 * probability), style="blue")
        table.add_row(Text(single_line(label)), Text(f"{probability:6.1%}"), bar)
    out.print(table)
    if report.manifest["at_trained_size"]:
        best = answer_at_trained_size(report)[0]
        own = " x ".join(map(str, trained_size(report)))
        answer = f"{single_line(best['label'])} {best['probability']:.1%}"
        out.print(
            Text(f"The weights are for {own} pixels; there the answer is {answer} (as in predict).")
        )
    size_mb = path.stat().st_size / 1e6
    out.print(Text(f"Report: {path.resolve()} ({size_mb:.1f} MB); open it in any browser."))
