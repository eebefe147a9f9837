"""`vitrail list`: the models that can be created, and their measure."""

from typing import Annotated, Any

import typer

from vitrail.cli._shared import JsonOption, complete_model, console, print_json


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

    rows = [describe(name) for name in list_models(pattern)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def describe(name: str) -> dict[str, Any]:
    """Return what the list says about one model.

    Args:
        name: a name of the catalog.
    Returns:
        name, parameters (a count), window (tokens, one per stage or one for all), input (samples
        along each axis) and mechanism.
    """
    import torch

    from vitrail import create_model

    with torch.device("meta"):  # counts parameters without allocating them
        model = create_model(name)
    return {
        "name": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "window": model.config.window,
        "input": model.preprocessing.size,
        "mechanism": "shifted window",
    }


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
            "x".join(map(str, row["window"])),
            "x".join(map(str, row["input"])),
            row["mechanism"],
        )
    console().print(table)
