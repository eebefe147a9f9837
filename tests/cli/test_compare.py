"""`vitrail compare`."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vitrail import cost, create_model
from vitrail.bench import ablation, growth, plots
from vitrail.bench.ablation import VARIANTS, Unbiased, ablate, command, prepare
from vitrail.bench.comparison import MECHANISMS, chosen, ending, key_scales
from vitrail.bench.document import page
from vitrail.cli.main import run
from vitrail.models import CATALOG, SwinConfig
from vitrail.weights import save


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Take the times of a known law, and note what was measured."""
    calls: list[tuple[str, int]] = []

    def facts(model: str, size: int, limit: float) -> dict[str, Any]:
        calls.append((model, size))
        if size > 100:
            return {"ended": "memory"}
        return {"seconds": size**4 / 1e9, "peak_bytes": size**2}

    monkeypatch.setattr(growth, "_run", facts)
    return calls


def test_the_document_its_numbers_and_its_plots(
    tmp_path: Path, measured: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "swin_nano", "pvt_v2_b0", "--output", str(tmp_path), "--size"]
    words += ["64", "32", "128", "256"]
    assert run(words) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "README.md")
    assert measured == [(m, s) for m in ("swin_nano", "pvt_v2_b0") for s in (32, 64, 128)]
    result = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    swin, pvt = result["rows"]
    assert swin["exponents"]["seconds"]["all"] == pytest.approx(2)
    assert swin["exponents"]["peak_bytes"]["all"] == pytest.approx(1)
    assert swin["exponents"]["attention_flops"]["all"] == pytest.approx(1)
    assert pvt["context"]["global_from"] == [0, 0] and swin["context"]["global_from"] is None
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text == page(result)
    assert "to 64; out of memory at 128" in text and "2.00 (2.00)" in text
    assert "64 at 56 × 56" in text and "left out" not in text
    for name in ("flops", "seconds", "peak_bytes"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert b"<svg" in (tmp_path / f"{name}.svg").read_bytes()
    before = {p: p.read_bytes() for p in tmp_path.glob("*.*")}
    measured.clear()
    assert run(words) == 0  # all is known: nothing is measured, and nothing changes
    assert measured == [] and before == {p: p.read_bytes() for p in tmp_path.glob("*.*")}


def test_again_measures_again(
    tmp_path: Path, measured: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "draw", lambda *_: None)
    words = ["compare", "swin_nano", "--output", str(tmp_path), "--size", "32", "64"]
    assert run(words) == run([*words, "--again"]) == 0
    assert measured == [("swin_nano", 32), ("swin_nano", 64)] * 2


def test_checkpoints_are_compared_by_their_structure(
    tmp_path: Path, measured: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "draw", lambda *_: None)
    paths = [str(tmp_path / name) for name in ("one.safetensors", "same.safetensors", "folder")]
    thin, wide = (create_model("swin_nano", depths=(1, 1), num_heads=(1, 2), dim=dim)
                  for dim in (16, 32))  # fmt: skip
    save(thin, Path(paths[0]))
    save(thin, Path(paths[1]))
    wide.save_pretrained(paths[2])
    words = ["compare", *paths, "swin_nano", "--output", str(tmp_path / "out"), "--size"]
    assert run([*words, "32", "64"]) == 0
    assert measured == [(m, s) for m in (paths[0], paths[2], "swin_nano") for s in (32, 64)]
    result = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    one, same, folder, named = result["rows"]
    assert [row["model"] for row in result["rows"]] == [*paths, "swin_nano"]
    assert one["growth"] == [point | {"model": paths[0]} for point in same["growth"]]
    for row, model in ((one, thin), (folder, wide), (named, create_model("swin_nano"))):
        assert row["growth"][1]["flops"] == cost(model, 64).flops.total
    for row in result["rows"]:
        assert {point["model"] for point in row["growth"]} == {row["model"]}
    measured.clear()
    assert run([*words, "32", "64", "--again"]) == 0
    assert len(measured) == 8


@pytest.mark.parametrize(
    ("words", "given", "fix"),
    [
        (["--size", "64"], "--size 64", "--size 128 256 512"),
        (["--size", "8", "64"], "--size 8 64", "--size 128 256 512"),
        (["swin_nan"], "'swin_nan'", "use 'swin_nano'"),
        (["./no.safetensors"], "no.safetensors", "check"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    words: list[str], given: str, fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *words, "--output", str(tmp_path / "new")]) == 2
    err = capsys.readouterr().err
    assert given in err and f"fix: {fix}" in err
    assert not (tmp_path / "new").exists()


def test_every_mechanism_has_a_model() -> None:
    assert [mechanism for mechanism, _ in chosen()] == list(MECHANISMS)
    ((mechanism, model),) = chosen(["swin_nano"])
    assert mechanism.name == "other" and model == "swin_nano"


def test_scales_of_keys() -> None:
    scales = {"swin_nano": 1, "pvt_tiny": 1, "focal_tiny": 2}
    for name, count in scales.items():
        entry = CATALOG[name]
        assert key_scales(entry.model(entry.config)) == count


def test_where_a_series_ended() -> None:
    done, late = {"size": 32, "ended": None}, {"size": 64, "ended": "time"}
    assert ending([done]) == "all sizes to 32"
    assert ending([done, late]) == "to 32; out of time at 64"
    assert ending([late]) == "out of time at 64"


def test_each_run_of_the_ablation_is_a_train_call_in_its_folder(tmp_path: Path) -> None:
    words = command("clipping", tmp_path / "clipping", "data", 3, ["--size", "32"])
    assert words[1:4] == ["-m", "vitrail.cli._ablation", "clipping"]
    assert words[4:6] == ["train", "data"] and "--resume" not in words
    assert words[words.index("--clip") + 1] == "0"
    assert words[words.index("--output") + 1] == str(tmp_path / "clipping")
    (tmp_path / "clipping" / "checkpoints").mkdir(parents=True)
    assert "--resume" in command("clipping", tmp_path / "clipping", "data", 3, [])


def test_a_finished_run_is_not_done_again_and_a_failed_one_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(count: int) -> None:
        with (tmp_path / "epochs.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", "val_top1"])
            writer.writeheader()
            writer.writerows({"epoch": i, "val_top1": 0.1 * i} for i in range(count))

    def failed(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 2)

    monkeypatch.setattr(ablation.subprocess, "run", failed)
    write(3)
    assert ablate("nothing", tmp_path, "data", 3) == pytest.approx(0.2)
    with pytest.raises(RuntimeError, match="without nothing ended with 2"):
        ablate("nothing", tmp_path, "data", 4)


def test_the_variants_differ_from_the_model_in_one_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    for variant in VARIANTS:
        monkeypatch.setitem(CATALOG, "swin_nano", CATALOG["swin_nano"])
        before = CATALOG["swin_nano"]
        prepare(variant)
        after = CATALOG["swin_nano"]
        CATALOG["swin_nano"] = before
        if variant == "shift":
            assert isinstance(after.config, SwinConfig) and after.config.shift_rule == "never"
        elif variant == "relative bias":
            assert after.model is Unbiased
        else:
            assert after == before


def test_a_model_without_relative_bias_has_none_and_learns_none() -> None:
    model = Unbiased(CATALOG["swin_nano"].config)
    tables = {n: p for n, p in model.named_parameters() if n.endswith("bias.table")}
    assert len(tables) == 8
    assert all(not p.any() and not p.requires_grad for p in tables.values())


def test_a_run_of_the_ablation_is_a_process_that_works() -> None:
    words = [sys.executable, "-m", "vitrail.cli._ablation", "shift", "--help"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
