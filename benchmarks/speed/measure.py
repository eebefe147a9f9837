"""Measure one case, in a process of its own: ``python -m benchmarks.speed.measure``.

The reference is our model in eager mode and float32. A contender whose answer is further from it
than rounding explains is not timed, and the case says so.
"""

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed import memory, operations, peers
from benchmarks.speed.cases import LINEAR, Case
from benchmarks.speed.contenders import Contender, Running, contenders, inference, training
from benchmarks.speed.floor import of_attention, of_model
from benchmarks.speed.machine import describe, limits
from vitrail.bench.timing import Effort, interleave, ratio, summary
from vitrail.files import write_text
from vitrail.layers import Attend

# Norm of the difference over norm of the reference. In bf16 rounding makes 0.006 to 0.011; in
# Swin-T a forgotten mask of shifted windows makes 0.04, windows rolled before they are padded 0.09.
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 5e-3}
_TRAINED = 6.0  # times that: gradients have passed through twice as many layers; rounding: 0.07


class Disagreement(Exception):
    """An answer that is not the reference's."""


def measure(
    case: Case, *, effort: Effort, focal: Path | None = None, only: frozenset[str] = frozenset(),
    settings: frozenset[str] = frozenset(), prepare: bool = False, quick: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Measure a case and return everything as plain values.

    Args:
        case: what is measured.
        effort: how long.
        focal: a checkout of the official Focal Transformer.
        only: libraries that may take part; empty for all. Ours always does.
        settings: that are tried, e.g. ``eager``; empty for all.
        prepare: build and check every contender, which fills the compilers' caches; time nothing.
        quick: measure the machine's limits on small tensors.
    """
    torch._dynamo.config.recompile_limit = 512  # every setting and shape is a program of its own
    if case.device == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # as for products, by default
    facts = describe(case.device)
    before = limits(case.torch_dtype, case.device, quick=quick)
    rows, floors = [], []
    for label, least, reference, found, row_case in _rows(case, focal):
        chosen = [c for c in found if c.library == "vitrail" or not only or c.library in only]
        chosen = [c for c in chosen if not settings or c.setting in settings]
        ready, stated = _prepared(row_case, chosen, reference)
        row: dict[str, Any] = {"label": label, "contenders": stated}
        floors.append(least)
        if ready and not prepare:
            _race(row_case, row, ready, effort)
        rows.append(row)
    # What disturbs the machine for a moment must not pass for its limit.
    after = before if prepare else limits(case.torch_dtype, case.device, quick=quick)
    most = {name: max(value, after[name]) for name, value in before.items()}
    for row, least in zip(rows, floors, strict=True):
        _lay_floor(row, least.as_dict(most))
    asked = {"only": sorted(only), "settings": sorted(settings), "quick": quick}
    return {"case": case.as_dict(), "asked": asked, "machine": facts, "limits": most, "rows": rows}


def _rows(case: Case, focal: Path | None) -> Any:
    """Yield what is measured beside one another: label, floor, reference, contenders, case."""
    if case.task == "attention":
        for layer in operations.layers(case):
            given = operations.inputs(layer, case)
            exact = operations.inputs(layer, replace(case, dtype="fp32"))
            reference = [operations.composed(exact.qkv, layer, operations.by_products(exact))]
            least = of_attention(layer.pattern, case, layer.grid, layer.num_heads, layer.head_dim)
            yield layer.label, least, reference, operations.contenders(case, given), case
        return
    model = peers.ours(case).to(case.device).eval()
    parts = [case]
    if case.task == "linear":
        parts = [replace(case, task="inference", size=(n,) * len(case.size), batch=b)
                 for n, b in LINEAR]  # fmt: skip
    for part in parts:
        x = peers.image(part).to(case.device)
        found = contenders(part, model, x, focal)
        if case.task == "linear":
            found = [c for c in found if c.library == "vitrail" and c.setting != "compile"]
        exact = replace(part, dtype="fp32")
        run = training if case.task == "training" else inference
        reference = run(exact, x, _same(_by_torch(model, case)), "eager").answer()
        label = "x".join(map(str, part.size)) + f", batch {part.batch}"
        yield label, of_model(model, part), reference, found, part


def _by_torch(model: nn.Module, case: Case) -> nn.Module:
    """Return a model whose attention is torch's, so that a kernel is not its own measure.

    On a CPU it is unless a kernel is named.
    """
    if case.device == "cpu":
        return model
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, Attend):
            layer.backend = "reference" if case.task == "training" else "sdpa"
    return model


def _same(model: nn.Module) -> Callable[[], nn.Module]:
    return lambda: model


def _prepared(
    case: Case, found: list[Contender], reference: list[Tensor]
) -> tuple[dict[str, tuple[Contender, Running]], list[dict[str, Any]]]:
    """Build every contender and compare its answer; return who may be timed, and who is who."""
    ready: dict[str, tuple[Contender, Running]] = {}
    stated, of_ours = [], None
    for contender in found:
        entry: dict[str, Any] = {"library": contender.library, "setting": contender.setting}
        start = time.perf_counter()
        try:
            running = contender.build()
            answer = running.answer()
            entry["first_seconds"] = time.perf_counter() - start
            entry["difference"] = _compare(answer, reference, case)
            ready[contender.name] = (contender, running)
        except peers.Absent as reason:
            entry["absent"] = str(reason)
        except Disagreement as reason:
            entry["refused"] = str(reason)
        except Exception as error:  # a failure is a result, unless nothing of ours is left
            said = next(iter(str(error).splitlines()), "")
            entry["failed"] = f"{type(error).__name__}: {said}"[:200]
            if contender.library == "vitrail":
                of_ours = error
        stated.append(entry)
    if of_ours is not None and not any(c.library == "vitrail" for c, _ in ready.values()):
        raise of_ours
    return ready, stated


def _compare(answer: list[Tensor], reference: list[Tensor], case: Case) -> float:
    """Return the largest relative difference; refuse one that rounding does not explain."""
    allowed = TOLERANCE[case.dtype] * (_TRAINED if case.task == "training" else 1)
    worst = 0.0
    for mine, right in zip(answer, reference, strict=True):
        difference = (mine.to(right.device, torch.float32) - right).norm() / right.norm()
        worst = max(worst, float(difference)) if bool(difference.isfinite()) else float("inf")
    if not worst <= allowed:
        raise Disagreement(f"its answer differs by {worst:.1e} where {allowed:.0e} is rounding")
    return worst


def _race(
    case: Case, row: dict[str, Any], ready: dict[str, tuple[Contender, Running]], effort: Effort
) -> None:
    """Time who may be timed, and write times, memory and ratios into the row."""
    calls = {name: running.call for name, (_, running) in ready.items()}
    library = {name: contender.library for name, (contender, _) in ready.items()}
    seconds = {
        name: [s / ready[name][1].times for s in found]
        for name, found in interleave(calls, library, case.device, effort).items()
    }
    for entry in row["contenders"]:
        name = f"{entry['library']} ({entry['setting']})"
        if name in seconds:
            entry["seconds"] = summary(seconds[name])
            running = ready[name][1]
            entry["peak_bytes"] = memory.peak(running.call, case.device) if running.keeps else None
    best = {lib: min((n for n in seconds if library[n] == lib), key=lambda n: _median(seconds[n]))
            for lib in dict.fromkeys(library.values())}  # fmt: skip
    if "vitrail" not in best:
        return
    mine = seconds[best["vitrail"]]
    row["best"] = {lib: ready[name][0].setting for lib, name in best.items()}
    row["ratios"] = {
        lib: ratio(seconds[name], mine) for lib, name in best.items() if lib != "vitrail"
    }


def _lay_floor(row: dict[str, Any], floor: dict[str, Any]) -> None:
    """Write the floor into a row, and how many times as long our best setting takes."""
    row["floor"] = floor
    if "best" not in row:
        return
    best = next(entry for entry in row["contenders"] if entry["library"] == "vitrail"
                and entry["setting"] == row["best"]["vitrail"])  # fmt: skip
    row["over_floor"] = best["seconds"]["median"] / floor["seconds"]


def _median(seconds: list[float]) -> float:
    return summary(seconds)["median"]


def main() -> None:
    """Measure the case that is given as JSON, and write its file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", type=json.loads)
    parser.add_argument("out", type=Path)
    parser.add_argument("--effort", type=json.loads, default={})
    parser.add_argument("--focal", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--settings", nargs="*", default=[])
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--quick", action="store_true")
    stated = parser.parse_args()
    warnings.simplefilter("ignore")  # of peers about themselves
    result = measure(
        Case.of(stated.case), effort=Effort(**stated.effort), focal=stated.focal,
        only=frozenset(stated.only), settings=frozenset(stated.settings), prepare=stated.prepare,
        quick=stated.quick,
    )  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    write_text(stated.out, text)


if __name__ == "__main__":
    main()
