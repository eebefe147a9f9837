"""`vitrail predict`: what a model answers for photos: classes, or masks."""

import csv
import glob
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from vitrail.cli import _masks
from vitrail.cli._failures import printable
from vitrail.cli._models import OptionalModel, OptionalWeights, choose_device, load_model
from vitrail.cli._shared import (
    DeviceOption,
    JsonOption,
    SizeOption,
    parse_size,
    print_json,
    prints,
    progress,
    size_words,
    to_json,
)
from vitrail.errors import UsageError
from vitrail.files import check_apart, check_writable, write_text

if TYPE_CHECKING:
    from vitrail.data.images import Photo
    from vitrail.models import Backbone
    from vitrail.tasks import Task

MAX_ERRORS = 5  # photos that cannot be opened, shown in full


def run(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO...",
            help="Picture files (JPEG, PNG, WebP, ...), folders of them, patterns such as "
            "'photos/*.jpg', or - for a picture on standard input.",
        ),
    ],
    model: OptionalModel = None,
    weights: OptionalWeights = None,
    top: Annotated[int, typer.Option("--top", "-k", help="Classes to show for each photo.")] = 5,
    size: SizeOption = None,
    device: DeviceOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the answers to this file: .json or .csv; of a model that segments, the "
            "mask and an overlay: a .png or .tif file, or a folder for several photos.",
        ),
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: photo, rank, class, probability.")
    ] = False,
) -> None:
    """Classify or segment photos, and print the most probable classes or the shares of each.

    Each photo is resized and cropped to the size that the weights were trained at, if --size names
    no other. Among several photos, one that cannot be opened is reported on stderr and the others
    are still classified; the exit code is then 2. A model that segments answers with the share of
    each class, the number of objects where it finds such, and a mask of the photo's own size.
    """
    from vitrail.models import TaskModel
    from vitrail.tasks import task_of

    if top < 1:
        raise UsageError(given=f"--top {top}", allowed="1 or more", fix="use --top 5")
    if as_json and as_csv:
        raise UsageError("--json and --csv together", "one of them", "leave one out")
    lengths: Any = parse_size(size)
    names = list(expand(photos))
    if output is not None and output.suffix in _masks.TABLES:
        check_apart(output, model, weights, *names)
        check_writable(output)
    loaded, source = load_model(model, weights, any_task=True)
    segments = isinstance(loaded, TaskModel)
    masks = _masks.mask_files(output, names, model, weights) if segments else {}
    if masks:
        output = None
    if output is not None and output.suffix not in _masks.TABLES:
        raise UsageError(f"--output {output}", "a .json or .csv file", "use answers.json")
    task = task_of(loaded)
    loaded = loaded.to(choose_device(device))
    own = loaded.preprocessing.size
    facts = {"weights": source, "size": list(lengths or own), "trained_size": list(own)}
    if segments and lengths is None:
        facts = {"weights": source, "size": None}
    answers = answer_all(task, loaded, names, top, lengths, masks)
    if as_json or as_csv or output is not None:
        found = list(answers)
        failed = any("error" in answer for answer in found)
        if as_json or (output is not None and output.suffix == ".json"):
            write_answers({**facts, "photos": found}, None if as_json else output)
        if as_csv or (output is not None and output.suffix == ".csv"):
            write_csv(found, None if as_csv else output)
    else:
        failed = print_text(answers, facts, trained=loaded.preprocessing.trained)
    if failed:
        raise typer.Exit(2)


def expand(photos: list[str]) -> Iterator[str]:
    """Yield the picture files that arguments stand for; "-" stays as it is.

    Args:
        photos: files, folders, which are searched with the folders in them, and patterns.
    Raises:
        UsageError: a folder without a picture, or a pattern that nothing matches.
    """
    from vitrail.data.sources import image_files

    for given in photos:
        if Path(given).is_dir():
            found = [str(Path(given) / name) for name in image_files(Path(given), Path(given))]
            if not found:
                raise UsageError(
                    f"the folder {given!r}, which holds no picture",
                    "a folder with files such as .jpg, .png or .webp",
                    "name the pictures themselves, if their names end otherwise",
                )
            yield from found
        elif glob.has_magic(given) and not Path(given).exists():
            found = sorted(glob.glob(given, recursive=True))
            if not found:
                raise UsageError(
                    f"the pattern {given!r}, which no file matches",
                    "a pattern such as 'photos/*.jpg'",
                    "check the path; relative paths start at the current folder",
                )
            yield from expand(found)  # matches are there, and so no patterns
        else:
            yield given


def answer_all(
    task: "Task",
    model: "Backbone",
    names: list[str],
    top: int,
    size: tuple[int, int] | None,
    masks: dict[str, Path],
) -> Iterator[dict[str, Any]]:
    """Yield the answer for each photo; errors of some of several photos are shown on stderr.

    Raises:
        ImageError: the only photo cannot be opened.
    """
    from vitrail.data.images import ImageError
    from vitrail.tasks.classify import Classification
    from vitrail.tasks.segmentation import Segmentation

    failed = 0
    # Where answers are printed in a terminal as they come, they show the progress themselves.
    with progress(hidden=len(names) == 1 or sys.stdout.isatty()) as bar:
        for name in bar.track(names, description="predicting"):
            try:
                photo = read_photo(name)
            except ImageError as error:
                if len(names) == 1:
                    raise
                failed += 1
                if failed <= MAX_ERRORS:
                    print(printable(str(error)), file=sys.stderr)
                yield {"photo": name, "error": error.given}
                continue
            found = task.predict(model, photo, size)
            if isinstance(found, Segmentation):
                yield {"photo": name, **_masks.answer(found, masks.get(name))}
                continue
            assert isinstance(found, Classification)
            yield {"photo": name, **found.as_dict(top)}
    if failed > MAX_ERRORS:
        print(
            f"{failed} of {len(names)} photos cannot be opened; --json gives all reasons",
            file=sys.stderr,
        )


def read_photo(name: str) -> "Photo":
    """Open a file, or decode what comes on standard input for "-".

    Raises:
        ImageError: it cannot be read.
    """
    from vitrail.data.images import MAX_BYTES, decode, open_photo

    if name == "-":
        return decode(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    return open_photo(name)


def write_answers(answer: dict[str, Any], path: Path | None) -> None:
    """Write JSON to a file, or to stdout."""
    if path is None:
        print_json(answer)
    else:
        write_text(path, to_json(answer) + "\n")
        print(path)


def write_csv(answers: list[dict[str, Any]], path: Path | None) -> None:
    """Write one row a photo and class to a file, or to stdout."""
    if any("classes" in answer for answer in answers):
        return _write_shares(answers, path)
    rows: TextIO = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["photo", "rank", "class", "probability"])
    for answer in answers:
        for rank, row in enumerate(answer.get("top", ()), 1):
            writer.writerow([answer["photo"], rank, row["class"], f"{row['probability']:.6f}"])
    _write_rows(rows.getvalue(), path)


def _write_shares(answers: list[dict[str, Any]], path: Path | None) -> None:
    """Write one row a photo and class of a mask."""
    rows: TextIO = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["photo", "class", "pixels", "share", "objects"])
    for answer in answers:
        for row in answer.get("classes", ()):
            share = f"{row['share']:.6f}"
            objects = answer.get("objects", "")
            writer.writerow([answer["photo"], row["class"], row["pixels"], share, objects])
    _write_rows(rows.getvalue(), path)


def _write_rows(text: str, path: Path | None) -> None:
    if path is None:
        print(text, end="")
    else:
        write_text(path, text)
        print(path)


def print_text(answers: Iterator[dict[str, Any]], facts: dict[str, Any], *, trained: bool) -> bool:
    """Print each photo's classes with bars as they come; return whether a photo failed."""
    from rich.text import Text

    from vitrail.cli._shared import console
    from vitrail.explorer import single_line

    out, failed, block = console(), False, "█" if prints("█") else "#"
    for number, answer in enumerate(answers):
        if number == 0:  # not before a model that answers NaN, or a photo alone, has been refused
            sizes = "the photo's own size"
            if facts["size"] is not None:
                sizes = size_words(facts["size"], facts["trained_size"]) + " pixels"
            out.print(Text(f"{facts['weights']} at {sizes}", style="dim"))
            if not trained:
                out.print(
                    Text("These weights are untrained: the answers mean nothing.", style="yellow")
                )
        if "error" in answer:
            failed = True
            continue
        out.print(Text(single_line(answer["photo"]), style="bold"))
        for note in answer["notes"]:
            out.print(Text(f"  {note}", style="dim"))
        if "classes" in answer:
            _masks.print_masks(out, answer, block)
            continue
        width = max(len(single_line(row["class"])) for row in answer["top"])
        for row in answer["top"]:
            out.print(f"  {single_line(row['class']):<{width}} {row['probability']:6.1%} ", end="")
            out.print(Text(block * round(30 * row["probability"]), style="blue"))
    return failed
