"""Measuring how costs grow: kept, ended in time, and never twice."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from vitrail import create_model
from vitrail.bench import growth
from vitrail.bench.growth import exponent, measure, measure_here, subject
from vitrail.weights import save


def refused(*_: Any) -> dict[str, Any]:
    raise AssertionError("measured once more")


def test_a_process_measures_and_the_result_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swin = subject("swin_nano")
    first = measure(swin, 32, tmp_path)
    assert first.ended is None and first.samples == 32 * 32
    assert first.seconds and first.peak_bytes and first.pairs and first.flops
    monkeypatch.setattr(growth, "_run", refused)
    assert measure(swin, 32, tmp_path) == first
    assert json.loads((tmp_path / "swin_nano-32.json").read_text()) == asdict(first)
    assert [path.name for path in tmp_path.iterdir()] == ["swin_nano-32.json"]


def test_a_process_measures_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save(create_model("swin_nano", depths=(1, 1), num_heads=(1, 2), dim=16), path)
    found = measure(subject(str(path)), 32, tmp_path / "kept")
    assert found.model == str(path) and found.ended is None and found.seconds
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name.startswith("checkpoint-") and kept.name.endswith("-32.json")


def test_an_input_that_cannot_fit_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "_run", refused)
    facts = measure(subject("swin_nano"), 64, tmp_path, memory=1000)
    assert facts.ended == "memory" and facts.seconds is None and facts.flops > 0


def test_a_pass_beyond_its_time_ends_the_series() -> None:
    assert measure_here("swin_nano", 32, 0.0) == {"ended": "time"}


def test_a_pass_out_of_memory_ends_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> float:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate ...")

    monkeypatch.setattr(growth, "_timed", full)
    assert measure_here("swin_nano", 32, 60.0) == {"ended": "memory"}


def test_another_failure_is_not_taken_for_a_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> float:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(growth, "_timed", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        measure_here("swin_nano", 32, 60.0)


def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Let a script stand for the python that measures."""
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o755)
    monkeypatch.setattr(growth.sys, "executable", str(script))


def test_a_killed_process_is_out_of_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child(
        monkeypatch,
        tmp_path,
        "import os\nprint('{\"seconds\": 1}', flush=True)\nos.kill(os.getpid(), 9)",
    )
    assert growth._run("swin_nano", 32, 1.0) == {"seconds": 1, "ended": "memory"}


def test_a_process_that_hangs_is_out_of_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child(monkeypatch, tmp_path, "import time\ntime.sleep(60)")
    monkeypatch.setattr(growth, "_SETUP_SECONDS", 1)
    assert growth._run("swin_nano", 32, 0.0) == {"ended": "time"}


def test_a_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child(monkeypatch, tmp_path, "raise SystemExit('no such thing')")
    with pytest.raises(RuntimeError, match=r"swin_nano at 32 failed:\nno such thing"):
        growth._run("swin_nano", 32, 1.0)


def test_exponents() -> None:
    assert exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert exponent([1, 10, 100], [1, 100, 10_000]) == pytest.approx(2)
    assert exponent([1, 4], [1, 8]) == pytest.approx(1.5)
    assert exponent([5], [1]) is None
