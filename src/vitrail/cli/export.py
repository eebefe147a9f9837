"""`vitrail export`: a model as a file for other runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli._models import OptionalWeights, load_model
from vitrail.cli._shared import JsonOption, complete_model, parse_size, print_json
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.export import ExportReport


def run(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Name out of `vitrail list`, or a checkpoint file.",
            autocompletion=complete_model,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file to write: .onnx, or .pt2 for torch.export."),
    ],
    weights: OptionalWeights = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size", help="Input size, e.g. 96x128; by default that of the model's weights."
        ),
    ] = None,
    static: Annotated[
        bool, typer.Option("--static", help="Fix the size, and a batch of one, in the graph.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a model to ONNX or torch.export.

    The graph takes any batch and a whole range of sizes, unless --static fixes one. It is compared
    with the model before the file is written: whole, or not at all.
    """
    if out.suffix not in (".onnx", ".pt2"):
        raise UsageError(
            f"-o {out}", "a file ending in .onnx or .pt2", f"use -o {out.with_suffix('.onnx')}"
        )
    from vitrail.export import export_onnx, export_pt2

    is_file = Path(model).is_file() and weights is None
    loaded, source = load_model(None, model) if is_file else load_model(model, weights)
    lengths = parse_size(size, axes=loaded.config.axes)
    write = export_onnx if out.suffix == ".onnx" else export_pt2
    report = write(loaded, out, lengths, dynamic=not static)
    if as_json:
        print_json(_as_json(report, source))
    else:
        print(f"{out}: {loaded.name or type(loaded).__name__}, weights: {source}")
        print(f"inputs: {_words(report)}")
        print(f"largest difference from the model: {report.difference:.1e} (on {_checked(report)})")


def _as_json(report: "ExportReport", source: str) -> dict[str, object]:
    return {
        "file": str(report.path),
        "weights": source,
        "smallest": report.smallest,
        "largest": report.largest,
        "batch": report.batch,
        "checked": report.checked,
        "difference": report.difference,
    }


def _words(report: "ExportReport") -> str:
    if report.smallest == report.largest:
        return f"{_times(report.smallest)}, one at a time"
    sizes = f"{_times(report.smallest)} to {_times(report.largest)} samples"
    return f"{sizes}, batches of {report.batch[0]} to {report.batch[1]}"


def _checked(report: "ExportReport") -> str:
    return ", ".join(_times(shape[1:]) for shape in report.checked)


def _times(lengths: tuple[int, ...]) -> str:
    return "x".join(map(str, lengths))
