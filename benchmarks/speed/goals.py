"""What we want to reach, and how near each measurement comes to it."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["faster", "memory", "bandwidth", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One line of the table of goals.

    Args:
        name: what notes call it.
        words: what is to be reached.
        case: name of the case that decides.
        kind: a ratio of times; of peak memory; the share of the copy bandwidth; the time per sample
            of the largest input over that of the smallest.
        least: or most, for memory and linear.
        against: a library; default the fastest of all.
    """

    name: str
    words: str
    case: str
    kind: Kind = "faster"
    least: float
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a goal stands.

    Args:
        value: that was measured.
        quartiles: of it, if it has some.
        against: whom, or nothing.
        reached: as far as those show that took part.
        without: libraries that might have, but are not installed or failed.
    """

    value: float
    quartiles: tuple[float, float] | None
    against: str
    reached: bool
    without: tuple[str, ...] = ()


GOALS = (
    Goal(name="swin-bf16", words="Swin-T inference, CPU bf16, against the fastest of all",
         case="swin_tiny-inference-224-b8-bf16", least=1.3),
    Goal(name="swin-fp32", words="Swin-T inference, CPU fp32, against the fastest of all",
         case="swin_tiny-inference-224-b8-fp32", least=1.1),
    Goal(name="training-bf16", words="Swin-T training step, CPU bf16, against the fastest of all",
         case="swin_tiny-training-224-b8-bf16", least=1.3),
    Goal(name="focal", words="Focal-T inference, CPU fp32, against the official code",
         case="focal_tiny-inference-224-b8-fp32", least=2.0, against="official"),
    Goal(name="focal-bf16", words="Focal-T inference, CPU bf16, against the official code",
         case="focal_tiny-inference-224-b8-bf16", least=2.0, against="official"),
    Goal(name="pvt", words="PVT v2-b2 inference, CPU fp32, against timm",
         case="pvt_v2_b2-inference-224-b8-fp32", least=1.3, against="timm"),
    Goal(name="pvt-bf16", words="PVT v2-b2 inference, CPU bf16, against timm",
         case="pvt_v2_b2-inference-224-b8-bf16", least=1.3, against="timm"),
    Goal(name="linear", words="Swin-T, CPU bf16: time per pixel at 2048 over that at 224",
         case="swin_tiny-linear-2048-b1-bf16", kind="linear", least=1.15),
    Goal(name="gpu-bandwidth", words="Attention op, GPU bf16: share of the copy bandwidth",
         case="swin_tiny-attention-224-b64-bf16-cuda", kind="bandwidth", least=0.8),
    Goal(name="gpu-sdpa", words="Attention op, GPU bf16, against SDPA with mask",
         case="swin_tiny-attention-224-b64-bf16-cuda", least=3.0, against="SDPA with mask"),
    Goal(name="gpu-flex", words="Attention op, GPU bf16, against FlexAttention",
         case="swin_tiny-attention-224-b64-bf16-cuda", least=2.0, against="FlexAttention"),
    *(
        Goal(name=f"gpu-{model}-{task}-{size}",
             words=f"{title} {task} at {size}, GPU bf16, against the fastest of all",
             case=f"{model}-{task}-{size}-b{batch}-bf16-cuda", least=least)
        for model, title in (("swin_tiny", "Swin-T"), ("swin_base", "Swin-B"))
        for task in ("inference", "training")
        for size, batch, least in ((224, 64, 1.5), (1024, 4, 2.0))
    ),
    *(
        Goal(name=f"gpu-memory-{model}-{size}",
             words=f"{title} training memory at {size}, GPU bf16, against the least",
             case=f"{model}-training-{size}-b{batch}-bf16-cuda", kind="memory", least=0.6)
        for model, title in (("swin_tiny", "Swin-T"), ("swin_base", "Swin-B"))
        for size, batch in ((224, 64), (1024, 4))
    ),
)  # fmt: skip


def standing(goal: Goal, result: dict[str, Any]) -> Standing | None:
    """Return how a goal stands in the result of its case; None where it does not show it."""
    rows = result["rows"]
    if goal.kind == "linear":
        per_sample = curve(result)
        if len(per_sample) < 2:
            return None
        value = per_sample[-1][1] / per_sample[0][1]
        return Standing(value, None, "", value <= goal.least)
    if goal.kind == "bandwidth":
        shares = [1 / row["over_floor"] for row in rows if "over_floor" in row]
        if not shares:
            return None
        return Standing(min(shares), None, "", min(shares) >= goal.least)
    if goal.kind == "memory":
        return _memory(goal, rows[0])
    # Of several layers the one where we are least ahead.
    found = [_slowest(goal, row) for row in rows if row.get("ratios")]
    facts = [standing for standing in found if standing is not None]
    return min(facts, key=lambda one: one.value, default=None)


def _slowest(goal: Goal, row: dict[str, Any]) -> Standing | None:
    ratios = {lib: r for lib, r in row["ratios"].items() if goal.against in (None, lib)}
    if not ratios:
        return None
    library = min(ratios, key=lambda lib: ratios[lib]["median"])
    value, spread = ratios[library]["median"], ratios[library]["quartiles"]
    without = () if goal.against else missing(row)
    return Standing(value, (spread[0], spread[1]), library, value >= goal.least, without)


def missing(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the libraries that were not timed because they are not installed or failed."""
    libraries = dict.fromkeys(entry["library"] for entry in row["contenders"])
    return tuple(
        library for library in libraries
        if all(
            "failed" in entry or entry.get("absent", "").startswith("not installed")
            for entry in row["contenders"] if entry["library"] == library
        )
    )  # fmt: skip


def _memory(goal: Goal, row: dict[str, Any]) -> Standing | None:
    peaks = {lib: entry["peak_bytes"] for lib, entry in best_entries(row).items()
             if entry.get("peak_bytes")}  # fmt: skip
    others = {lib: peak for lib, peak in peaks.items() if lib != "vitrail"}
    if "vitrail" not in peaks or not others:
        return None
    library = min(others, key=lambda lib: others[lib])
    value = peaks["vitrail"] / others[library]
    return Standing(value, None, library, value <= goal.least)


def best_entries(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each library's entry at its best setting."""
    best = row.get("best", {})
    return {e["library"]: e for e in row["contenders"] if best.get(e["library"]) == e["setting"]}


def curve(result: dict[str, Any]) -> list[tuple[str, float]]:
    """Return our seconds per sample of the input, from the smallest input to the largest."""
    points = []
    for row in result["rows"]:
        entry = best_entries(row).get("vitrail")
        if entry is not None:
            points.append((row["label"], entry["seconds"]["median"] / samples(row["label"])))
    return points


def samples(label: str) -> int:
    """Return the samples of all inputs of a row, from its label: ``224x224, batch 84``."""
    size, _, batch = label.partition(", batch ")
    count = int(batch)
    for length in size.split("x"):
        count *= int(length)
    return count
