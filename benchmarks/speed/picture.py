"""The plot of docs/performance.md, with matplotlib, which the extra "plot" brings."""

from pathlib import Path
from typing import Any

from benchmarks.speed.goals import best_entries, curve
from benchmarks.speed.report_parts import size_words
from vitrail.files import write_whole

# Okabe and Ito's colours, which colour-blind readers can distinguish.
COLOURS = {
    "vitrail": "#000000", "timm": "#0072b2", "torchvision": "#e69f00", "transformers": "#009e73",
    "OpenVINO": "#cc79a7", "ONNX Runtime": "#56b4e9", "official": "#d55e00",
}  # fmt: skip
_MOST = 14  # cases drawn; the tables have all


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw each peer's time over ours, case by case, and time per pixel against size.

    Args:
        results: of each machine.
        path: the SVG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = [r for rows in results.values() for r in rows]
    chosen = [r for r in found if r["case"]["task"] in ("inference", "training")
              and r["rows"][0].get("ratios")]  # fmt: skip
    chosen = sorted(chosen, key=lambda r: (r["case"]["priority"], r["case"]["model"]))[:_MOST]
    curves = [r for r in found if r["case"]["task"] == "linear" and curve(r)]
    # The same numbers give the same file: no dates, no random names inside.
    with matplotlib.rc_context({"svg.hashsalt": "vitrail", "font.size": 8}):
        height = 1.2 + 0.42 * max(5, len(chosen))
        figure, (left, right) = pyplot.subplots(
            1, 2, figsize=(10, height), layout="constrained", width_ratios=(2, 1)
        )
        _ratios(left, chosen)
        _curves(right, curves)
        write_whole(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
        pyplot.close(figure)


def _ratios(axes: Any, chosen: list[dict[str, Any]]) -> None:
    drawn: set[str] = set()
    for place, result in enumerate(reversed(chosen)):
        row = result["rows"][0]
        for library, ratio in row["ratios"].items():
            (low, high), middle = ratio["quartiles"], ratio["median"]
            axes.errorbar(
                middle, place, xerr=[[middle - low], [high - middle]], fmt="o", markersize=4,
                color=COLOURS.get(library, "#999999"), capsize=2,
                label=None if library in drawn else library,
            )  # fmt: skip
            drawn.add(library)
        mine = best_entries(row)["vitrail"]["seconds"]["median"]
        axes.plot(row["floor"]["seconds"] / mine, place, "k|", markersize=10,
                  label=None if "floor" in drawn else "the machine's floor")  # fmt: skip
        drawn.add("floor")
    axes.axvline(1, color=COLOURS["vitrail"], linewidth=1)
    names = [_name(result["case"]) for result in reversed(chosen)]
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", title="Time over Vitrail's (line at 1)")
    axes.set_xticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
    axes.minorticks_off()
    axes.grid(axis="x", alpha=0.3)
    if drawn:
        axes.legend(fontsize=7, loc="best")


def _name(case: dict[str, Any]) -> str:
    task = "" if case["task"] == "inference" else f" {case['task']}"
    return f"{case['model']}{task}\n{size_words(case)}, batch {case['batch']}, {case['dtype']}"


def _curves(axes: Any, curves: list[dict[str, Any]]) -> None:
    for result in curves:
        points = curve(result)
        sizes = [int(words.partition("x")[0]) for words, _ in points]
        values = [seconds / points[0][1] for _, seconds in points]
        case = result["case"]
        axes.plot(sizes, values, marker="o", label=f"{case['model']}, {case['dtype']}")
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
    axes.axhline(1.15, linestyle=":", color="#d55e00", label="goal: at most 1.15")
    axes.set_ylim(0, 1.5)
    axes.set(xlabel="pixels along each axis", title="Time per pixel (224 is 1)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
