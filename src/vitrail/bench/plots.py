"""The comparison's plots, with matplotlib, which the extra "plot" brings."""

from pathlib import Path
from typing import Any

from vitrail.bench.document import PLOTS
from vitrail.files import whole_or_absent


def draw(rows: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw how costs grow, one PNG and one SVG for each kind of cost, and return their paths.

    Args:
        rows: of the comparison.
        folder: where they go; it exists.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    paths = []
    # The same numbers give the same file: no dates, no random names inside.
    with matplotlib.rc_context({"svg.hashsalt": "vitrail"}):
        for name, title in PLOTS.items():
            figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
            for row in rows:
                points = [p for p in row["growth"] if p[name] is not None]
                sizes, values = [p["size"] for p in points], [p[name] for p in points]
                axes.plot(sizes, values, marker="o", label=f"{row['mechanism']} ({row['model']})")
            axes.set(xscale="log", yscale="log", xlabel="samples along each axis", title=title)
            ticks = sorted({p["size"] for row in rows for p in row["growth"]})
            axes.set_xticks(ticks, [str(size) for size in ticks])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small")
            for kind, facts in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = folder / f"{name}.{kind}"
                with whole_or_absent(path) as part:
                    figure.savefig(part, dpi=120, metadata=facts)
                paths.append(path)
            pyplot.close(figure)
    return paths
