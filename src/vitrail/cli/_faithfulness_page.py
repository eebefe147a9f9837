"""What `vitrail faithfulness` writes: a document, plots and a summary, from the numbers."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vitrail.files import write_text, write_whole

REFERENCE_TITLES = {"random": "random order", "centre": "from the centre outwards"}
_MEASURED = {"random": "a random order", "centre": "the centre outwards"}
_BASELINES = {
    "blur": "the image blurred by a Gaussian of an eighth of each axis",
    "mean": "the image's mean colour",
}


def write(result: dict[str, Any], out: Path) -> None:
    """Write numbers, plots and the document, each whole or not at all.

    Args:
        result: what `vitrail faithfulness` found.
        out: the folder; made if it is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    # One line an image: a thousand short lines of indentation would say no more.
    per_image = ",\n  ".join(json.dumps(image) for image in result["per_image"])
    head = json.dumps({**result, "per_image": []}, indent=1, ensure_ascii=False)
    numbers = head.replace('"per_image": []', f'"per_image": [\n  {per_image}\n ]') + "\n"
    write_text(out / "faithfulness.json", numbers)
    draw(result, out)
    text = page(result)
    write_text(out / "README.md", text)


def small(result: dict[str, Any], path: Path) -> None:
    """Write what the explorer shows of a study, for the package to bring along."""
    keys = ("format", "model", "sha256", "images", "size", "target", "baseline", "steps", "rows")
    size = " x ".join(map(str, result["size"]))
    kept = {
        **{key: result[key] for key in keys},
        "dataset": f"{result['dataset']} at {size}",
        "rows": [_rounded(row) for row in result["rows"]],
    }
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    write_text(path, text)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def page(result: dict[str, Any]) -> str:
    """Return the document.

    Args:
        result: what `vitrail faithfulness` found, as it stands in its JSON.
    """
    return "\n\n".join([_head(result), _verdicts(result), _tables(result), _method(result)]) + "\n"


def _head(result: dict[str, Any]) -> str:
    size = " x ".join(map(str, result["size"]))
    return (
        "# How far to trust the maps\n\n"
        "Written by `vitrail faithfulness`; every number below stands in "
        "[faithfulness.json](faithfulness.json), with the areas of each image.\n\n"
        f"Model `{result['model']}`, weights {result['weights']} (sha256 "
        f"`{result['sha256'][:12]}...`), {result['images']} images of {result['dataset']} at "
        f"{size}, drawn with seed {result['seed']}. The class explained is "
        + (
            "the predicted one."
            if result["target"] == "predicted"
            else "the image's own, whatever the model predicts."
        )
    )


def _verdicts(result: dict[str, Any]) -> str:
    lines = []
    for row in _methods(result):
        beats = [_MEASURED[name] for name, wins in row["beats"].items() if wins]
        fails = [_MEASURED[name] for name, wins in row["beats"].items() if not wins]
        parts = [f"beats {_and(beats)}"] if beats else []
        parts += [f"beats neither {' nor '.join(fails)}"] if len(fails) > 1 else []
        parts += [f"does not beat {fails[0]}"] if len(fails) == 1 else []
        lines.append(f"- **{_title(result, row['method'])}** {', but '.join(parts)}.")
    return (
        "## Verdict\n\n"
        "A map beats a reference when its deletion area is smaller *and* its insertion area is "
        "larger, both by more than the 95 % interval of the difference.\n\n" + "\n".join(lines)
    )


def _tables(result: dict[str, Any]) -> str:
    own = [
        (_title(result, row["method"]), _interval(row["deletion"]), _interval(row["insertion"]))
        for row in result["rows"]
    ]
    pairs = [
        (
            _title(result, row["method"]),
            *(
                _interval(row["against"][reference][kind], "+")
                for reference in REFERENCE_TITLES
                for kind in ("deletion", "insertion")
            ),
        )
        for row in _methods(result)
    ]
    return (
        "## Areas\n\nMean and 95 % interval. Small is good for deletion, large for insertion.\n\n"
        + _table(("order", "deletion", "insertion"), own)
        + "\n\nDifferences image by image, method minus reference. Below zero is good for "
        "deletion, above zero for insertion.\n\n"
        + _table(
            ("map", "deletion − random", "insertion − random",
             "deletion − centre", "insertion − centre"), pairs,
        )
        + "\n\n![Mean areas with their intervals](areas.png)"
        "\n\n![Mean curves of deletion and insertion](curves.png)"
    )  # fmt: skip


def _method(result: dict[str, Any]) -> str:
    return (
        "## How it was measured\n\n"
        "After Petsiuk et al. 2018 (arXiv 1806.07421): the image is taken away cell by cell, what "
        "the map ranks highest first, and put back in the same order; what counts is the "
        f"probability of the class at {result['steps']} points. What is taken away is replaced "
        f"by {_BASELINES[result['baseline']]}, in both curves. A cell is as many whole patches of "
        "the model as leave at most 16 cells along an axis; coarse maps are interpolated "
        f"linearly. The random reference is the mean of {result['draws']} orders for each image, "
        "each taken forwards as a deletion and backwards as an insertion, so that its two areas "
        "are equal; "
        "the centre is a Gaussian in the middle, where photographs tend to have their subject. "
        "Intervals are percentiles of 10,000 bootstrap draws of the images."
    )


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw the mean curves and the areas, one PNG each.

    Args:
        result: what `vitrail faithfulness` found.
        folder: where they go; it exists.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    for name, fill in (("curves", _draw_curves), ("areas", _draw_areas)):
        figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
        fill(result, axes)
        # The same numbers give the same file: no version of the library inside.
        write_whole(
            folder / f"{name}.png",
            lambda path, figure=figure: figure.savefig(path, dpi=110, metadata={"Software": None}),
        )
        pyplot.close(figure)


def _draw_curves(result: dict[str, Any], axes: Any) -> None:
    shares = [100 * i / (result["steps"] - 1) for i in range(result["steps"])]
    words = ("removed, %", "put back, %")
    for i, (axis, kind) in enumerate(zip(axes, ("deletion", "insertion"), strict=True)):
        for number, row in enumerate(result["rows"]):
            name = row["method"]
            axis.plot(
                shares,
                result["curves"][name][i],
                label=_title(result, name),
                **_look(name, number),
            )
        axis.set(title=f"{kind} (mean of {result['images']} images)", xlabel=words[i])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("probability of the class")
    axes[0].legend(fontsize="small")


def _draw_areas(result: dict[str, Any], axes: Any) -> None:
    rows = result["rows"]
    for axis, kind, good in zip(
        axes, ("deletion", "insertion"), ("smaller is better", "larger is better"), strict=True
    ):
        for number, row in enumerate(rows):
            mean, low, high = row[kind]
            look = {"marker": "o", **_look(row["method"], number), "linestyle": "none"}
            axis.errorbar(mean, -number, xerr=[[mean - low], [high - mean]], capsize=3, **look)
        axis.set(title=f"area under {kind}: {good}")
        axis.set_yticks([-i for i in range(len(rows))], [_title(result, r["method"]) for r in rows])
        axis.grid(alpha=0.3, axis="x")


def _look(name: str, number: int) -> dict[str, Any]:
    """References are grey and dashed, so that colour means a map."""
    if name in REFERENCE_TITLES:
        return {"color": "0.45", "linestyle": "--" if name == "random" else ":"}
    return {"color": f"C{number}"}


def _methods(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in result["rows"] if row["method"] not in REFERENCE_TITLES]


def _title(result: dict[str, Any], name: str) -> str:
    return REFERENCE_TITLES.get(name) or result["titles"][name]


def _interval(value: list[float], sign: str = "") -> str:
    mean, low, high = value
    return f"{mean:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _and(words: list[str]) -> str:
    return " and ".join(words)


def _table(head: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    names = list(head)
    rows = [names, ["---"] * len(names), *([str(cell) for cell in line] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
