"""All figures of a machine in one page, made of the results alone and of notes about them."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.speed.goals import (
    GOALS,
    Goal,
    Standing,
    best_entries,
    curve,
    standing,
)
from benchmarks.speed.machine import label
from benchmarks.speed.report_parts import (
    case_words,
    details,
    milliseconds,
    of_ratio,
    table,
)

Results = dict[str, list[dict[str, Any]]]
_INTRO = """# All measurements

<!-- Written by `make bench` from the JSON files beside this page and benchmarks/notes.toml. -->

[The summary](../../docs/performance.md) has the figures that matter most. One case runs in one
process. All libraries get the same weights and the same input; one whose answer is further from
ours, in float32 and eager mode, than rounding explains is not timed. Those that remain are timed
in turns, A B C A B C ..., so that what slows the machine slows all; each begins when the threads
of the last are asleep. Each library is tried at the settings under *every setting*, and its best
counts; cases that matter less leave out settings that seldom win, `torch.compile` without frozen
weights above all. A time is the median of the rounds; a ratio is the median of the rounds' ratios,
with its quartiles in brackets: **how many times faster Vitrail is**. Starting, compiling and
warming up are not part of a time; the first call stands apart under *every setting*. Swin V2 gets
256 pixels, which its windows of 8 tokens divide. The official code of Focal takes part where
`--focal` (or `make bench FOCAL=...`) names a checkout of it.

The **floor** estimates what a case takes at least: its products at the measured rate of torch's
large matrix multiplications, or its fewest bytes at the measured bandwidth of a copy, whichever is
longer. Rates are the best that any case measured on that machine; kernels whose products are
faster than torch's can come in a little below the floor. Fewest bytes: weights, input and output
once, tokens once into and once out of each block; for attention alone queries, keys, values and
outputs once. Pairs of tokens that a mask hides count nothing.
"""


def page(machine: str, found: list[dict[str, Any]], notes: dict[str, str]) -> str:
    """Return the document of one machine.

    Args:
        machine: the name of its folder.
        found: its results, as ``results.load`` returns them.
        notes: what bounds a goal and what was tried, by the goal's name; what to know about a
            machine, by its folder's name.
    """
    parts = [_INTRO, _goals(found, notes), _machine(machine, found, notes.get(machine, ""))]
    for task, title, write in (
        ("inference", "Inference", _models),
        ("training", "Training step", _models),
        ("attention", "Attention alone", _attention),
        ("linear", "Linear means linear", _linear),
    ):
        chosen = [r for r in found if r["case"]["task"] == task]
        if chosen:
            parts.append(f"### {title}\n\n{write(sorted(chosen, key=order))}")
    parts.append("### Every setting\n\n" + "\n\n".join(details(r) for r in found))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def order(result: dict[str, Any]) -> tuple[Any, ...]:
    """Return what sorts results: most wanted first."""
    case = result["case"]
    return case["priority"], case["model"], case["size"], -case["batch"], case["dtype"]


def standings(found: list[dict[str, Any]]) -> list[tuple[Goal, Standing | None]]:
    """Return every goal with how it stands among a machine's results; None if it is open."""
    stated = []
    for goal in GOALS:
        those = [standing(goal, result) for result in found if _name(result) == goal.case]
        stated.append((goal, next((one for one in those if one is not None), None)))
    return stated


def _goals(found: list[dict[str, Any]], notes: dict[str, str]) -> str:
    lines = []
    for goal, one in standings(found):
        note = notes.get(goal.name, "")
        if one is None:
            lines.append((goal.words, _wanted(goal), "open", f"not measured. {note}".strip()))
        else:
            lines.append((goal.words, _wanted(goal), *_stands(goal, one, note)))
    return "## Goals\n\nA figure of a GPU counts only where it was measured on one.\n\n" + table(
        ("case", "goal", "measured", ""), lines
    )


def _stands(goal: Goal, stated: Standing, note: str) -> tuple[str, str]:
    spread = "" if stated.quartiles is None else " [{:.2f} – {:.2f}]".format(*stated.quartiles)
    against = f" ({stated.against})" if stated.against else ""
    without = f", without {' and '.join(stated.without)}" if stated.without else ""
    missed = f"**missed** by {_percent(_missed(goal, stated.value))}{without}."
    reached = f"reached{without}." if stated.reached else missed
    return f"{stated.value:.2f}{spread}{against}", f"{reached} {note}".strip()


def _name(result: dict[str, Any]) -> str:
    from benchmarks.speed.cases import Case

    return Case.of(result["case"]).name


def _wanted(goal: Goal) -> str:
    if goal.kind == "bandwidth":
        return f"≥ {_percent(goal.least)}"
    return f"{'≥' if goal.kind == 'faster' else '≤'} {goal.least:g} ×"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _missed(goal: Goal, value: float) -> float:
    share = value / goal.least
    return 1 - share if goal.kind in ("faster", "bandwidth") else share - 1


def _machine(machine: str, found: list[dict[str, Any]], note: str) -> str:
    facts = found[0]["machine"]
    rates: dict[str, list[float]] = {}
    copies = []
    for result in found:
        rates.setdefault(result["case"]["dtype"], []).append(result["limits"]["flops"])
        copies.append(result["limits"]["bytes"])
    products = ", ".join(f"{max(r) / 1e9:,.0f} GFLOP/s in {d}" for d, r in sorted(rates.items()))
    packages = [{"Python": r["machine"]["python"], **r["machine"]["packages"]} for r in found]
    names = dict.fromkeys(name for one in packages for name in one)
    versions = ", ".join(
        f"{name} {' and '.join(dict.fromkeys(one[name] for one in packages if name in one))}"
        for name in names
    )
    commits = ", ".join(dict.fromkeys(f"`{r['machine']['commit']}`" for r in found))
    times = sorted(r["machine"]["time"] for r in found)
    busy = max((r["machine"]["load"] or 0 for r in found), default=0)
    changed = " (+: with changes that were not committed yet)" if "+" in commits else ""
    return (
        f"## {label(facts)}\n\n"
        f"{facts['system']}, {facts['capability']}; {versions}. "
        f"Vitrail at {commits}{changed}; measured from {times[0]} to {times[-1]} UTC, with a load "
        f"of at most {busy:g} as a case began, its predecessor's included. The machine's "
        f"limits: {products}; copies of {max(copies) / 1e9:.1f} GB/s, read and written. "
        f"Results: `benchmarks/{machine}/`. {note}"
    )


def _models(found: Sequence[dict[str, Any]]) -> str:
    libraries = _libraries(found)
    lines = []
    for result in found:
        (row,) = result["rows"]
        entries = best_entries(row)
        cells = [_cell(row, entries, library) for library in libraries]
        mine = entries.get("vitrail")
        over = f"{milliseconds(row['floor']['seconds'])} ({row['floor']['bound']})"
        times = f"{row['over_floor']:.1f}" if "over_floor" in row else "–"
        own = "–" if mine is None else _own(mine)
        memory = _memory(entries)
        lines.append((case_words(result["case"]), own, *cells, over, times, memory))
    head = ("case", "Vitrail, ms", *(f"{lib}, ms (ratio)" for lib in libraries), "floor, ms",
            "over the floor", "peak memory, MB")  # fmt: skip
    return table(head, lines) + (
        "\n\nPeak memory is what torch takes on top of weights and input, each library at its "
        "fastest setting: ours / the least of the others. What other runtimes take, what our "
        "C++ kernels work in (some hundred rows), and what earlier calls kept, is not seen. ✗: its "
        "answer differs."
    )


def _own(entry: dict[str, Any]) -> str:
    return f"**{milliseconds(entry['seconds']['median'])}** ({entry['setting']})"


def _memory(entries: dict[str, dict[str, Any]]) -> str:
    peaks = {lib: e["peak_bytes"] for lib, e in entries.items() if e.get("peak_bytes")}
    mine = peaks.pop("vitrail", None)
    if mine is None:
        return "–"
    others = f" / {min(peaks.values()) / 1e6:,.0f}" if peaks else ""
    return f"{mine / 1e6:,.0f}{others}"


def _libraries(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return every library but ours that was timed or refused anywhere, in order of appearance."""
    names = (
        entry["library"]
        for result in found for row in result["rows"] for entry in row["contenders"]
        if "seconds" in entry or "refused" in entry
    )  # fmt: skip
    return [name for name in dict.fromkeys(names) if name != "vitrail"]


def _cell(row: dict[str, Any], entries: dict[str, dict[str, Any]], library: str) -> str:
    if library not in entries:
        refused = any(e["library"] == library and "refused" in e for e in row["contenders"])
        return "✗" if refused else "–"
    ratio = row.get("ratios", {}).get(library)
    words = milliseconds(entries[library]["seconds"]["median"])
    return words if ratio is None else f"{words} ({of_ratio(ratio)})"


def _attention(found: Sequence[dict[str, Any]]) -> str:
    libraries = _libraries(found)
    lines: list[Iterable[str]] = []
    for result in found:
        for row in result["rows"]:
            entries = best_entries(row)
            mine = entries.get("vitrail")
            if mine is None:
                continue
            seconds = mine["seconds"]["median"]
            rate = row["floor"]["bytes"] / seconds
            lines.append(
                (f"{case_words(result['case'])}, {row['label']}",
                 _own(mine),
                 *(_cell(row, entries, library) for library in libraries),
                 milliseconds(row["floor"]["seconds"]), f"{row['over_floor']:.1f}",
                 f"{rate / 1e9:.1f}")
            )  # fmt: skip
    head = ("layer", "Vitrail, ms", *(f"{lib}, ms (ratio)" for lib in libraries), "floor, ms",
            "over the floor", "GB/s")  # fmt: skip
    return (
        "From the linear layer's output to the next one's input, rolling and cutting included. On "
        "a GPU kernels start together, from a recorded graph, on inputs that no cache holds.\n\n"
        + table(head, lines)
    )


def _linear(found: Sequence[dict[str, Any]]) -> str:
    parts = []
    for result in found:
        points = curve(result)
        if not points:
            continue
        first = points[0][1]
        lines = [
            (words, f"{seconds * 1e9:.1f}", f"{seconds / first:.2f}") for words, seconds in points
        ]
        case = result["case"]
        parts.append(
            f"`{case['model']}`, {case['dtype']}: inputs from small to large, each batch of about "
            "as many pixels:\n\n" + table(("input", "ns per pixel", "over the first"), lines)
        )
    return "\n\n".join(parts)
