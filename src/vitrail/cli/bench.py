"""`vitrail bench`: how fast we are beside every peer, and how near to the machine's limit."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli._shared import complete_model, several_values
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.bench.speed.cases import Case
    from vitrail.bench.speed.results import Options

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
        Path, typer.Option("--document", help="The page to write; its plot goes beside it.")
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
    """Time Vitrail and every installed peer side by side, and write docs/performance.md.

    Contenders take turns, each at the settings that might be its best; one whose outputs disagree
    is not timed. Cases run in order of interest, each in a process of its own, and are kept as
    JSON: a run that was stopped goes on with the same command. Run it on a machine that does
    nothing else. What --peer, --setting or --quick leave incomplete is measured each time, kept
    in a folder of its own and not shown on the page.

    Examples: `vitrail bench swin_tiny --size 224 --batch 8 --dtype bf16`; `vitrail bench --minutes
    30`; `vitrail bench --quick`.
    """
    from vitrail.bench.speed import cases
    from vitrail.bench.speed.results import Options, folder_for, kept_in, known
    from vitrail.bench.speed.timing import Effort

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

    from vitrail.bench.speed import cases

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
    from vitrail.bench.speed.results import in_words, known, measure_case

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
    """Write the page and its plot from the results in a folder."""
    import tomllib

    from vitrail.bench.speed.picture import draw
    from vitrail.bench.speed.report import page
    from vitrail.bench.speed.results import load
    from vitrail.files import write_text

    results = load(out)
    if not results:
        raise UsageError(
            f"no results in {out}", "a folder that `vitrail bench` has written", "run it first"
        )
    path = out / "notes.toml"
    notes = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    text = page(results, notes)
    write_text(document, text)
    draw(results, document.with_suffix(".svg"))
    typer.echo(str(document))
