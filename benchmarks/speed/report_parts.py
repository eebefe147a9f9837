"""Tables, cells and the list of every setting: parts of the document."""

from collections.abc import Iterable
from typing import Any


def table(head: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    """Return a table in Markdown."""
    names = list(head)
    rows = [names, ["---"] * len(names), *([str(cell) for cell in line] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def milliseconds(seconds: float) -> str:
    """Return milliseconds with three figures that count."""
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def of_ratio(ratio: dict[str, Any]) -> str:
    """Return a ratio and its quartiles."""
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.2f} [{low:.2f} – {high:.2f}]"


def size_words(case: dict[str, Any]) -> str:
    """Return the size of a case's input."""
    return "×".join(map(str, case["size"]))


def case_words(case: dict[str, Any]) -> str:
    """Return a case in the first cell of its row."""
    return f"`{case['model']}` {size_words(case)}, batch {case['batch']}, {case['dtype']}"


def details(result: dict[str, Any]) -> str:
    """Return every setting of every contender of a case, folded away."""
    case = result["case"]
    blocks = []
    for row in result["rows"]:
        lines = [_line(entry) for entry in row["contenders"]]
        heading = f"{row['label']}: {row['floor']['flops'] / 1e9:,.2f} GFLOP, at least "
        heading += f"{row['floor']['bytes'] / 1e6:,.1f} MB\n\n"
        head = ("who", "setting", "median, ms", "quartiles", "rounds", "first call, s",
                "peak memory, MB", "difference")  # fmt: skip
        blocks.append(heading + table(head, lines))
    facts = result["machine"]
    title = f"{case_words(case).replace('`', '')}, {case['task']}"
    return (
        f"<details><summary>{title}</summary>\n\nCommit {facts['commit']}, {facts['time']} UTC, "
        f"load {facts['load']}.\n\n" + "\n\n".join(blocks) + "\n\n</details>"
    )


def _line(entry: dict[str, Any]) -> tuple[str, ...]:
    who = (entry["library"], entry["setting"])
    for key in ("absent", "refused", "failed"):
        if key in entry:
            stated = entry[key].replace("|", "\\|")
            return (*who, f"{key}: {stated}", "", "", "", "", "")
    first = f"{entry['first_seconds']:.1f}"
    if "seconds" not in entry:
        return (*who, "", "", "", first, "", f"{entry['difference']:.0e}")
    seconds = entry["seconds"]
    low, high = (milliseconds(s) for s in seconds["quartiles"])
    peak = entry.get("peak_bytes")
    return (*who, milliseconds(seconds["median"]), f"{low} – {high}", str(seconds["rounds"]), first,
            "" if peak is None else f"{peak / 1e6:,.0f}", f"{entry['difference']:.0e}")  # fmt: skip
