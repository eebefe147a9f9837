"""`vitrail cost`: what models cost at input sizes, exactly and without computing it."""

import csv
import io
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._models import ModelArguments, checked_models
from vitrail.cli._shared import (
    JsonOption,
    parse_memory,
    parse_size,
    print_json,
    progress,
    several_values,
)
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.analysis import Cost

Command = several_values("--size", "--windows")
_DTYPES = ("float32", "bfloat16", "float16", "float64")
_ADVISED = (*range(4, 17), 20, 24, 32)  # windows that --advise tries, in tokens


def run(
    models: ModelArguments = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", help="Input sizes, HxW or one number; default the model's own."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Inputs at once.")] = 1,
    dtype: Annotated[
        str, typer.Option("--dtype", help=f"Of weights and inputs: {', '.join(_DTYPES)}.")
    ] = "float32",
    windows: Annotated[
        list[int] | None,
        typer.Option("--windows", help="Try these windows, in tokens, e.g. 7 8 12 14."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Tell what fits, e.g. 8GB (10^9) or 8GiB (2^30).")
    ] = None,
    advise: Annotated[
        bool,
        typer.Option(
            "--advise",
            help="Name windows and models that suit --size and --memory; of data among the "
            "arguments, how large objects are in tokens and which windows see them whole.",
        ),
    ] = False,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print one line for each stage, comma-separated.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw FLOPs and memory: a .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Show what models cost: FLOPs, attention pairs, padding, parameters and memory.

    Nothing is computed, so any size is answered in seconds. A multiply-add is two FLOPs; GMAC is
    what papers mostly call FLOPs. Memory is what tensors take, without an allocator's rounding.

    vitrail cost swin_tiny --advise DATA, with DATA as for training, measures the objects in label
    maps (what hangs together under one label) or boxes, in tokens of each stage. --size and
    --memory are not needed then.
    """
    budget = None if memory is None else parse_memory(memory)
    if dtype not in _DTYPES:
        raise UsageError(f"--dtype {dtype}", f"one of {', '.join(_DTYPES)}", "--dtype float32")
    data: list[str] = []
    if advise:
        from vitrail.cli._objects import data_among

        models, data = data_among(models or [])
    models = checked_models(models)
    if plot is not None:
        from vitrail.cli._cost_plot import check_plot

        check_plot(plot)
    if advise:
        if plot is not None and not data:
            raise UsageError(
                f"--plot {plot} for --advise without data",
                "--plot with data, whose objects are drawn, or without --advise",
                "leave --plot out, or name the data too",
            )
        facts = _advise_data(models, data, size or [], batch, dtype, plot) if data else None
        if facts is not None and not as_json:
            from vitrail.cli._objects import print_objects

            print_objects(facts)
        if facts is not None and budget is None:
            if as_json:
                print_json({"objects": facts})
            return
        _advise(models, size or [], windows or [], budget, batch, dtype, as_json, facts)
        return
    if not models:
        raise UsageError(
            "vitrail cost without a model", "names out of `vitrail list`", "vitrail cost swin_tiny"
        )
    costs = collect(models, size or [], windows or [], batch, dtype)
    if as_json:
        print_json([_with_fits(row, budget) for row in costs])
    elif as_csv:
        print(to_csv(costs), end="")
    else:
        from vitrail.cli._cost_tables import print_costs

        print_costs(costs, budget)
    if plot is not None:
        from vitrail.cli._cost_plot import draw

        draw(costs, plot)


def collect(
    models: list[str], sizes: list[str], windows: list[int], batch: int, dtype: str
) -> list["Cost"]:
    """Return the cost of every model with every window at every size, in this order."""
    jobs = [(m, w, s) for m in models for w in (windows or [None]) for s in (sizes or [None])]
    rows = []
    with progress() as bar:
        task = bar.add_task("costs", total=len(jobs))
        for name, window, size in jobs:
            bar.update(task, description=name)
            rows.append(one_cost(name, window, size, batch, dtype))
            bar.advance(task)
    return rows


def one_cost(name: str, window: int | None, size: str | None, batch: int, dtype: str) -> "Cost":
    """Return one cost; its name has the window if that was chosen here.

    Raises:
        UsageError: a window for a model whose attention has none, or what `vitrail.cost` refuses.
    """
    import torch

    import vitrail
    from vitrail.models import CATALOG

    if name not in CATALOG:
        return _cost_of_checkpoint(name, window, size, batch, dtype)
    config = CATALOG[name].config
    changes: dict[str, Any] = {}
    if window is not None:
        if "window" not in {field.name for field in fields(config)}:
            raise UsageError(
                f"--windows {window} for {name}, whose attention has no window",
                "models with windows, such as swin_tiny",
                f"leave out --windows, or {name}",
            )
        changes["window"] = (window,) * config.axes
    lengths = parse_size(size, axes=config.axes)
    row = vitrail.cost(name, lengths, batch=batch, dtype=getattr(torch, dtype), **changes)
    return row if window is None else replace(row, model=f"{name} w{window}")


def _cost_of_checkpoint(
    path: str, window: int | None, size: str | None, batch: int, dtype: str
) -> "Cost":
    import torch

    from vitrail import load
    from vitrail.analysis import cost

    if window is not None:
        raise UsageError(
            f"--windows {window} for the checkpoint {path}",
            "models by name: weights are of one window",
            "leave --windows out, or name the model",
        )
    model = load(path)
    lengths = parse_size(size, axes=model.config.axes) or model.preprocessing.size
    row = cost(model, lengths, batch=batch, dtype=getattr(torch, dtype))
    return replace(row, model=Path(path).name)


def _with_fits(row: "Cost", budget: int | None) -> dict[str, Any]:
    value = row.as_dict()
    if budget is not None:
        value["fits"] = {"inference": row.fits(budget), "training": row.fits(budget, training=True)}
    return value


def to_csv(costs: list["Cost"]) -> str:
    """Return one line for each part of each model, and one for the whole."""
    columns = (
        *("model", "size", "batch", "dtype", "part", "grid", "stride", "dim", "windows", "wasted"),
        *("parameters", "flops_attention", "flops_projections", "flops_mlp", "flops_rest"),
        *("flops", "pairs", "inference_bytes", "training_bytes"),
    )
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    for row in costs:
        stages = [(f"stage {i}", stage) for i, stage in enumerate(row.stages, 1)]
        for part, value in (("embed", row.embed), *stages, ("head", row.head), ("total", row)):
            line = {
                "model": row.model,
                "size": _by(row.size),
                "batch": row.batch,
                "dtype": row.dtype,
                "part": part,
                "grid": _by(getattr(value, "grid", ())),
                "stride": _by(getattr(value, "stride", ())),
                "windows": "/".join(map(str, getattr(value, "windows", ()))),
                "parameters": value.parameters,
                "flops": value.flops.total,
                **{name: getattr(value, name, "") for name in ("dim", "wasted", "pairs")},
                **{name: getattr(value, name, "") for name in columns[-2:]},
            }
            for field in fields(value.flops):
                line[f"flops_{field.name}"] = getattr(value.flops, field.name)
            if value is row:
                line["inference_bytes"], line["training_bytes"] = (
                    row.inference_peak,
                    row.training_peak,
                )
            table.writerow(line)
    return text.getvalue()


def _advise_data(
    models: list[str],
    data: list[str],
    sizes: list[str],
    batch: int,
    dtype: str,
    plot: Path | None,
) -> dict[str, Any]:
    """Measure and, where a file is named, draw the objects in data; return what is known."""
    from vitrail.cli import _objects
    from vitrail.cli._models import DEFAULT_MODEL
    from vitrail.models import CATALOG

    found = _objects.measure(data)
    default = {1: "swin1d_tiny", 2: DEFAULT_MODEL, 3: "swin3d_nano"}
    models = models or [default[found.extents.shape[1]]]
    costs = collect(models, sizes[:1], [], batch, dtype)
    known = {name: CATALOG[name].config for name in models if name in CATALOG}
    windows = {name: getattr(config, "windows", None) for name, config in known.items()}
    facts = _objects.as_dict(found, costs, windows)
    if plot is not None:
        _objects.draw(found, facts, plot)
    return facts


def _advise(
    models: list[str],
    sizes: list[str],
    windows: list[int],
    budget: int | None,
    batch: int,
    dtype: str,
    as_json: bool,
    facts: dict[str, Any] | None,
) -> None:
    if len(sizes) != 1 or budget is None:
        raise UsageError(
            f"--advise with {len(sizes)} size{'' if len(sizes) == 1 else 's'} and "
            f"{'a' if budget else 'no'} budget",
            "one --size and one --memory",
            "vitrail cost --advise --size 512x512 --memory 8GB",
        )
    from vitrail.cli._cost_tables import advice_as_dict, print_advice
    from vitrail.models import CATALOG

    models = models or _one_of_each(max(len(re.split("[xX×,]", sizes[0])), 2))
    costs = collect(models, sizes, [], batch, dtype)
    tried = windows or list(_ADVISED)
    configs = [CATALOG[name].config for name in models if name in CATALOG]
    per_stage = [getattr(config, "windows", None) for config in configs]
    # The window of the first model that has one: its tables are what a user would go on with.
    trained = next((stages[0][0] for stages in per_stage if stages), 7)
    if as_json:
        objects = {} if facts is None else {"objects": facts}
        print_json(advice_as_dict(costs, tried, budget, trained) | objects)
    else:
        print_advice(costs, tried, budget, trained)


def _one_of_each(axes: int) -> list[str]:
    """Return the models of an input's rank; of those that differ in their windows alone, one."""
    from vitrail.models import CATALOG

    chosen: dict[str, str] = {}
    for name, (config, kind, *_) in CATALOG.items():
        body = {f.name: getattr(config, f.name) for f in fields(config) if "window" not in f.name}
        body |= {"num_classes": None, "drop_path": None}
        if config.axes == axes:
            chosen.setdefault(f"{kind.__name__} {body}", name)
    return list(chosen.values())


def _by(lengths: tuple[int, ...]) -> str:
    return "x".join(map(str, lengths))
