"""`vitrail compare`: ways to attend side by side, measured, as a document with plots."""

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._models import ModelArguments, checked_models
from vitrail.cli._shared import parse_memory, progress, several_values
from vitrail.errors import UsageError
from vitrail.files import check_folder

if TYPE_CHECKING:
    from vitrail.bench.comparison import Mechanism
    from vitrail.bench.growth import Subject

Command = several_values("--size")
_SIZES = (128, 256, 384, 512, 768, 1024, 1536, 2048)
_QUICK = (64, 96, 128, 160, 192)


def run(
    models: ModelArguments = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the document, plots and numbers.")
    ] = Path("docs/comparison"),
    size: Annotated[
        list[int] | None,
        typer.Option("--size", help="Sizes to measure, one number each; at least two."),
    ] = None,
    limit: Annotated[
        float, typer.Option("--limit", help="Seconds that a forward pass may take.")
    ] = 60.0,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", help="What a forward pass may take, e.g. 8GB; default 3/4 of all."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes only: a minute or two.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what was measured before.")
    ] = False,
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Train swin_nano without one thing at a time; takes hours."),
    ] = False,
    data: Annotated[
        str, typer.Option("--data", help="Images for --ablate, as `vitrail train` takes them.")
    ] = "torchvision:CIFAR10",
    epochs: Annotated[int, typer.Option("--epochs", help="Of each run of --ablate.")] = 20,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="One more word for every `vitrail train` of --ablate."),
    ] = None,
) -> None:
    """Measure how ways to attend grow with the input, check claims, and write it all down.

    Without models, one for each mechanism is measured. Of a checkpoint its structure counts, as no
    weight changes what it costs.

    The folder then holds README.md, comparison.json, a PNG and an SVG of each plot, and under
    measured/ one file for each model and size. A run that was stopped goes on with the same
    command: what was measured is read, not measured again (--again does). Training runs of --ablate
    are kept under ablation/ and go on where they were; once they are done, they stay in the
    document.
    """
    import matplotlib  # noqa: F401  # early: without it the hour before would be wasted

    from vitrail.bench.comparison import chosen
    from vitrail.bench.growth import subject

    sizes = sorted(set(size or (_QUICK if quick else _SIZES)))
    if len(sizes) < 2 or sizes[0] < 32:
        raise UsageError(
            f"--size {' '.join(map(str, sizes))}",
            "at least two sizes, of 32 samples or more",
            "--size 128 256 512",
        )
    pairs = [(kind, subject(model)) for kind, model in chosen(checked_models(models))]
    bytes_allowed = _bytes(memory)
    check_folder(output)
    rows = _rows(pairs, sizes, output / "measured", limit, bytes_allowed, again)
    result = _result(rows, sizes, limit)
    accuracy = _ablation(output / "ablation", data, epochs, option or [], run_them=ablate)
    if accuracy is not None:
        result["ablation"] = accuracy
    write(result, output)
    typer.echo(str(output / "README.md"))


def write(result: dict[str, Any], out: Path) -> None:
    """Write numbers, plots and the document, each whole or not at all."""
    from vitrail.bench.document import page
    from vitrail.bench.plots import draw
    from vitrail.files import write_text

    out.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    write_text(out / "comparison.json", numbers)
    draw(result["rows"], out)
    # As it reads back: tuples are lists, as for a page made from the JSON.
    text = page(json.loads(numbers))
    write_text(out / "README.md", text)


def _rows(
    pairs: "list[tuple[Mechanism, Subject]]",
    sizes: list[int],
    folder: Path,
    limit: float,
    memory: int | None,
    again: bool,
) -> list[dict[str, Any]]:
    """Measure every model, by rising size until one does not end."""
    from vitrail.bench.comparison import row, stop_after
    from vitrail.bench.growth import Growth, measure, path_of

    rows = []
    with progress() as bar:
        task = bar.add_task("", total=len(pairs) * len(sizes))
        for number, (mechanism, model) in enumerate(pairs):

            def at(size: int, model: "Subject" = model) -> Growth:
                bar.update(task, description=f"{model.name} at {size}")
                if again:
                    path_of(model, size, folder).unlink(missing_ok=True)
                point = measure(model, size, folder, limit=limit, memory=memory)
                bar.advance(task)
                return point

            rows.append(row(mechanism, model, stop_after(at, sizes)))
            bar.update(task, completed=(number + 1) * len(sizes))
    return rows


def _result(rows: list[dict[str, Any]], sizes: list[int], limit: float) -> dict[str, Any]:
    import torch

    from vitrail.bench.comparison import claims, waste, windows_in_practice
    from vitrail.weights import load_backbone

    return {
        "machine": {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "processor": platform.machine(),
            "limit": limit,
        },
        "sizes": sizes,
        "rows": rows,
        "claims": claims(),
        "waste": waste(),
        "practice": windows_in_practice(load_backbone("bundled")),
    }


def _ablation(
    folder: Path, data: str, epochs: int, options: list[str], *, run_them: bool
) -> dict[str, Any] | None:
    """Run what is left of the ablation, and return its numbers; else those of one that is done."""
    from vitrail.bench.ablation import VARIANTS, ablate
    from vitrail.files import write_text

    path = folder / "ablation.json"
    if run_them:
        top1 = {
            variant: ablate(variant, folder / variant.replace(" ", "-"), data, epochs, options)
            for variant in VARIANTS
        }
        facts = {"data": data, "epochs": epochs, "options": options, "top1": top1}
        numbers = json.dumps(facts, indent=1) + "\n"
        write_text(path, numbers)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _bytes(memory: str | None) -> int | None:
    """Return the bytes that a forward pass may take; None where the machine does not say."""
    if memory is not None:
        return parse_memory(memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
    except (AttributeError, ValueError, OSError):
        return None
