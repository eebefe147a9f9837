"""docs/performance.md: the figures that matter most, of every machine, on one screen."""

from typing import Any

from benchmarks.speed.goals import best_entries
from benchmarks.speed.machine import label
from benchmarks.speed.report import Results, order, standings
from benchmarks.speed.report_parts import case_words, milliseconds, of_ratio, table

_INTRO = """# Performance

<!-- Written by `make bench` from benchmarks/*/*.json. -->

Vitrail is what `vitrail.optimize` returns, beside the fastest setting of each installed library
(timm, torchvision, transformers, OpenVINO, ONNX Runtime, the papers' own code) on the same weights
and input. A library whose answer differs by more than rounding is not timed. Times are medians of
runs in turns; a ratio is the median of the rounds' ratios, with its quartiles: how many times
faster Vitrail is. The floor is the time of the case's matrix products at the rate of torch's large
ones.

`make bench` measures this machine (hours; stops and goes on). For your model and size: `vitrail
bench MODEL --size 224 --batch 8`.

![Times beside those of the peers, and time per pixel](performance.svg)
"""


def summary(results: Results) -> str:
    """Return the document.

    Args:
        results: of each machine, as ``results.load`` returns them.
    """
    parts = [_INTRO]
    for machine, found in results.items():
        head = ("case", "Vitrail, ms", "next fastest, ms", "ratio", "over the floor")
        lines = [_line(result) for result in sorted(found, key=order) if _matters(result["case"])]
        facts = [one for _, one in standings(found) if one is not None]
        reached = sum(one.reached for one in facts)
        parts.append(
            f"## {label(found[0]['machine'])}\n\n{table(head, lines)}\n\n"
            f"{reached} of {len(facts)} goals that were measured here are reached. Goals, all "
            f"{len(found)} cases, every setting, versions and memory: "
            f"[benchmarks/{machine}](../benchmarks/{machine}/README.md)."
        )
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _matters(case: dict[str, Any]) -> bool:
    """Return whether a case stands in the summary: those of the goals, and the largest input."""
    if case["task"] not in ("inference", "training"):
        return False
    return case["priority"] <= 2 or (case["model"], max(case["size"])) == ("swin_tiny", 2048)


def _line(result: dict[str, Any]) -> tuple[str, ...]:
    (row,) = result["rows"]
    entries, ratios = best_entries(row), row.get("ratios", {})
    step = ", training step" if result["case"]["task"] == "training" else ""
    if "vitrail" not in entries:
        return (case_words(result["case"]) + step, "–", "–", "–", "–")
    own = milliseconds(entries["vitrail"]["seconds"]["median"])
    words, ratio = "–", "–"
    if ratios:
        nearest = min(ratios, key=lambda library: ratios[library]["median"])
        words = f"{milliseconds(entries[nearest]['seconds']['median'])} ({nearest})"
        ratio = of_ratio(ratios[nearest])
    return (case_words(result["case"]) + step, own, words, ratio, f"{row['over_floor']:.1f}")
