"""`vitrail bench`: how long a model takes on this machine, eager, compiled and optimised."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._models import ModelArgument, choose_device, is_checkpoint, load_model
from vitrail.cli._shared import (
    DeviceOption,
    JsonOption,
    console,
    nearest,
    parse_size,
    print_json,
    several_values,
)
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.bench.settings import Timing

Command = several_values("--size", "--batch")
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def run(
    model: ModelArgument,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size", help="Input sizes, e.g. 224 512x640; default that of the model's weights."
        ),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", min=1, help="Inputs in one call, e.g. 1 8.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="fp32, bf16 or fp16.")] = "fp32",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--setting", help="eager, compiled or optimised; may be repeated; default all."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="To time each size and batch for, about.")
    ] = 10.0,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Time a model on this machine: as it is, by torch.compile, and by vitrail.optimize.

    The settings run in turns, so that what slows the machine slows all; times are medians. Each was
    found equal to the model first. Compiling takes half a minute or more for each size.

    Example: `vitrail bench swin_tiny --size 224 --batch 1 8 --dtype bf16`.
    """
    import torch

    from vitrail.bench.settings import SETTINGS, measure

    for option, values, known in (("dtype", [dtype], _DTYPES), ("setting", setting, SETTINGS)):
        for value in values or ():
            if value not in known:
                near = nearest(value, known) or next(iter(known))
                raise UsageError(f"--{option} {value}", ", ".join(known), f"use --{option} {near}")
    loaded, _ = load_model(model, None if is_checkpoint(model) else "none")
    loaded = loaded.to(choose_device(device))
    default = "x".join(map(str, loaded.preprocessing.size))
    axes = loaded.config.axes
    sizes = [parse_size(text, axes=axes) or () for text in size or [default]]
    rows = measure(
        loaded, sizes, batch or [1], dtype=getattr(torch, _DTYPES[dtype]),
        settings=setting or SETTINGS, seconds=seconds,
    )  # fmt: skip
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print(list(rows), f"{model}, {dtype}, {device or 'the default device'}, "
               f"{torch.get_num_threads()} threads")  # fmt: skip


def _print(rows: "list[Timing]", title: str) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("size", "batch", "setting", "ms", "quartiles", "a second", "speed", "ready in"):
        table.add_column(column, justify="left" if column in ("size", "setting") else "right")
    for row in rows:
        table.add_row("x".join(map(str, row.size)), str(row.batch), row.setting, *_cells(row))
    console().print(table)


def _cells(row: "Timing") -> tuple[Any, ...]:
    if row.seconds is None or row.quartiles is None:
        return ("-", f"not used: {row.obstacle}")
    low, high = (f"{1e3 * value:,.1f}" for value in row.quartiles)
    return (
        f"{1e3 * row.seconds:,.1f}",
        f"{low} - {high}",
        f"{row.batch / row.seconds:,.1f}",
        "1.00" if row.speedup is None else f"{row.speedup:.2f}",
        f"{row.prepared:.1f} s",
    )
