"""What `vitrail cost` prints for people; every line fits 80 columns."""

import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vitrail.cli._shared import console

if TYPE_CHECKING:
    from rich.table import Table

    from vitrail.analysis import Cost, WindowAdvice

_BEST = 6  # windows that the advice shows
_WIDTH = 80


def print_costs(costs: list["Cost"], budget: int | None) -> None:
    """Print one model stage by stage, or several models a line each."""
    if len(costs) == 1:
        _print_stages(costs[0])
    _print_totals(costs, budget)


def _print_stages(cost: "Cost") -> None:
    batch = f", batch {cost.batch}" if cost.batch > 1 else ""
    _say(f"{cost.model} at {_by(cost.size)}, {cost.dtype}{batch}")
    shape = _table("stage", "grid", "stride", "dim", "windows", "padding", "params", "reach")
    work = _table(
        "stage", "attention", "projections", "MLP", "rest", "GFLOP", "pairs", "alive", "kept"
    )
    work.columns[0].justify = shape.columns[0].justify = "left"
    stages = [(str(i), stage) for i, stage in enumerate(cost.stages, 1)]
    for name, part in (("embed", cost.embed), *stages, ("head", cost.head)):
        flops = [f"{value / 1e9:.3f}" if value else "" for value in asdict(part.flops).values()]
        if name in ("embed", "head"):
            shape.add_row(name, "", "", "", "", "", _millions(part.parameters), "")
            work.add_row(name, *flops, f"{part.flops.total / 1e9:.3f}", "", "", "")
    for name, stage in stages:
        shape.add_row(
            name,
            _by(stage.grid),
            _by(stage.stride),
            str(stage.dim),
            "/".join(map(str, stage.windows)),
            f"{stage.wasted} ({stage.waste:.1%})" if stage.wasted else "none",
            _millions(stage.parameters),
            _by(stage.reach),
        )
        flops = [f"{value / 1e9:.3f}" if value else "" for value in asdict(stage.flops).values()]
        work.add_row(
            name,
            *flops,
            f"{stage.flops.total / 1e9:.3f}",
            _millions(stage.pairs),
            _megabytes(stage.inference_bytes),
            "" if stage.training_bytes is None else _megabytes(stage.training_bytes),
        )
    _put_embed_first(shape, work)
    out = console()
    out.print(shape, work, sep="\n", width=_WIDTH)
    _say("padding: places without a token; reach: samples that the middle token can see")
    _say("alive: memory at one time of a forward pass; kept: for the backward pass")
    out.print()


def _put_embed_first(*tables: "Table") -> None:
    """The head was added before the stages; bring it behind them."""
    for table in tables:
        for column in table.columns:
            cells = column._cells
            cells.append(cells.pop(1))


def _print_totals(costs: list["Cost"], budget: int | None) -> None:
    columns = ("model", "size", "params", "GMAC", "GFLOP", "attention", "padding", "run", "train")
    table = _table(*columns, *(("fits",) if budget is not None else ()))
    table.columns[0].justify = "left"
    for cost in costs:
        share = cost.flops.attention / cost.flops.total
        row = [
            cost.model,
            _by(cost.size),
            _millions(cost.parameters),
            _number(cost.macs / 1e9),
            _number(cost.flops.total / 1e9),
            f"{share:.0%}",
            f"{cost.waste:.0%}",
            _megabytes(cost.inference_peak),
            _megabytes(cost.training_total or 0),
        ]
        if budget is not None:
            fits = "train" if cost.fits(budget, training=True) else "run"
            row.append(fits if cost.fits(budget) else "no")
        table.add_row(*row)
    console().print(table, width=_WIDTH)
    _say("GMAC: multiply-adds, half the GFLOP. run, train: peak memory; train with AdamW.")


def advice_as_dict(
    costs: list["Cost"], windows: Iterable[int], budget: int, trained: int
) -> dict[str, Any]:
    """Return the advice as plain values, for JSON.

    Args:
        costs: of the models.
        windows: to try, in tokens.
        budget: bytes at hand.
        trained: the window that position biases were trained for.
    """
    from vitrail.analysis import advise_windows, budget_advice, position_advice

    pyramid = _pyramid(costs)
    tried = advise_windows(pyramid, list(windows)) if pyramid else ()
    return {
        "memory": budget,
        "windows": [
            {**asdict(one), "position": position_advice(pyramid, trained, one.window)}
            for one in tried
            if pyramid
        ],
        "models": [
            {
                "model": cost.model,
                "inference_peak": cost.inference_peak,
                "training_total": cost.training_total,
                "fits_inference": cost.fits(budget),
                "fits_training": cost.fits(budget, training=True),
                "waste": cost.waste,
                "reach": cost.stages[-1].reach,
                "seen": cost.stages[-1].seen,
                "reason": budget_advice(cost, budget),
            }
            for cost in _by_fit(costs, budget)
        ],
    }


def print_advice(costs: list["Cost"], windows: Iterable[int], budget: int, trained: int) -> None:
    """Print which windows and which models suit, each with its reason."""
    from vitrail.analysis import advise_windows, budget_advice, position_advice

    pyramid = _pyramid(costs)
    if pyramid is not None:
        grids = ", ".join(_by(stage.grid) for stage in pyramid.stages)
        _say(f"Windows for {_by(pyramid.size)} (grids {grids}), least padding first:")
        best = advise_windows(pyramid, list(windows))[:_BEST]
        for one in best:
            _print_window(one, position_advice(pyramid, trained, one.window))
    _say(f"Models in {budget / 1e9:.3g} GB, largest that trains first:")
    for cost in _by_fit(costs, budget):
        last = cost.stages[-1]
        sees = f"; the last stage sees {_by(last.reach)}; {cost.waste:.0%} padding"
        _say(f"  {cost.model}  {budget_advice(cost, budget)}{sees}")


def _print_window(one: "WindowAdvice", position: str) -> None:
    waste = f"{one.waste:.1%} of the places wasted, " if one.waste else ""
    _say(f"  window {one.window}: {waste}{one.padding}")
    _say(f"    reach: {_by(one.reach)} samples in one block of stage 1")
    _say(f"    shift: {one.shift}")
    _say(f"    position: {position}")


def _pyramid(costs: list["Cost"]) -> "Cost | None":
    """Return the first cost with more than one stage: windows are for pyramids."""
    return next((cost for cost in costs if len(cost.stages) > 1), None)


def _by_fit(costs: list["Cost"], budget: int) -> list["Cost"]:
    """Return those that train, then those that run, then the others; the largest first."""
    return sorted(
        costs,
        key=lambda cost: (
            not cost.fits(budget, training=True),
            not cost.fits(budget),
            -cost.inference_peak,
        ),
    )


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _say(text: str) -> None:
    """Print a sentence; what does not fit its line goes on below, further in."""
    margin = " " * (len(text) - len(text.lstrip()))
    lines = textwrap.wrap(text, _WIDTH, subsequent_indent=margin + "    ", drop_whitespace=True)
    console().print("\n".join(lines), markup=False)


def _by(lengths: tuple[int, ...]) -> str:
    return "x".join(map(str, lengths))


def _millions(count: int) -> str:
    return f"{_number(count / 1e6)} M"


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _number(value: float) -> str:
    """Return three digits that count, never a power of ten."""
    digits = next((n for n in (2, 1, 0) if value < 10 ** (3 - n)), 0)
    return f"{value:.{digits}f}"
