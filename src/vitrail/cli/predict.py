"""`vitrail predict`: what a model answers for any number of inputs, whatever its task."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._crew import Crew
from vitrail.cli._failures import printable
from vitrail.cli._journal import Journal, fingerprint
from vitrail.cli._models import OptionalModel, OptionalWeights, choose_device, load_model
from vitrail.cli._results import (
    Places,
    check_output,
    is_folder,
    is_written,
    places_of,
    print_answer,
    write_table,
)
from vitrail.cli._shared import (
    DeviceOption,
    JsonOption,
    SizeOption,
    console,
    parse_size,
    progress,
    size_words,
)
from vitrail.errors import UsageError
from vitrail.files import check_folder, write_text

if TYPE_CHECKING:
    from vitrail.data.inputs import Input
    from vitrail.tasks import Task

MAX_ERRORS = 5  # inputs that cannot be opened, shown in full
Answers = dict[str, dict[str, Any]]  # by the input's name


def run(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files (pictures: JPEG, PNG, WebP, ...; volumes: NIfTI), folders of them, "
            "patterns such as 'photos/*.jpg', or - for a picture on standard input.",
        ),
    ],
    model: OptionalModel = None,
    weights: OptionalWeights = None,
    top: Annotated[
        int | None, typer.Option("--top", "-k", help="Classes to show for each photo; default 5.")
    ] = None,
    size: SizeOption = None,
    device: DeviceOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where answers are written: a .json or .csv file, or a folder, which also gets "
            "masks and pictures, and which the same command continues after a kill; of one input, "
            "also the file of its mask or picture (.png; .nii.gz of a volume).",
        ),
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
) -> None:
    """Predict with a model of any task, and print or write what it answers.

    A classifier answers with its most probable classes, each photo resized and cropped to the size
    that the weights were trained at, if --size names no other. A model that segments answers with
    the share of each class, the number of objects where it finds such, and a mask of the photo's
    own size; a detector with the class, score and box of each object, in the photo's pixels: left,
    top, right, bottom.

    Among several inputs, one that cannot be opened is reported on stderr and the others are still
    predicted; the exit code is then 2. With -o FOLDER, results lie as the inputs lie in theirs;
    predictions.jsonl there has all answers. The same command once more predicts only what is
    missing or has changed.

    On several processes: torchrun --nproc-per-node N -m vitrail predict ...; each input is
    predicted once, and one process prints.
    """
    if top is not None and top < 1:
        raise UsageError(given=f"--top {top}", allowed="1 or more", fix="use --top 5")
    if as_json and as_csv:
        raise UsageError("--json and --csv together", "one of them", "leave one out")
    check_output(output, model, weights, *photos)
    loaded, source = load_model(model, weights, any_task=True)
    job = _job(loaded, photos, parse_size(size, axes=loaded.config.axes), top, device, output)
    places = places_of(output, job.task.answers, job.inputs, model, weights)
    known = {one.name: job.known[one.name] for one in job.inputs if job.is_done(one, places)}
    found = job.share(places, known) if job.crew.processes > 1 else job.each(places, known)
    if job.crew.rank:
        return
    facts = {"weights": source, **job.sizes}
    table = places.table.suffix.lower() if places.table else ".json" if as_json else ".csv"
    if as_json or as_csv or places.table:
        answers = list(reported(found, len(job.inputs)))
        write_table(answers, facts, job.task.answers, places.table, table)
    else:
        answers = print_text(reported(found, len(job.inputs)), facts, job)
    if job.journal is not None:
        job.journal.write(answers)
        for name, text in job.task.answers.together(answers, job.task.classes).items():
            write_text(job.journal.folder / name, text)
    if any("error" in answer for answer in answers):
        raise typer.Exit(2)


def _job(
    model: Any,
    words: list[str],
    size: tuple[int, ...] | None,
    top: int | None,
    device: str | None,
    output: Path | None,
) -> "Job":
    """Return what there is to do.

    Raises:
        UsageError: --top for answers without an order, no input, or a folder of other results.
    """
    from vitrail.data.inputs import inputs_of
    from vitrail.tasks import task_of

    task, crew = task_of(model), Crew()
    kind = task.answers
    if top is not None and not kind.ranked:
        raise UsageError(
            f"--top {top} for a model of task {task.name}",
            "a model whose answers have an order, such as a classifier",
            "leave --top out",
        )
    folder = output if is_folder(output) else None
    inputs, journal, known = inputs_of(words, task.suffixes, folder), None, Answers()
    own = None if task.any_size else list(model.preprocessing.size)
    sizes: dict[str, Any] = {"size": list(size) if size else own}
    if folder is not None:
        check_folder(folder, "--output")
        facts = {"model": fingerprint(model), "task": task.name, **sizes, "top": top}
        journal = Journal(folder, facts)
        known = crew.from_first(journal.take_over)
        files = [row.get(what) for row in known.values() for what in kind.files(row["photo"])]
        inputs = [one for one in inputs if one.name not in files]  # results beside their inputs
    if own:
        sizes["trained_size"] = own
    model = model.to(crew.device(choose_device(device)))
    return Job(task, model, inputs, size, top, sizes, crew, journal, known)


@dataclass(frozen=True)
class Job:
    """What a command has to do.

    Args:
        task: of the model.
        model: on its device.
        inputs: all of them.
        size: lengths of the input, if not the model's own.
        top: how many answers of one input, if not the task's own.
        sizes: the size in numbers, for the answers.
        crew: the processes that share the inputs.
        journal: of the folder of results.
        known: what an earlier command has answered.
    """

    task: "Task"
    model: Any
    inputs: "list[Input]"
    size: tuple[int, ...] | None
    top: int | None
    sizes: dict[str, Any]
    crew: Crew
    journal: Journal | None
    known: Answers

    def is_done(self, one: "Input", places: Places) -> bool:
        """Whether an input has been predicted as it is now, and its files are there."""
        answer = self.known.get(one.name)
        return answer is not None and is_written(answer, one.stamp(), places.of(one.name))

    def each(self, places: Places, known: Answers) -> Iterator[dict[str, Any]]:
        """Answers in the order of the inputs, as they come.

        Raises:
            ImageError: the only input cannot be opened.
        """
        # Where answers are printed in a terminal as they come, they show the progress themselves.
        with progress(hidden=len(self.inputs) == 1 or sys.stdout.isatty()) as bar:
            for one in bar.track(self.inputs, description="predicting"):
                yield known.get(one.name) or self.answer(one, places)

    def share(self, places: Places, known: Answers) -> list[dict[str, Any]]:
        """All answers in the order of the inputs; each process predicts its share of them.

        Raises:
            ImageError: the only input cannot be opened.
        """
        crew, own = self.crew, Answers()
        left = [one for one in self.inputs if one.name not in known]
        with progress(hidden=crew.rank > 0) as bar:
            mine = left[crew.rank :: crew.processes]
            for one in bar.track(mine, description=f"predicting (1 of {crew.processes} processes)"):
                own[one.name] = self.answer(one, places)
        found = dict(known)
        for answers in crew.gather(own):
            found |= answers
        crew.part()
        return [found[one.name] for one in self.inputs]

    def answer(self, one: "Input", places: Places) -> dict[str, Any]:
        """Predict one input and write what belongs to it."""
        from vitrail.data.images import ImageError

        try:
            opened = self.task.read(one.read())
        except ImageError as error:
            if len(self.inputs) == 1:
                raise
            return {"photo": one.name, "error": error.given, "lines": str(error)}
        stamp = one.stamp()
        found = self.task.predict(self.model, opened, self.size)
        found = found if self.top is None else found.best(self.top)
        answer = {"photo": one.name, **found.as_dict()}
        for what, path in places.of(one.name).items():
            answer[what] = str(found.save(path))
        if self.journal is not None:
            answer["stamp"] = stamp
            self.journal.append(self.crew.rank, answer)
        return answer


def reported(answers: Iterable[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Give answers on; those of inputs that cannot be opened are shown on stderr."""
    failed = 0
    for answer in answers:
        if "error" in answer:
            failed += 1
            lines = answer.pop("lines")
            if failed <= MAX_ERRORS:
                print(printable(lines), file=sys.stderr)
        yield answer
    if failed > MAX_ERRORS:
        print(
            f"{failed} of {count} photos cannot be opened; --json gives all reasons",
            file=sys.stderr,
        )


def print_text(
    answers: Iterable[dict[str, Any]], facts: dict[str, Any], job: Job
) -> list[dict[str, Any]]:
    """Print answers with bars as they come, and return them."""
    from rich.text import Text

    out, kept = console(), list[dict[str, Any]]()
    for answer in answers:
        if not kept:  # not before a model that answers NaN, or a photo alone, has been refused
            sizes = "each input's own size"
            if facts["size"] is not None:
                own = facts.get("trained_size", facts["size"])
                sizes = size_words(facts["size"], own) + " pixels"
            out.print(Text(f"{facts['weights']} at {sizes}", style="dim"))
            if not job.model.preprocessing.trained:
                note = "These weights are untrained: the answers mean nothing."
                out.print(Text(note, style="yellow"))
        kept.append(answer)
        if "error" not in answer:
            print_answer(out, answer, job.task.answers)
    return kept
