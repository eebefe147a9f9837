"""The document and its plot, from results alone."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.cases import case
from benchmarks.speed.goals import GOALS, Goal, Standing, samples, standing
from benchmarks.speed.picture import draw
from benchmarks.speed.report import page
from benchmarks.speed.summary import summary

FLOOR = {"flops": 72_000_000_000, "bytes": 100_000_000, "seconds": 0.05, "bound": "products"}


def entry(library: str, setting: str, seconds: float, peak: int | None = 10**8) -> dict[str, Any]:
    stated = {"median": seconds, "quartiles": [seconds, seconds], "least": seconds, "most": seconds,
            "rounds": 9}  # fmt: skip
    return {"library": library, "setting": setting, "first_seconds": 30.0, "difference": 5e-3,
            "seconds": stated, "peak_bytes": peak}  # fmt: skip


def row(label: str, **seconds: float) -> dict[str, Any]:
    """Return a row of which each library has one setting."""
    found = [entry(library, "eager", s) for library, s in seconds.items()]
    ratios = {
        library: {"median": s / seconds["vitrail"], "quartiles": [1.0, 9.0]}
        for library, s in seconds.items() if library != "vitrail"
    }  # fmt: skip
    best, over = dict.fromkeys(seconds, "eager"), seconds["vitrail"] / 0.05
    return {"label": label, "floor": FLOOR, "contenders": found, "ratios": ratios, "best": best,
            "over_floor": over}  # fmt: skip


def result(task: str, rows: list[dict[str, Any]], **where: Any) -> dict[str, Any]:
    stated = {"model": "swin_tiny", "size": 224, "batch": 8, "dtype": "bf16"} | where
    facts = {"processor": "A processor", "threads": 2, "capability": "AVX512", "system": "Linux",
             "python": "3.11", "packages": {"torch": "2.15.0"}, "commit": "abc", "load": 0.1,
             "time": "2026-01-01 10:00"}  # fmt: skip
    return {"case": case(task, **stated).as_dict(), "machine": facts,
            "limits": {"flops": 2e11, "bytes": 3e10}, "rows": rows}  # fmt: skip


def goal(name: str) -> Goal:
    return next(goal for goal in GOALS if goal.name == name)


def shown() -> dict[str, list[dict[str, Any]]]:
    swin = row("224x224, batch 8", vitrail=0.1, timm=0.15, OpenVINO=0.12)
    swin["contenders"] += [
        {"library": "torchvision", "setting": "eager", "refused": "its answer differs by 9e-02"},
        {"library": "ONNX Runtime", "setting": "timm's graph", "absent": "not | installed"},
    ]
    step = row("224x224, batch 8", vitrail=0.5, timm=0.7)
    line = [row("224x224, batch 84", vitrail=1.0), row("2048x2048, batch 1", vitrail=1.1)]
    return {
        "a-processor": [
            result("inference", [swin]), result("training", [step]),
            result("linear", line, size=2048, batch=1),
            result("attention", [row("stage 1, regular", vitrail=0.06, FlexAttention=0.3)]),
        ]
    }  # fmt: skip


def test_the_page_tells_goals_times_and_refusals() -> None:
    text = page(
        "a-processor",
        shown()["a-processor"],
        {"swin-bf16": "Bound by products.", "gpu-flex": "No GPU here.", "a-processor": "Quiet."},
    )
    lines = text.splitlines()

    def line(*words: str) -> str:
        (found,) = [one for one in lines if all(word in one for word in words)]
        return found

    stated = line("| Swin-T inference, CPU bf16")
    assert "≥ 1.3 × | 1.20 [1.00 – 9.00] (OpenVINO) | **missed** by 8 %. Bound by" in stated
    assert "1.40 [1.00 – 9.00] (timm) | reached." in line("| Swin-T training step, CPU bf16")
    assert "| open | not measured. No GPU here." in line("FlexAttention |", "GPU bf16")
    assert "| open |" in line("| Swin-T inference, CPU fp32")
    assert "≤ 1.15 × | 1.11 | reached." in line("| Swin-T, CPU bf16: time per pixel")
    assert line("`swin_tiny` 224×224, batch 8, bf16 | **100**") == (
        "| `swin_tiny` 224×224, batch 8, bf16 | **100** (eager) | 150 (1.50 [1.00 – 9.00]) | "
        "120 (1.20 [1.00 – 9.00]) | ✗ | 50 (products) | 2.0 | 100 / 100 |"
    )
    assert "| torchvision | eager | refused: its answer differs by 9e-02 |" in text
    assert "absent: not \\| installed" in text
    assert "stage 1, regular | **60** (eager) | 300 (5.00" in text
    assert "Results: `benchmarks/a-processor/`. Quiet." in text
    assert "A processor, 2 threads" in text and "200 GFLOP/s in bf16" in text
    assert "copies of 30.0 GB/s" in text and "`abc`" in text and "torch 2.15.0" in text


def test_a_table_has_as_many_cells_as_its_head() -> None:
    text = page("a-processor", shown()["a-processor"], {})
    widths: list[int] = []
    for one in text.splitlines():
        if not one.startswith("|"):
            widths = []
            continue
        widths.append(one.replace("\\|", "").count("|"))
        assert widths[-1] == widths[0], one


def test_a_goal_stands_by_its_worst_layer_and_its_own_opponent() -> None:
    rows = [row("a", vitrail=1.0, FlexAttention=3.0, timm=0.1),
            row("b", vitrail=1.0, FlexAttention=2.5, timm=9.0)]  # fmt: skip
    stated = standing(goal("gpu-flex"), result("attention", rows))
    assert stated == Standing(2.5, (1.0, 9.0), "FlexAttention", True)
    assert standing(goal("gpu-sdpa"), result("attention", rows)) is None
    share = standing(goal("gpu-bandwidth"), result("attention", rows))
    assert share is not None and share.value == pytest.approx(0.05) and not share.reached


def test_memory_is_compared_with_the_least() -> None:
    one = row("a", vitrail=1.0, timm=2.0, torchvision=3.0)
    for found, peak in zip(one["contenders"], (50, 100, 80), strict=True):
        found["peak_bytes"] = peak
    stated = standing(goal("gpu-memory-swin_tiny-224"), result("training", [one]))
    assert stated == Standing(0.625, None, "torchvision", False)


def test_a_case_in_which_nobody_was_timed_leaves_its_goal_open() -> None:
    bare = {"label": "224x224, batch 8", "floor": FLOOR, "contenders": []}
    for name in ("swin-bf16", "linear", "gpu-memory-swin_tiny-224", "gpu-bandwidth"):
        assert standing(goal(name), result("inference", [bare])) is None
    assert "| open |" in page("m", [result("inference", [bare])], {})


def test_a_goal_tells_who_could_not_take_part() -> None:
    one = row("224x224, batch 8", vitrail=0.1, timm=0.15)
    one["contenders"] += [
        {"library": "OpenVINO", "setting": "timm's graph", "absent": "not installed (No module)"},
        {"library": "torchvision", "setting": "eager", "failed": "MemoryError"},
        {"library": "timm", "setting": "compile", "failed": "an error"},
        {"library": "official", "setting": "eager", "absent": "has no such model"},
    ]
    stated = standing(goal("swin-bf16"), result("inference", [one]))
    assert stated is not None and stated.without == ("OpenVINO", "torchvision")
    text = page("m", [result("inference", [one])], {})
    assert "| reached, without OpenVINO and torchvision. |" in text


def test_the_summary_has_one_screen_for_every_machine() -> None:
    slow = result("inference", [row("224x224, batch 8", vitrail=0.2, timm=0.24)])
    slow["machine"] |= {"processor": "Another", "packages": {"torch": "2.11.0"}}
    later = result("inference", [row("224x224, batch 8", vitrail=0.2, timm=0.3)], dtype="fp32")
    rare = result("inference", [row("96x96, batch 8", vitrail=0.2, timm=0.3)], size=96)
    rare["case"]["priority"] = 3
    text = summary(shown() | {"another": [slow, later, rare]})
    lines = text.splitlines()
    assert lines.index("## A processor, 2 threads") < lines.index("## Another, 2 threads")
    stated = (
        "| `swin_tiny` 224×224, batch 8, bf16 | 100 | 120 (OpenVINO) | 1.20 [1.00 – 9.00] | 2.0 |"
    )
    assert stated in lines
    assert any("bf16, training step | 500 | 700 (timm)" in line for line in lines)
    assert "2 of 3 goals that were measured here are reached" in text
    assert "(../benchmarks/another/README.md)" in text
    assert "96×96" not in text
    assert "Python 3.11, torch 2.11.0 and 2.15.0" in page("another", [slow, later], {})


def test_nobody_timed_leaves_a_line_of_dashes() -> None:
    bare = {"label": "224x224, batch 8", "floor": FLOOR, "contenders": []}
    assert "batch 8, bf16 | – | – | – | – |" in summary({"m": [result("inference", [bare])]})


def test_samples_of_a_row() -> None:
    assert samples("224x224, batch 84") == 224 * 224 * 84
    assert samples("32x224x224, batch 1") == 32 * 224 * 224


def test_the_plot_is_drawn_the_same_twice(tmp_path: Path) -> None:
    draw(shown(), tmp_path / "one.svg")
    draw(shown(), tmp_path / "two.svg")
    one, two = ((tmp_path / f"{name}.svg").read_bytes() for name in ("one", "two"))
    assert b"<svg" in one and one == two
    draw({}, tmp_path / "none.svg")
    assert (tmp_path / "none.svg").is_file()
