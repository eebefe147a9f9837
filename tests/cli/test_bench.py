"""`vitrail bench`: a model's settings on this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vitrail import create_model
from vitrail.bench import settings
from vitrail.cli.main import run

QUICK = ["--seconds", "0.1", "--setting", "eager"]


def test_a_row_for_each_size_batch_and_setting(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "swin_nano", "--size", "32", "20x24", "--batch", "1", "2", *QUICK]
    assert run([*words, "--setting", "optimised"]) == 0
    title, head, *lines = capsys.readouterr().out.splitlines()
    assert "swin_nano, fp32, cpu" in title and head.split()[:3] == ["size", "batch", "setting"]
    found = [line.split()[:3] for line in lines]
    assert found == [
        [size, batch, setting]
        for size in ("32x32", "20x24") for batch in "12" for setting in ("eager", "optimised")
    ]  # fmt: skip


def test_scripts_get_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "swin1d_tiny", "--size", "64", "--json", *QUICK]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["size"], row["batch"], row["setting"]) == ([64], 1, "eager")
    low, high = row["quartiles"]
    assert 0 < low <= row["seconds"] <= high and row["speedup"] is None and row["rounds"] >= 5


def test_options_reach_what_measures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        settings,
        "measure",
        lambda model, *args, **more: seen.append((model.name, args, more)) or (),
    )
    words = ["--batch", "1", "4", "--seconds", "3", "--dtype", "bf16", "--setting", "eager"]
    assert run(["bench", "swin_nano", *words, "--json"]) == 0
    more = {"dtype": torch.bfloat16, "settings": ["eager"], "seconds": 3.0}
    assert seen == [("swin_nano", ([(32, 32)], [1, 4]), more)]
    assert json.loads(capsys.readouterr().out) == []


def test_a_folder_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = create_model("swin_nano", depths=(1, 1), num_heads=(1, 2), dim=16)
    model.save_pretrained(tmp_path / "folder")
    assert run(["bench", str(tmp_path / "folder"), "--size", "32", "--json", *QUICK]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["size"] == [32, 32]


def test_a_setting_that_cannot_be_used_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    words = ["bench", "swin_nano", "--size", "32", *QUICK, "--setting", "compiled"]
    assert run([*words, "--setting", "optimised"]) == 0
    out = capsys.readouterr().out
    assert out.count("not used: ") == 2 and "no C++ compiler" in out


@pytest.mark.parametrize(
    ("more", "given", "fix"),
    [
        (["swin_tinny"], "swin_tinny", "swin_tiny"),
        (["swin_nano", "--dtype", "bf15"], "--dtype bf15", "use --dtype bf16"),
        (["swin_nano", "--setting", "optimized"], "--setting optimized", "--setting optimised"),
        (["swin_nano", "--size", "32x"], "--size 32x", "--size 224x224"),
        (["swin_nano", "--batch", "0"], "'--batch'", ""),
    ],
)
def test_what_cannot_be_is_refused(
    more: list[str], given: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *more]) == 2
    err = capsys.readouterr().err
    assert given in err and fix in err and "fix: " in err
