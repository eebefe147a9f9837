"""Which windows and models suit an input size and a budget; every reason is a computed fact."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.analysis.cost import Cost
from vitrail.patterns import Window
from vitrail.shapes import Size


@dataclass(frozen=True, slots=True)
class WindowAdvice:
    """What one window does to the grids of a model's stages.

    Args:
        window: tokens along every axis.
        waste: share of the places for tokens that hold padding, over all blocks.
        windows: how many windows each stage has.
        reach: input samples along each axis that a token of the first stage sees in one block,
            its window's width, at most the input.
        padding: in words, whether the window divides every grid.
        shift: in words, where the shift is needed to connect windows.
    """

    window: int
    waste: float
    windows: tuple[int, ...]
    reach: Size
    padding: str
    shift: str


def advise_window(cost: Cost, window: int) -> WindowAdvice:
    """Return what a window does to the grids that a model has at an input size.

    Args:
        cost: of a model at that size, whatever its own attention.
        window: tokens along every axis.
    """
    places = tokens = 0
    counts, padded = [], []
    for stage in cost.stages:
        pattern = Window((window,) * len(stage.grid), (0,) * len(stage.grid))
        size, _ = pattern.fit(stage.grid)
        lengths = tuple(-(-n // m) * m for n, m in zip(stage.grid, size, strict=True))
        places += math.prod(lengths) * len(stage.blocks)
        tokens += stage.tokens * len(stage.blocks)
        counts.append(math.prod(lengths) // math.prod(size))
        if lengths != stage.grid:
            padded.append(f"{_by(stage.grid)} to {_by(lengths)}")
    first = cost.stages[0]
    return WindowAdvice(
        window=window,
        waste=1 - tokens / places,
        windows=tuple(counts),
        reach=tuple(min(window * s, n) for s, n in zip(first.stride, cost.size, strict=True)),
        padding="pads " + ", ".join(padded) if padded else "divides every grid: no padding",
        shift=_shift(counts),
    )


def advise_windows(cost: Cost, windows: Sequence[int]) -> tuple[WindowAdvice, ...]:
    """Return the advice on each window: least padding first, then the widest."""
    advice = [advise_window(cost, window) for window in windows]
    return tuple(sorted(advice, key=lambda one: (round(one.waste, 4), -one.window)))


def position_advice(cost: Cost, trained: int, window: int) -> str:
    """Say what happens to a position bias trained for one window that is used with another.

    Args:
        cost: of a model, for its axes.
        trained: the window of the trained bias, in tokens along every axis.
        window: the window wanted.
    """
    axes = len(cost.size)
    have, want = (2 * trained - 1) ** axes, (2 * window - 1) ** axes
    if window == trained:
        return f"a table's {have} offsets all have trained rows"
    if window < trained:
        return f"a table's {want} offsets are among its {have} trained rows"
    new = 1 - have / want
    return (
        f"a table has {have} trained rows for {want} offsets ({new:.0%} without): train it again "
        "or resize it; a continuous bias (swin_v2_*) computes them"
    )


def budget_advice(cost: Cost, memory: int) -> str:
    """Say in one line what fits ``memory`` bytes, and by what margin.

    Args:
        cost: with training.
        memory: bytes at hand.
    """
    run = f"a forward pass takes {cost.inference_peak / memory:.0%} of it"
    if not cost.fits(memory):
        return f"does not fit: {run}"
    total = cost.training_total
    assert total is not None
    train = f"training with AdamW {total / memory:.0%}"
    return f"{'trains' if total <= memory else 'runs, does not train'}: {run}, {train}"


def _shift(counts: list[int]) -> str:
    needed = [str(stage + 1) for stage, count in enumerate(counts) if count > 1]
    if not needed:
        return "one window covers every grid: the shift has nothing to connect"
    where = f"stage {needed[0]}" if len(needed) == 1 else f"stages {', '.join(needed)}"
    most = max(counts)
    covered = "; one window covers the rest" if len(needed) < len(counts) else ""
    return f"shift needed in {where} to connect up to {most} windows{covered}"


def _by(lengths: Size) -> str:
    return "x".join(map(str, lengths))
