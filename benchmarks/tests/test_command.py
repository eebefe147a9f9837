"""The command that measures: ``python -m benchmarks.speed``."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.speed import results
from benchmarks.speed.__main__ import main
from benchmarks.speed.cases import Case, on_cpu
from benchmarks.speed.results import Options, folder_for

FLOOR = {"flops": 1, "bytes": 1, "seconds": 0.1, "bound": "products"}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Case, Options]]:
    """Let measuring take no time, and note what was asked for."""
    asked: list[tuple[Case, Options]] = []

    def stated(case: Case, folder: Path, options: Options) -> dict[str, Any] | str:
        asked.append((case, options))
        if case.task == "training":
            return "no such luck"
        rows = [{"label": "224x224, batch 8", "floor": FLOOR, "contenders": []}]
        facts = {"processor": "P", "threads": 1, "capability": "C", "system": "S", "python": "3",
                 "packages": {}, "commit": None, "load": None, "time": "T"}  # fmt: skip
        result = {"case": case.as_dict(), "machine": facts, "rows": rows,
                  "limits": {"flops": 1e9, "bytes": 1e9}}  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{case.name}.json").write_text(json.dumps(result))
        return result

    monkeypatch.setattr(results, "measure_case", stated)
    return asked


def words(tmp_path: Path, *more: str) -> list[str]:
    page = tmp_path / "docs" / "performance.md"
    return [*more, "--out", str(tmp_path / "out"), "--document", str(page)]


def test_one_case_its_page_and_its_plot(
    tmp_path: Path, measured: list[tuple[Case, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    filters = ["swin_tiny", "--size", "224", "--batch", "8", "--dtype", "bf16", "--task"]
    stated = words(tmp_path, *filters, "inference", "--seconds", "5")
    assert main(stated) == 0
    ((case, options),) = measured
    assert case.name == "swin_tiny-inference-224-b8-bf16"
    assert options.whole and options.effort.seconds == 5
    out = capsys.readouterr().out
    assert "[1/1] swin_tiny-inference-224-b8-bf16" in out and "nobody else was timed" in out
    assert "# Performance" in (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
    assert b"<svg" in (tmp_path / "docs" / "performance.svg").read_bytes()
    assert main(stated) == 0  # nothing is measured twice
    assert len(measured) == 1 and "measured before" in capsys.readouterr().out
    assert main([*stated, "--again"]) == 0 and len(measured) == 2
    (tmp_path / "out" / "notes.toml").write_text('swin-bf16 = "What was tried."')
    assert main(words(tmp_path, "--only-document")) == 0 and len(measured) == 2
    (page,) = (tmp_path / "out").glob("*/README.md")
    assert "What was tried." in page.read_text(encoding="utf-8")


def test_a_case_that_fails_is_reported_and_the_others_go_on(
    tmp_path: Path, measured: list[tuple[Case, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    stated = words(tmp_path, "swin_tiny", "--batch", "8", "--dtype", "bf16", "--size", "224")
    assert main(stated) == 1
    tasks = [case.task for case, _ in measured]
    assert tasks == ["inference", "training", "attention"]
    err = capsys.readouterr().err
    assert "swin_tiny-training-224-b8-bf16: failed: no such luck" in err


def test_a_run_without_time_begins_nothing(
    tmp_path: Path, measured: list[tuple[Case, Options]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, "--minutes", "0", "--prepare")) == 0
    assert measured == [] and "no time left" in capsys.readouterr().err


def test_preparing_and_quick_runs_write_no_page(
    tmp_path: Path, measured: list[tuple[Case, Options]]
) -> None:
    assert main(words(tmp_path, "pvt_v2_b2", "--prepare", "--dtype", "fp32")) == 0
    assert measured and all(options.prepare for _, options in measured)
    assert main(words(tmp_path, "--quick", "--task", "inference")) == 0
    assert measured[-1][1].settings == ("eager", "plain", "triton")
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize("less", [("--peer", "timm"), ("--setting", "eager")], ids=str)
def test_a_run_without_some_is_measured_each_time_and_writes_no_page(
    less: tuple[str, ...], tmp_path: Path, measured: list[tuple[Case, Options]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    filters = ["swin_tiny", "--size", "224", "--batch", "8", "--dtype", "bf16", "--task"]
    stated = words(tmp_path, *filters, "inference", *less)
    assert main(stated) == 0 and main(stated) == 0
    assert len(measured) == 2 and not measured[0][1].whole
    assert "partial" in capsys.readouterr().out
    assert not (tmp_path / "docs").exists()


def test_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_for(tmp_path / "out", "cpu")
    folder.mkdir(parents=True)
    first = on_cpu()[0].name
    (folder / f"{first}.json").write_text("{}")
    assert main(words(tmp_path, "--list")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{first} (measured)"
    assert [line.partition(" ")[0] for line in lines] == [case.name for case in on_cpu()]


@pytest.mark.parametrize(
    ("more", "given", "fix"),
    [
        (["swin_tinny"], "model 'swin_tinny'", "use 'swin_tiny', or run `vitrail list`"),
        (["swin_tiny", "--dtype", "int8"], "dtype 'int8'", "use 'fp32'"),
        (["--size", "17"], "filters that no case passes", "name a model too"),
        (["--focal", "nowhere"], "--focal nowhere", "git clone"),
        (["--only-document"], "no results in", "run it first"),
        (["--device", "tpu", "swin_tiny"], "--device tpu", "use --device cpu"),
    ],
)
def test_what_cannot_be_is_refused(
    more: list[str], given: str, fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, *more)) == 2
    err = capsys.readouterr().err
    assert given in err and re.search(rf"fix: .*{re.escape(fix)}", err)
    assert not (tmp_path / "docs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda"]) == 2
    assert "use --device cpu" in capsys.readouterr().err


def test_a_quick_run_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stated = words(tmp_path, "--quick", "--task", "inference", "--peer", "timm")
    assert main(stated) == 0
    out = capsys.readouterr().out
    assert re.search(r"batch 1: times faster than timm \d+\.\d\d; \d+\.\d times", out)
