"""What `vitrail predict` writes and prints of any task's predictions."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.cli._failures import printable
from vitrail.cli._shared import print_json, prints, to_json
from vitrail.errors import UsageError
from vitrail.files import check_apart, check_folder, check_writable, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from vitrail.data.inputs import Input
    from vitrail.tasks import Prediction

TABLES = (".json", ".csv")


@dataclass(frozen=True)
class Places:
    """Where results go.

    Args:
        table: a file for all answers.
        folder: for the files and the journal of any number of inputs.
        files: of each input, by its name and by what they hold.
    """

    table: Path | None = None
    folder: Path | None = None
    files: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)

    def of(self, name: str) -> Mapping[str, Path]:
        """The files of one input, by what they hold."""
        return self.files.get(name, {})


def is_folder(output: Path | None) -> bool:
    """Return whether ``--output`` names a folder: one that is there, or a name without ending."""
    return output is not None and (output.is_dir() or not output.suffix)


def check_output(output: Path | None, *read: str | None) -> None:
    """Refuse a table that cannot be written, before anything is opened.

    Raises:
        UsageError: it would be written over what is read, or cannot be written.
    """
    if output is not None and output.suffix.lower() in TABLES:
        check_apart(output, *read)
        check_writable(output)


def places_of(
    output: Path | None, kind: "type[Prediction]", inputs: "list[Input]", *read: str | None
) -> Places:
    """Return where the results of ``inputs`` go.

    Args:
        output: a table, a folder, or the file of one input's result.
        kind: of the predictions.
        inputs: to be predicted.
        read: other files that are read, which may not be written over.
    Raises:
        UsageError: two inputs would have one file, or it cannot be written.
    """
    if output is None:
        return Places()
    ending = output.suffix.lower()
    if not is_folder(output) and ending in TABLES:
        check_apart(output, *(one.name for one in inputs))
        return Places(table=output)
    if is_folder(output):
        check_folder(output, "--output")
        files = {
            one.name: {
                what: output / one.place.with_name(one.place.name + end)
                for what, end in kind.files(one.name).items()
            }
            for one in inputs
        }
    else:
        files = {inputs[0].name: _of_one(output, kind, inputs)}
    _check_files(files, read)
    return Places(folder=output if is_folder(output) else None, files=files)


def _of_one(output: Path, kind: "type[Prediction]", inputs: "list[Input]") -> dict[str, Path]:
    known = [ending for ending in kind.endings if output.name.lower().endswith(ending)]
    if not known:
        allowed = ", ".join((*TABLES, *kind.endings))
        raise UsageError(
            given=f"--output {output}, which ends in {output.suffix}",
            allowed=f"a file ending in {allowed}, or a folder",
            fix=f"use --output {output.with_suffix((*kind.endings, '.json')[0])}",
        )
    if len(inputs) > 1:
        raise UsageError(
            given=f"--output {output} for the results of {len(inputs)} inputs",
            allowed="a folder, or one input",
            fix=f"use --output {output.with_suffix('')}",
        )
    check_writable(output)
    stem = output.name[: -max(map(len, known))]
    first, *others = kind.files(inputs[0].name).items()
    return {first[0]: output, **{what: output.with_name(stem + end) for what, end in others}}


def _check_files(files: Mapping[str, Mapping[str, Path]], read: Sequence[str | None]) -> None:
    """Refuse to write over what is read, and two results into one file."""
    by_file: dict[Path, str] = {}
    there: set[Path] = {path for own in files.values() for path in own.values() if path.exists()}
    for name, own in files.items():
        for what, path in own.items():
            if by_file.setdefault(path, name) != name:
                raise UsageError(
                    given=f"{by_file[path]} and {name}, whose {what}s would both be {path}",
                    allowed="inputs of one folder whose names differ before their endings",
                    fix="predict them one after the other, each with a folder of its own",
                )
    inputs = {_identity(name): name for name in files}
    for path in there:
        check_apart(path, inputs.get(_identity(path)), *read)


def _identity(path: str | Path) -> tuple[int, int] | None:
    """The file that a path leads to, whatever links are on the way."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return facts.st_dev, facts.st_ino


def write_table(
    answers: list[dict[str, Any]],
    facts: Mapping[str, Any],
    kind: "type[Prediction]",
    path: Path | None,
    ending: str,
) -> None:
    """Write all answers as JSON or CSV to a file, or to stdout."""
    if ending == ".json" and path is None:
        return print_json({**facts, "photos": answers})
    text = to_csv(answers, kind)
    if ending == ".json":
        text = to_json({**facts, "photos": answers}) + "\n"
    if path is None:
        print(text, end="")
    else:
        write_text(path, text)
        print(path)


def to_csv(answers: Iterable[dict[str, Any]], kind: "type[Prediction]") -> str:
    """Return the rows of all predictions below one line of names."""
    text = io.StringIO()
    columns = ("photo", *kind.columns)
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for answer in answers:
        for row in [] if "error" in answer else kind.rows(answer):
            shown = {k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()}
            table.writerow({"photo": answer["photo"], **shown})
    return text.getvalue()


def print_answer(out: "Console", answer: dict[str, Any], kind: "type[Prediction]") -> None:
    """Print an input's name, its answer with bars, and what was written."""
    from rich.text import Text

    from vitrail.explorer import single_line

    block = "█" if prints("█") else "#"
    out.print(Text(single_line(answer["photo"]), style="bold"))
    for note in answer.get("notes", ()):
        out.print(Text(f"  {note}", style="dim"))
    files = kind.files(answer["photo"])
    own = answer.keys() - {"photo", "stamp", *files}
    lines = kind.lines({key: value for key, value in answer.items() if key in own})
    width = max((len(single_line(text)) for text, share in lines if share is not None), default=0)
    for text, share in lines:
        if share is None:
            out.print(Text(f"  {single_line(text)}"))
            continue
        out.print(f"  {single_line(text):<{width}} {share:6.1%} ", end="", markup=False)
        out.print(Text(block * round(30 * share), style="blue"))
    for what in files:
        if what in answer:
            # Whole and on one line, to be copied: a path may be longer than what is only a name.
            where = printable(answer[what].replace("\n", "?"))
            out.print(Text(f"  {what}: {where}", style="dim"), soft_wrap=True)


def is_written(answer: Mapping[str, Any], stamp: Any, files: Mapping[str, Path]) -> bool:
    """Return whether an answer of before is of the input as it is now, and its files are there."""
    same = stamp is not None and answer.get("stamp") == list(stamp) and "error" not in answer
    return same and all(
        answer.get(what) == str(path) and path.exists() for what, path in files.items()
    )
