"""`vitrail list`: the models that can be created, and their measure."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._shared import (
    JsonOption,
    complete_model,
    console,
    nearest,
    option_words,
    print_json,
)
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.models import Backbone


def run(
    pattern: Annotated[
        str,
        typer.Argument(
            help="Only names that match, e.g. 'swin_v2_*'.", autocompletion=complete_model
        ),
    ] = "*",
    weights: Annotated[
        bool, typer.Option("--weights", "-w", help="List the published weights of the models.")
    ] = False,
    bundled: Annotated[
        bool, typer.Option("--bundled", help="List the weights that come with the package.")
    ] = False,
    task: Annotated[
        str | None, typer.Option("--task", help="List the options (--set) of a task.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models that can be created, with their parameters, window and input size.

    With --weights, list the published weights that --weights of the other commands, and `weights=`
    of `vitrail.create_model`, take by name. `imagenet1k` stands for those marked with *. With
    --bundled, list those that come with the package, for every task. With --task, list what
    `vitrail train --task NAME --set NAME=VALUE` takes, with its defaults.
    """
    from vitrail import list_models
    from vitrail.models import names_near

    if task is not None:
        if weights or bundled or pattern != "*":
            raise UsageError(
                f"--task {task} with other words", "--task alone", "leave the others out"
            )
        print_options(task, as_json)
        return
    if bundled:
        if weights or pattern != "*":
            raise UsageError(
                "--bundled with " + ("--weights" if weights else f"the pattern {pattern!r}"),
                "--bundled alone: it lists all that come with the package",
                "leave the other out",
            )
        print_bundled(as_json)
        return
    names = list_models(pattern)
    if not names:
        near = nearest(pattern, list_models())
        raise UsageError(
            given=f"pattern {pattern!r}, which no model matches",
            allowed=f"{names_near(pattern)}, or a wildcard for some",
            fix=f"run `vitrail list {near}`" if near else "run `vitrail list` for all of them",
        )
    if weights:
        print_weights(names, pattern, as_json)
        return
    rows = [describe(name) for name in names]
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def describe(name: str) -> dict[str, Any]:
    """Return what the list says about one model.

    Args:
        name: a name of the catalog.
    Returns:
        name, parameters (a count), windows (tokens along each axis, one for each stage; None for
        a model without windows), input (samples along each axis) and mechanism.
    """
    import torch

    from vitrail import create_model

    with torch.device("meta"):  # counts parameters without allocating them
        model = create_model(name)
    return {
        "name": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "windows": getattr(model.config, "windows", None),
        "input": model.preprocessing.size,
        "mechanism": mechanism(model),
    }


def mechanism(model: "Backbone") -> str:
    """Return in words which tokens attend to which in a model, read off its patterns."""
    patterns = [module.pattern for module in model.modules() if hasattr(module, "pattern")]
    names = {type(pattern).__name__ for pattern in patterns}
    kinds = {_KINDS.get(name, re.sub(r"\B(?=[A-Z])", " ", name).lower()) for name in names}
    shifted = "shifted " if any(any(getattr(p, "shift", ())) for p in patterns) else ""
    cosine = any(name.endswith("logit_scale") for name, _ in model.named_parameters())
    return shifted + " and ".join(sorted(kinds)) + (", cosine" if cosine else "")


# The field's words, where they are not the pattern's name.
_KINDS = {
    "Global": "standard (global)",
    "SparseStrided": "sparse, strided",
    "SparseFixed": "sparse, fixed",
    "Reduced": "spatial reduction",
    "Pooled": "spatial reduction, pooled",
    "Nearest": "focal, nearest",
}


def window_text(windows: tuple[tuple[int, ...], ...] | None) -> str:
    """Return `7x7`, or `16x16, last stage 8x8` where the last stage differs; `-` for none."""
    if windows is None:
        return "-"
    first, last = ("x".join(map(str, window)) for window in (windows[0], windows[-1]))
    return first if first == last else f"{first}, last stage {last}"


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows as an aligned table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "parameters", "window", "input", "mechanism"):
        table.add_column(column, justify="right" if column == "parameters" else "left")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['parameters'] / 1e6:.1f} M",
            window_text(row["windows"]),
            "x".join(map(str, row["input"])),
            row["mechanism"],
        )
    console().print(table)


def print_options(name: str, as_json: bool) -> None:
    """Print the options of a task: a block of lines each, or JSON.

    Raises:
        UsageError: there is no such task.
    """
    from rich.text import Text

    from vitrail.tasks import task_named
    from vitrail.tasks.options import described

    with option_words(task="--task"):
        rows = described(task_named(name))
    if as_json:
        print_json(rows)
        return
    out = console()
    for row in rows:
        out.print(Text(f"--set {row['name']}={row['default']}", style="bold"))
        out.print(Text(f"  {row['help']}"))


def print_bundled(as_json: bool) -> None:
    """Print the weights that come with the package: a block of lines each, or JSON."""
    from dataclasses import asdict

    from rich.text import Text

    from vitrail.weights.shipped import shipped

    rows = shipped()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    out = console()
    for row in rows:
        out.print(Text(row.weights, style="bold"), Text(f"{row.task}: {', '.join(row.classes)}"))
        out.print(Text(f"  {row.model}, {row.parameters / 1e6:.2f} M parameters; {row.data}"))
        out.print(Text(f"  {row.figure}; {row.licence}", style="dim"))


def print_weights(names: list[str], pattern: str, as_json: bool) -> None:
    """Print the published weights of models.

    Args:
        names: of the models.
        pattern: what they matched, for the error.
        as_json: print JSON instead of a table.
    Raises:
        UsageError: none of the models has any.
    """
    from vitrail.weights import published, usual

    rows = [
        {
            "model": name,
            "weights": row.tag,
            "imagenet1k": row is usual(name),
            "input": row.size,
            "classes": row.classes,
            "top1": row.top1,
            "licence": row.licence,
            "where": row.where,
        }
        for name in names
        for row in published(name)
    ]
    if not rows:
        raise UsageError(
            f"pattern {pattern!r}, whose models have no published weights",
            "models of timm, torchvision or transformers",
            "run `vitrail list --weights` for all; weights 'bundled' come with swin_nano",
        )
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("model", "weights", "input", "classes", "top-1", "licence", "where"):
        table.add_column(column, justify="right" if column in ("classes", "top-1") else "left")
    for row in rows:
        table.add_row(
            row["model"],
            row["weights"] + (" *" if row["imagenet1k"] else ""),
            f"{row['input']}x{row['input']}",
            "-" if row["classes"] is None else str(row["classes"]),
            "-" if row["top1"] is None else f"{row['top1']:.1f} %",
            row["licence"] or "-",
            row["where"],
        )
    console().print(table)
