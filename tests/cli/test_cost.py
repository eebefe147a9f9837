"""`vitrail cost`."""

import builtins
import csv
import io
import json
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import vitrail
from tests.support import refuses
from tests.tasks.pairs import encoded, write_pairs
from vitrail.analysis import (
    advise_window,
    advise_windows,
    budget_advice,
    position_advice,
)
from vitrail.cli._shared import parse_memory
from vitrail.cli.cost import _one_of_each
from vitrail.cli.main import run
from vitrail.weights import save

Captured = pytest.CaptureFixture[str]
worked_out = cache(vitrail.cost)


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model costs never changes: for all tests here it is worked out once."""
    monkeypatch.setattr(vitrail, "cost", worked_out)


def rows(capsys: Captured) -> list[dict[str, Any]]:
    return json.loads(capsys.readouterr().out)


def test_several_sizes_and_windows_after_one_option(capsys: Captured) -> None:
    words = ["--size", "32", "48x64", "--windows", "4", "7", "--batch", "2", "--json"]
    assert run(["cost", "swin_nano", *words]) == 0
    found = rows(capsys)
    assert [(row["model"], row["size"]) for row in found] == [
        ("swin_nano w4", [32, 32]),
        ("swin_nano w4", [48, 64]),
        ("swin_nano w7", [32, 32]),
        ("swin_nano w7", [48, 64]),
    ]
    assert all(row["batch"] == 2 for row in found)
    assert found[0]["waste"] == 0 and found[2]["waste"] > 0
    same = vitrail.cost("swin_nano", (48, 64), batch=2, window=(7, 7))
    assert found[3]["flops"]["total"] == same.flops.total
    assert found[3]["training_peak"] == same.training_peak


def test_models_may_follow_the_sizes(capsys: Captured) -> None:
    assert run(["cost", "--size", "32", "--json", "swin_nano"]) == 0
    assert [row["model"] for row in rows(capsys)] == ["swin_nano"]


@pytest.mark.parametrize("words", [["--size", "61x517"], ["--size", "32", "2048", "--memory=1GB"]])
def test_tables_fit_80_columns(words: list[str], capsys: Captured) -> None:
    assert run(["cost", "swin_nano", *words]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "swin_nano" in out and "GMAC" in out


def test_the_table_shows_the_stages(capsys: Captured) -> None:
    assert run(["cost", "swin_nano", "--size", "34"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    whole = vitrail.cost("swin_nano", 34)
    shape = next(line for line in lines if line[:1] == ["1"])
    first = whole.stages[0]
    assert shape[1:5] == ["17x17", "2x2", str(first.dim), "25"]
    assert shape[5] == str(first.wasted)
    assert shape[-1] == "x".join(map(str, first.reach))
    head = [line for line in lines if line[:1] == ["head"]]
    last = [line for line in lines if line[:1] == [str(len(whole.stages))]]
    assert lines.index(head[0]) > lines.index(last[0])
    total = next(line for line in lines if line[:1] == ["swin_nano"] and line[1] == "34x34")
    assert float(total[4]) == pytest.approx(whole.macs / 1e9, rel=0.05)


def test_what_fits_is_reported(capsys: Captured) -> None:
    whole = vitrail.cost("swin_nano", 32)
    between = (whole.inference_peak + (whole.training_total or 0)) // 2
    for budget, answer in ((10**9, "train"), (between, "run"), (10**6, "no")):
        assert run(["cost", "swin_nano", "--size", "32", "--memory", f"{budget / 1e6}MB"]) == 0
        assert capsys.readouterr().out.splitlines()[-2].split()[-1] == answer
    assert run(["cost", "swin_nano", "--size", "32", "--memory", "1MB", "--json"]) == 0
    assert rows(capsys)[0]["fits"] == {"inference": False, "training": False}


def test_csv_has_a_line_for_each_part(capsys: Captured) -> None:
    assert run(["cost", "swin_nano", "--size", "32", "--csv", "--dtype", "bfloat16"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    parts = [line["part"] for line in lines]
    assert parts[0] == "embed" and parts[-2:] == ["head", "total"]
    assert all(line["dtype"] == "bfloat16" for line in lines)
    assert sum(int(line["flops"]) for line in lines[:-1]) == int(lines[-1]["flops"])
    assert sum(int(line["parameters"]) for line in lines[:-1]) == int(lines[-1]["parameters"])
    for line in lines:
        kinds = ("attention", "projections", "mlp", "rest")
        assert sum(int(line[f"flops_{kind}"]) for kind in kinds) == int(line["flops"])
    assert int(lines[-1]["training_bytes"]) > int(lines[-1]["inference_bytes"]) > 0


@pytest.mark.parametrize(
    ("sizes", "ending", "start"),
    [(["32"], ".png", b"\x89PNG"), (["32", "64"], ".svg", b"<?xml")],
)
def test_a_picture_is_drawn(
    sizes: list[str], ending: str, start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    path = tmp_path / f"cost{ending}"
    assert run(["cost", "swin_nano", "--size", *sizes, "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_picture_without_matplotlib_names_the_extra(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert run(["cost", "swin_nano", "--plot", str(tmp_path / "a.png")]) == 2
    assert "fix: pip install '.[plot]'" in capsys.readouterr().err


def test_without_a_picture_matplotlib_is_not_loaded(command: Any) -> None:
    code = (
        "import sys; from vitrail.cli.main import run; "
        "run(['cost', 'swin_nano', '--csv']); sys.exit('matplotlib' in sys.modules)"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "given", "fix"),
    [
        ([], "without a model", "swin_tiny"),
        (["swin_nan"], "'swin_nan'", "swin_nano"),
        (["swin_nano", "--size", "3x3x3"], "--size 3x3x3", "--size 224x224"),
        (["swin_nano", "--dtype", "int8"], "--dtype int8", "--dtype float32"),
        (["swin_nano", "--batch", "0"], "batch=0", "batch=1"),
        (["swin_nano", "--memory", "8"], "--memory 8", "--memory 8GB"),
        (["swin_nano", "--plot", "cost.docx"], "cost.docx", "cost.png"),
        (["swin_nano", "--plot", f"{__file__}/cost.png"], "test_cost.py", "another place"),
        (["vit_tiny", "--windows", "7"], "--windows 7 for vit_tiny", "--windows"),
        (["--advise", "--size", "64"], "1 size and no budget", "--memory 8GB"),
        (["--advise", "--memory", "1GB"], "0 sizes and a budget", "--size 512x512"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], given: str, fix: str, capsys: Captured
) -> None:
    assert run(["cost", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert given in next(line for line in lines if line.startswith("given:"))
    assert fix in next(line for line in lines if line.startswith("fix:"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("8GB", 8 * 10**9), ("8 GiB", 8 * 2**30), ("1.5g", 1.5e9), ("24mb", 24e6), ("2Ti", 2**41)],
)
def test_a_budget_is_read(text: str, value: float) -> None:
    assert parse_memory(text) == value


@pytest.mark.parametrize("text", ["8", "0GB", "-1GB", "GB", "8XB"])
def test_a_budget_without_a_unit_is_refused(text: str) -> None:
    with refuses(text, "8GB"):
        parse_memory(text)


def test_a_checkpoint_has_the_cost_of_its_model(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "mine.safetensors"
    save(vitrail.create_model("swin_nano"), path)
    assert run(["cost", str(path), "swin_nano", "--json"]) == 0
    mine, named = json.loads(capsys.readouterr().out)
    assert mine["model"] == "mine.safetensors"
    assert mine["flops"] == named["flops"] and mine["size"] == named["size"]
    assert run(["cost", str(path), "--windows", "4"]) == 2
    assert "--windows 4" in capsys.readouterr().err


def test_advice_survives_a_size_that_fits_nowhere(capsys: Captured) -> None:
    words = ["focal_fast_tiny", "pvt_v2_b0", "--advise", "--size", "2048", "--memory", "1GB"]
    assert run(["cost", *words]) == 0
    assert "does not fit" in capsys.readouterr().out


def test_advice_in_words(capsys: Captured) -> None:
    words = ["--size", "64", "--memory", "1GB", "--windows", "4", "7", "8"]
    assert run(["cost", "swin_nano", "--advise", *words]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    # Grids 32, 16 and 8: windows of 8 and 4 divide them all, 7 none.
    assert out.index("window 8:") < out.index("window 4:") < out.index("window 7:")
    assert "divides every grid" in out and "32x32 to 35x35" in out
    assert "swin_nano  trains" in out


def test_advice_for_scripts(capsys: Captured) -> None:
    words = ["--size", "64", "--memory", "20MB", "--windows", "7", "8", "--json"]
    assert run(["cost", "--advise", "swin_nano", *words]) == 0
    advice = json.loads(capsys.readouterr().out)
    assert [one["window"] for one in advice["windows"]] == [8, 7]
    assert advice["windows"][0]["waste"] == 0
    (model,) = advice["models"]
    whole = vitrail.cost("swin_nano", 64)
    assert model["fits_inference"] is whole.fits(20 * 10**6)
    assert model["reason"] == budget_advice(whole, 20 * 10**6)


def test_advice_names_each_size_of_model_once() -> None:
    models = _one_of_each(2)
    assert {"swin_nano", "swin_tiny", "swin_v2_base", "pvt_v2_b2_li", "focal_tiny_conv"} <= {
        *models
    }
    assert not {"swin_base_384", "swin_v2_base_w24_384", "swin_v2_base_22k_w16"} & {*models}
    videos = ["video_swin_tiny", "video_swin_small", "video_swin_base"]
    assert _one_of_each(3) == [*videos, "swin3d_nano"]


@pytest.mark.parametrize("window", [3, 4, 7, 50])
def test_the_waste_foretold_is_the_waste_of_a_model_with_that_window(window: int) -> None:
    other = vitrail.cost("swin_nano", (40, 66), training=False)
    foretold = advise_window(other, window)
    real = vitrail.cost("swin_nano", (40, 66), training=False, window=(window, window))
    assert foretold.waste == pytest.approx(real.waste)
    assert foretold.windows == tuple(stage.windows[0] for stage in real.stages)


def test_reasons_are_facts() -> None:
    whole = vitrail.cost("swin_nano", 64)
    small, large = (advise_window(whole, window) for window in (8, 64))
    assert small.reach == (16, 16) and large.reach == (64, 64)
    assert "stages 1, 2" in small.shift and "up to 16 windows" in small.shift
    assert "nothing to connect" in large.shift
    assert [one.window for one in advise_windows(whole, [4, 7, 8])] == [8, 4, 7]
    assert "169 trained rows for 529 offsets (68% without)" in position_advice(whole, 7, 12)
    assert "all have trained rows" in position_advice(whole, 7, 7)
    assert "49 offsets are among its 169" in position_advice(whole, 7, 4)


def test_a_budget_is_judged_in_one_line() -> None:
    whole = vitrail.cost("swin_nano", 64)
    total = whole.training_total
    assert total is not None
    assert budget_advice(whole, 2 * total).startswith("trains: ")
    assert "training with AdamW 50%" in budget_advice(whole, 2 * total)
    assert budget_advice(whole, total - 1).startswith("runs, does not train: ")
    assert budget_advice(whole, whole.inference_peak - 1).startswith("does not fit: ")


@pytest.fixture(scope="module")
def objects(tmp_path_factory) -> str:
    """Two boxes of 9 x 10 pixels in each of three images."""
    return str(write_pairs(tmp_path_factory.mktemp("data") / "set.zip", 3))


def test_advice_on_data(objects: str, tmp_path: Path, capsys: Captured) -> None:
    plot = tmp_path / "objects.png"
    words = ["cost", "--advise", "swin_nano", objects, "pvt_v2_b0", "--plot", str(plot), "--json"]
    words += ["--size", "64"]
    assert run(words) == 0
    facts = json.loads(capsys.readouterr().out)["objects"]
    assert (facts["count"], facts["images"], facts["skipped"]) == (6, 3, 0)
    assert set(facts["samples"].values()) == {10.0}
    stage = facts["models"][0]["stages"][1]  # 4 pixels a token, windows of 4 x 4
    assert (stage["stride"], stage["window"]) == ([4, 4], [4, 4])
    assert (stage["tokens"]["0.5"], stage["needed"], stage["fits"]) == (2.5, 3, 1.0)
    assert stage["whole"] == pytest.approx((1 - 9 / 16) * (1 - 10 / 16))
    assert facts["models"][0]["stages"][0]["fits"] == 0, "10 pixels are 5 tokens of 2"
    assert facts["models"][1]["stages"][0]["window"] is None
    assert plot.stat().st_size > 1000
    more = ["--size", "64", "--memory", "1GB"]
    assert run(["cost", "swin_nano", "--advise", objects, *more, "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"memory", "windows", "models", "objects"}
    assert run(["cost", "--advise", objects, "--size", "64"]) == 0
    out = capsys.readouterr().out
    assert "6 objects in 3 images" in out
    assert max(map(len, out.splitlines())) <= 80


def test_advice_on_data_without_objects(objects: str, tmp_path: Path, capsys: Captured) -> None:
    assert run(["cost", "swin1d_tiny", "--advise", objects]) == 2
    assert "objects with 2 axes for swin1d_tiny" in capsys.readouterr().err
    for name in ("cat", "dog"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        (tmp_path / "classes" / name / "1.png").touch()
    assert run(["cost", "--advise", str(tmp_path / "classes")]) == 2
    assert "data of task classify, whose labels show no objects" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        blank = encoded(Image.new("L", (8, 8)))
        archive.writestr("images/1.png", blank)
        archive.writestr("labels/1.png", blank)
    assert run(["cost", "--advise", str(tmp_path / "empty.zip")]) == 2
    assert "whose 1 readable label(s) show no object" in capsys.readouterr().err
    words = ["--size", "64", "--memory", "1GB", "--plot", str(tmp_path / "a.png")]
    assert run(["cost", "swin_nano", "--advise", *words]) == 2
    assert "--advise without data" in capsys.readouterr().err
