"""The picture that `vitrail cost --plot` draws, with matplotlib, which the extra "plot" brings."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.errors import UsageError
from vitrail.files import check_writable, write_whole

if TYPE_CHECKING:
    from vitrail.analysis import Cost

_FORMATS = (".png", ".svg", ".pdf")
_KINDS = ("attention", "projections", "mlp", "rest")


def check_plot(path: Path) -> None:
    """Refuse early what cannot be drawn: before minutes of work, not after.

    Raises:
        UsageError: a format that is not drawn, or a folder that does not exist.
        ModuleNotFoundError: matplotlib is not installed; the command line names the extra.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(
            f"--plot {path}", f"a file that ends in {', '.join(_FORMATS)}", "--plot cost.png"
        )
    check_writable(path, "--plot")
    import matplotlib  # noqa: F401  # only whether it is there


def draw(costs: list["Cost"], path: Path) -> None:
    """Write the picture: how costs grow where a model has several sizes, else what they are of."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    grows = len({cost.size for cost in costs}) > 1
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    (_draw_growth if grows else _draw_shares)(costs, *axes)
    try:
        write_whole(path, lambda temporary: figure.savefig(temporary, dpi=150))
    finally:
        pyplot.close(figure)


def _draw_growth(costs: list["Cost"], left: Any, right: Any) -> None:
    for name in dict.fromkeys(cost.model for cost in costs):
        rows = sorted((math.prod(c.size), c) for c in costs if c.model == name)
        samples = [count for count, _ in rows]
        left.plot(samples, [c.flops.total / 1e9 for _, c in rows], marker="o", label=name)
        right.plot(samples, [c.inference_peak / 1e6 for _, c in rows], marker="o", label=name)
    for axis, label in ((left, "GFLOP (a multiply-add is two)"), (right, "peak memory, MB")):
        axis.set(xscale="log", yscale="log", xlabel="input samples", ylabel=label)
        axis.grid(alpha=0.3)
    left.legend(fontsize="small")


def _draw_shares(costs: list["Cost"], left: Any, right: Any) -> None:
    names = [cost.model for cost in costs]
    floor = [0.0] * len(costs)
    for kind in _KINDS:
        values = [getattr(cost.flops, kind) / 1e9 for cost in costs]
        left.bar(names, values, bottom=floor, label=kind)
        floor = [low + value for low, value in zip(floor, values, strict=True)]
    left.set_ylabel("GFLOP (a multiply-add is two)")
    left.legend(fontsize="small")
    for label, shift, values in (
        ("forward", -0.2, [cost.inference_peak for cost in costs]),
        ("training with AdamW", 0.2, [cost.training_total or 0 for cost in costs]),
    ):
        places = [place + shift for place in range(len(costs))]
        right.bar(places, [value / 1e6 for value in values], width=0.4, label=label)
    right.set_xticks(range(len(costs)), names)
    right.set_ylabel("peak memory, MB")
    right.legend(fontsize="small")
    for axis in (left, right):
        axis.tick_params(axis="x", rotation=30)
