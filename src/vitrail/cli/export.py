"""`vitrail export`: a model as a file for other runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._models import ModelArgument, OptionalWeights, load_model
from vitrail.cli._shared import JsonOption, parse_size, print_json, progress
from vitrail.errors import UsageError
from vitrail.extras import install_words
from vitrail.files import check_apart

if TYPE_CHECKING:
    from vitrail.export import ExportReport

# What a file's name says of it; the longer ending first, as both end in .pt2.
_WRITERS = {
    ".aoti.pt2": "export_aot",
    ".pt2": "export_pt2",
    ".onnx": "export_onnx",
    ".xml": "export_openvino",
}
_INT8 = (".onnx", ".xml")


def run(
    model: ModelArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The file to write: .onnx; .xml for OpenVINO; .pt2 for torch.export; .aoti.pt2 "
            "for a model compiled for this machine (AOTInductor).",
        ),
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
    photo: Annotated[
        list[Path] | None,
        typer.Option(
            help="A photo to compare on, besides noise; may be repeated. By default three of "
            "scikit-image's, where that is installed."
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit integers, in a file for ONNX Runtime or OpenVINO.")
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="For --int8: labelled images such as the model will see: a folder of class "
            "folders, zips ('train-*.zip'), or torchvision:CIFAR10. May be repeated.",
        ),
    ] = None,
    images: Annotated[
        int, typer.Option(help="How many of them to calibrate with, drawn at random.", min=1)
    ] = 300,
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="For --int8: labelled images on which accuracy is measured before and after.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a model to ONNX, OpenVINO, torch.export or AOTInductor.

    The graph takes any batch and a whole range of sizes, unless --static fixes one. It is compared
    with the model, on noise and on photos, before the file takes its place: whole, or not at all.
    """
    _check_names(out, int8, calibrate, test)
    from vitrail.weights.save import checked_target

    checked_target(out, tuple(_WRITERS))  # before anything that takes time
    check_apart(out, model, weights, *(photo or ()), *(calibrate or ()), *(test or ()))
    loaded, source = load_model(model, weights, any_task=True)
    lengths = parse_size(size, axes=loaded.config.axes)
    about: dict[str, Any] = {"dynamic": not static, "photos": photo or None}
    if int8:
        from vitrail.bench.int8 import export_and_measure

        with progress() as bar:
            done = export_and_measure(
                loaded, out, lengths, calibrate or [], images, test, about, bar.track
            )
        report, more, lines = done.whole, done.answer, done.lines
    else:
        import vitrail.export

        write = next(name for ending, name in _WRITERS.items() if out.name.endswith(ending))
        report, more, lines = getattr(vitrail.export, write)(loaded, out, lengths, **about), {}, []
    if as_json:
        print_json(_as_json(report, out, source) | more)
        return
    print(f"{out}: {loaded.name or type(loaded).__name__}, weights: {source}")
    print(f"inputs: {_words(report)}")
    print(f"largest difference from the model: {report.difference:.1e} (on {_checked(report)})")
    print(f"photos among them: {', '.join(report.photos) or _no_photos(loaded)}")
    for line in lines:
        print(line)


def _check_names(
    out: Path, int8: bool, calibrate: list[str] | None, test: list[str] | None
) -> None:
    endings = _INT8 if int8 else tuple(_WRITERS)
    if not out.name.endswith(endings):
        raise UsageError(
            f"-o {out}" + (" with --int8" if int8 else ""),
            f"a file ending in {', '.join(endings[:-1])} or {endings[-1]}",
            f"use -o {out.with_suffix('.onnx') if out.stem.strip('.') else 'model.onnx'}",
        )
    if int8 and not calibrate:
        raise UsageError(
            "--int8 without images to calibrate with",
            "--calibrate DATA: a folder of class folders, zips, or torchvision:NAME",
            "add --calibrate 'train-*.zip'",
        )
    if not int8 and (calibrate or test):
        raise UsageError(
            "--calibrate or --test without --int8", "them with --int8 only", "add --int8"
        )


def _no_photos(model: Any) -> str:
    if not model.config.takes_photos:
        return "none (the model takes no colour images)"
    return f"none (to compare on some: {install_words('demo')}, or --photo FILE)"


def _as_json(report: "ExportReport", out: Path, source: str) -> dict[str, object]:
    return {
        "file": str(out),
        "weights": source,
        "smallest": report.smallest,
        "largest": report.largest,
        "batch": report.batch,
        "checked": report.checked,
        "difference": report.difference,
        "photos": report.photos,
    }


def _words(report: "ExportReport") -> str:
    if report.smallest == report.largest:
        return f"{_times(report.smallest)}, one at a time"
    sizes = f"{_times(report.smallest)} to {_times(report.largest)} samples"
    return f"{sizes}, batches of {report.batch[0]} to {report.batch[1]}"


def _checked(report: "ExportReport") -> str:
    return ", ".join(dict.fromkeys(_times(shape[1:]) for shape in report.checked))


def _times(lengths: tuple[int, ...]) -> str:
    return "x".join(map(str, lengths))
