"""``python -m benchmarks.speed``: Vitrail beside every peer, and near the machine's limit."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli._failures import explain_failure, printable
from vitrail.cli._shared import complete_model, several_values
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.speed.cases import Case
    from benchmarks.speed.results import Options

Command = several_values("--size", "--batch")


def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names out of `vitrail list`; default those of the list of cases.",
            autocompletion=complete_model,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="inference, training, attention or linear; default all."),
    ] = None,
    size: Annotated[list[int] | None, typer.Option("--size", help="Only these sizes.")] = None,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", help="Only these numbers of inputs at once.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="fp32, bf16 or fp16; default all.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", help="Only this library beside ours, e.g. timm; default all."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", help="Only this setting, e.g. eager; default all."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results, one folder in it a machine.")
    ] = Path("benchmarks"),
    document: Annotated[
        Path, typer.Option("--document", help="The summary to write; its plot goes beside it.")
    ] = Path("docs/performance.md"),
    focal: Annotated[
        Path | None,
        typer.Option("--focal", help="A checkout of the official Focal Transformer, to time too."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="To time the contenders of a case, about.")
    ] = 30.0,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="Begin no case after so many minutes; default none."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Show in seconds that the harness works; no page.")
    ] = False,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Compile and check all, time and keep nothing."),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what was measured before.")
    ] = False,
    list_them: Annotated[
        bool, typer.Option("--list", help="Print the cases, and which are measured.")
    ] = False,
    only_document: Annotated[
        bool, typer.Option("--only-document", help="Write the page of what was measured before.")
    ] = False,
) -> None:
    """Time Vitrail and every installed peer side by side, and write docs/performance.md
    and a page beside the results.

    Contenders take turns, each at the settings that might be its best; one whose outputs disagree
    is not timed. Cases run in order of interest, each in a process of its own, and are kept as
    JSON: a run that was stopped goes on with the same command. Run it on a machine that does
    nothing else. What --peer, --setting or --quick leave incomplete is measured each time, kept
    in a folder of its own and not shown on the page.

    Examples: `make bench`; `python -m benchmarks.speed swin_tiny --size 224 --batch 8 --dtype
    bf16`; `python -m benchmarks.speed --quick`.
    """
    from benchmarks.speed import cases
    from benchmarks.speed.results import Options, folder_for, kept_in, known
    from vitrail.bench.timing import Effort

    if only_document:
        write_document(out, document)
        return
    listed = _listed(device)
    if quick:
        listed = cases.quick(device)
    chosen = cases.choose(
        listed, models=models or [], tasks=task or [], sizes=size or [], batches=batch or [],
        dtypes=dtype or [], device=device,
    )  # fmt: skip
    if focal is not None and not (focal / "classification").is_dir():
        raise UsageError(
            f"--focal {focal}", "a checkout that has a folder classification/",
            "git clone https://github.com/microsoft/Focal-Transformer",
        )  # fmt: skip
    folder = folder_for(out, device)
    if list_them:
        for case in chosen:
            typer.echo(case.name + (" (measured)" if known(folder, case) is not None else ""))
        return
    effort = Effort(2, 3, 0.5) if quick else Effort(seconds=seconds)
    # Compilers take minutes.
    settings = ("eager", "plain", "triton") if quick and not setting else tuple(setting or ())
    options = Options(effort=effort, focal=focal, only=tuple(peer or ()), settings=settings,
                      prepare=prepare, quick=quick)  # fmt: skip
    again = again or not options.whole
    failed = _measure(chosen, folder, options, again=again, minutes=minutes)
    if options.whole and not prepare:
        write_document(out, document)
    elif not prepare:
        typer.echo(kept_in(folder, options))
    if failed:
        raise typer.Exit(1)


def _listed(device: str) -> "list[Case]":
    import torch

    from benchmarks.speed import cases

    if device not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}", "cpu or cuda", "use --device cpu")
    if device == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(
                "--device cuda", "a machine with a GPU that torch finds", "use --device cpu"
            )
        return cases.on_cuda()
    return cases.on_cpu()


def _measure(
    chosen: "list[Case]", folder: Path, options: "Options", *, again: bool, minutes: float | None
) -> int:
    """Measure what is not measured yet; return how many cases failed."""
    from benchmarks.speed.results import in_words, known, measure_case

    start, failed = time.monotonic(), 0
    for number, case in enumerate(chosen, 1):
        head = f"[{number}/{len(chosen)}] {case.name}"
        if not again and not options.prepare and known(folder, case) is not None:
            typer.echo(f"{head}: measured before")
            continue
        if minutes is not None and time.monotonic() - start > 60 * minutes:
            typer.echo(f"{head}: no time left; the same command goes on here", err=True)
            break
        begun = time.monotonic()
        result = measure_case(case, folder, options)
        if isinstance(result, str):
            failed += 1
            typer.echo(f"{head}: failed: {result}", err=True)
            continue
        typer.echo(f"{head} ({time.monotonic() - begun:.0f} s)")
        for line in [] if options.prepare else in_words(result):
            typer.echo(f"    {line}")
    return failed


def write_document(out: Path, document: Path) -> None:
    """Write the summary and its plot, and a page a machine, from the results in a folder."""
    import tomllib

    from benchmarks.speed.picture import draw
    from benchmarks.speed.report import page
    from benchmarks.speed.results import load
    from benchmarks.speed.summary import summary
    from vitrail.files import write_text

    results = load(out)
    if not results:
        raise UsageError(
            f"no results in {out}", "a folder that `make bench` has written", "run it first"
        )
    path = out / "notes.toml"
    notes = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for machine, found in results.items():
        write_text(out / machine / "README.md", page(machine, found, notes))
    write_text(document, summary(results))
    draw(results, document.with_suffix(".svg"))
    typer.echo(str(document))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code; errors that a user can mend are printed.

    Args:
        words: what follows the module's name; those of this process when left out.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=Command)(run)
    typed = list(sys.argv[1:] if words is None else words)
    name = "python -m benchmarks.speed"
    try:
        result = typer.main.get_command(app).main(typed, name, standalone_mode=False)
    except Exception as error:
        message = explain_failure(error, typed)
        if message is None:
            raise
        print(printable(message), file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
