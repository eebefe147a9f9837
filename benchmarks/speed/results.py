"""Keep what was measured: a file for each case, in a folder of its machine."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import Case
from benchmarks.speed.floor import Least
from benchmarks.speed.machine import describe, label
from vitrail.bench.timing import Effort
from vitrail.files import whole_or_absent

_ROOT = Path(__file__).parents[2]  # where ``benchmarks`` is found
_LONGEST = 7200  # seconds of one case, compilers included
_LAST = 20  # lines of a process that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How cases are measured.

    Args:
        effort: how long to time.
        focal: a checkout of the official Focal Transformer.
        only: libraries beside ours; none for all.
        settings: that are tried; none for all.
        prepare: build and check, time nothing, keep nothing.
        quick: limits of the machine from small tensors.
    """

    effort: Effort = field(default_factory=Effort)
    focal: Path | None = None
    only: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    prepare: bool = False
    quick: bool = False

    @property
    def whole(self) -> bool:
        """Whether everyone may take part, at every setting: a result that the page shows."""
        return not (self.only or self.settings or self.quick)


def folder_for(root: Path, device: str) -> Path:
    """Return the folder of this machine's results."""
    words = re.sub(r"\W+", "-", label(describe(device)).lower()).strip("-")
    return root / words


def measure_case(case: Case, folder: Path, options: Options) -> dict[str, Any] | str:
    """Measure a case in a process of its own, and keep the result.

    One without some of the contenders is kept apart, in ``partial``: it must not pass for the
    whole, nor take its place.

    Returns:
        The result, or the last words of a process that failed; then nothing is kept.
    """
    path = kept_in(folder, options) / f"{case.name}.json"
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / path.name
        try:
            done = subprocess.run(
                _command(case, out, options), capture_output=True, text=True, timeout=_LONGEST,
                cwd=_ROOT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"not done after {_LONGEST} seconds"
        if done.returncode != 0 or not out.is_file():
            lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
            return "\n".join(lines[-_LAST:])
        text = out.read_text(encoding="utf-8")
    if not options.prepare:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_absent(path) as part:
            part.write_text(text, encoding="utf-8")
    return json.loads(text)


def kept_in(folder: Path, options: Options) -> Path:
    """Return the folder of what is measured so."""
    return folder if options.whole else folder / "partial"


def _command(case: Case, out: Path, options: Options) -> list[str]:
    words = [sys.executable, "-m", "benchmarks.speed.measure", json.dumps(case.as_dict()),
             str(out), "--effort", json.dumps(asdict(options.effort))]  # fmt: skip
    if options.focal is not None:
        words += ["--focal", str(options.focal.resolve())]
    if options.prepare:
        words.append("--prepare")
    if options.quick:
        words.append("--quick")
    for name, chosen in (("--only", options.only), ("--settings", options.settings)):
        words += [name, *chosen] if chosen else []
    return words


def known(folder: Path, case: Case) -> dict[str, Any] | None:
    """Return what was measured before, if it was."""
    path = folder / f"{case.name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def load(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every result by the machine it was measured on, as the folders are called.

    Floors are those of the best limits that any of a machine's cases measured: what disturbed one
    of them for a moment is no limit.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(root.glob("*/*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "rows" in result and "case" in result:
            found.setdefault(path.parent.name, []).append(result)
    for results in found.values():
        _level(results)
    return found


def _level(results: list[dict[str, Any]]) -> None:
    """Give all cases of a machine its best limits: of copies, and of products in their type."""
    copies = max(result["limits"]["bytes"] for result in results)
    for dtype in {result["case"]["dtype"] for result in results}:
        alike = [result for result in results if result["case"]["dtype"] == dtype]
        best = {"flops": max(r["limits"]["flops"] for r in alike), "bytes": copies}
        for result in alike:
            result["limits"] = best
            for row in result["rows"]:
                before, least = row["floor"], Least(row["floor"]["flops"], row["floor"]["bytes"])
                row["floor"] = least.as_dict(best)
                if "over_floor" in row:
                    row["over_floor"] *= before["seconds"] / row["floor"]["seconds"]


def in_words(result: dict[str, Any]) -> list[str]:
    """Say in a line for each row how we stand to the best of everyone else."""
    lines = []
    for row in result["rows"]:
        ratios: dict[str, Any] = row.get("ratios", {})
        refused = [_who(e) for e in row["contenders"] if "refused" in e]
        words = ", ".join(f"{lib} {r['median']:.2f}" for lib, r in _sorted(ratios))
        words = f"times faster than {words}" if words else "nobody else was timed"
        over = f"; {row['over_floor']:.1f} times the floor" if "over_floor" in row else ""
        less = f"; refused: {', '.join(refused)}" if refused else ""
        failed = [_who(e) for e in row["contenders"] if "failed" in e and e["library"] == "vitrail"]
        less += f"; failed: {', '.join(failed)}" if failed else ""
        lines.append(f"{row['label']}: {words}{over}{less}")
    return lines


def _sorted(ratios: dict[str, Any]) -> Sequence[tuple[str, Any]]:
    return sorted(ratios.items(), key=lambda item: item[1]["median"])


def _who(entry: dict[str, Any]) -> str:
    return f"{entry['library']} ({entry['setting']})"
