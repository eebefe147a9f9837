"""`vitrail list`: the models that can be created, and their measure."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._shared import JsonOption, complete_model, console, nearest, print_json
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
    as_json: JsonOption = False,
) -> None:
    """List the models that can be created, with their parameters, window and input size."""
    from vitrail import list_models
    from vitrail.models import names_near

    names = list_models(pattern)
    if not names:
        near = nearest(pattern, list_models())
        raise UsageError(
            given=f"pattern {pattern!r}, which no model matches",
            allowed=f"{names_near(pattern)}, or a wildcard for some",
            fix=f"run `vitrail list {near}`" if near else "run `vitrail list` for all of them",
        )
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
    """Return in words who sees whom in a model, read off its patterns."""
    patterns = [module.pattern for module in model.modules() if hasattr(module, "pattern")]
    kinds = {type(pattern).__name__.lower() for pattern in patterns}
    shifted = "shifted " if any(any(getattr(p, "shift", ())) for p in patterns) else ""
    cosine = any(name.endswith("logit_scale") for name, _ in model.named_parameters())
    return shifted + " and ".join(sorted(kinds)) + (", cosine" if cosine else "")


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
