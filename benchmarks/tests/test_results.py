"""Results are kept, read, and never measured twice; a process that fails says why."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed import machine, results
from benchmarks.speed.cases import case
from benchmarks.speed.floor import Least
from benchmarks.speed.machine import describe, label, limits
from benchmarks.speed.results import Options, folder_for, in_words, known, load, measure_case
from vitrail.bench.timing import Effort

ONE = case("inference", "swin_tiny", 224, 8, "bf16")
QUICK = Options(effort=Effort(1, 1, 0.0), only=("none",), settings=("eager",), quick=True)


def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> Path:
    """Let a script stand for the python that measures; argument 4 is the file to write."""
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport sys\nout = sys.argv[4]\n{code}\n")
    script.chmod(0o755)
    monkeypatch.setattr(results.sys, "executable", str(script))
    return tmp_path / "machine"


def test_a_process_of_its_own_measures_and_the_result_is_kept(tmp_path: Path) -> None:
    small = case("inference", "swin_nano", 32, 1, "fp32")
    folder = tmp_path / "machine"  # what lies beside it is searched too
    result = measure_case(small, folder, QUICK)
    assert isinstance(result, dict), result
    assert result["asked"] == {"only": ["none"], "settings": ["eager"], "quick": True}
    kept = folder / "partial" / f"{small.name}.json"
    assert json.loads(kept.read_text(encoding="utf-8")) == result
    assert known(folder, small) is None and load(tmp_path) == {}
    (entry,) = result["rows"][0]["contenders"]
    assert entry["setting"] == "eager" and entry["seconds"]["rounds"] == 1


@pytest.mark.parametrize("less", [{"only": ("timm",)}, {"settings": ("eager",)}, {"quick": True}])
def test_a_result_without_some_never_takes_the_place_of_the_whole(
    less: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = child(
        monkeypatch, tmp_path, "import json; json.dump({'words': sys.argv[1:]}, open(out, 'w'))"
    )
    whole = measure_case(ONE, folder, Options())
    part = measure_case(ONE, folder, Options(**less))
    assert part != whole and known(folder, ONE) == whole
    assert json.loads((folder / "partial" / f"{ONE.name}.json").read_text("utf-8")) == part


def test_what_a_process_gets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = child(
        monkeypatch, tmp_path, "import json; json.dump({'words': sys.argv[1:]}, open(out, 'w'))"
    )
    options = Options(effort=Effort(2, 3, 4.0), focal=Path("there"), only=("timm",),
                      settings=("eager", "compile, freezing"), quick=True)  # fmt: skip
    result = measure_case(ONE, folder, options)
    assert isinstance(result, dict)
    stated: list[str] = result["words"]
    assert stated[:2] == ["-m", "benchmarks.speed.measure"]
    assert json.loads(stated[2])["model"] == "swin_tiny"
    assert json.loads(stated[5]) == {"least": 2, "most": 3, "seconds": 4.0}
    rest = [
        "--focal",
        str(Path("there").resolve()),
        "--quick",
        "--only",
        "timm",
        "--settings",
        "eager",
    ]
    assert stated[6:] == [*rest, "compile, freezing"]


def test_preparing_keeps_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = child(monkeypatch, tmp_path, "open(out, 'w').write('{}')")
    assert measure_case(ONE, folder, Options(prepare=True)) == {}
    assert known(folder, ONE) is None and not folder.exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('first\\nno such thing')", "first\nno such thing"),
        ("raise SystemExit('\\n'.join(map(str, range(50))))", "\n".join(map(str, range(30, 50)))),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
        ("pass", "ended with 0"),
        ("import time; time.sleep(60)", "not done after 1 seconds"),
    ],
)
def test_a_process_that_fails_leaves_nothing(
    code: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(results, "_LONGEST", 1)
    folder = child(monkeypatch, tmp_path, code)
    assert measure_case(ONE, folder, Options()) == words
    assert not folder.exists()


def test_a_folder_for_each_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = describe("cpu")
    assert label(facts).startswith(facts["processor"])
    assert label({**facts, "threads": 1}).endswith("1 thread")
    assert label({**facts, "gpu": "A GPU"}) == "A GPU"
    monkeypatch.setattr(results, "describe", lambda _: {"processor": "A (R) B", "threads": 2})
    assert folder_for(tmp_path, "cpu").name == "a-r-b-2-threads"


def test_a_commit_is_changed_by_code_and_not_by_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, tool = tmp_path / "src" / "vitrail", tmp_path / "benchmarks" / "speed"
    monkeypatch.setattr(machine.vitrail, "__file__", str(code / "__init__.py"))
    monkeypatch.setattr(machine, "__file__", str(tool / "machine.py"))
    for folder in (code, tool):
        folder.mkdir(parents=True)
        (folder / "code.py").write_text("code")
    assert machine.commit() is None  # no checkout

    def git(*words: str) -> None:
        names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    (tmp_path / "benchmarks" / "result.json").write_text("{}")
    clean = machine.commit()
    assert clean is not None and re.fullmatch(r"[0-9a-f]{8,}", clean)
    for folder in (code, tool):
        (folder / "more.py").write_text("new")
        assert machine.commit() == clean + "+"
        (folder / "more.py").unlink()


def test_what_stands_beside_results_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "facts.json").write_text('{"machine": 1}')
    assert load(tmp_path) == {}


def test_floors_are_those_of_the_best_limits_of_a_machine(tmp_path: Path) -> None:
    def keep(name: str, dtype: str, flops: float, rate: float) -> None:
        limits = {"flops": flops, "bytes": rate}
        row = {"floor": Least(6_000, 10).as_dict(limits), "contenders": []}
        row["over_floor"] = 12.0 / row["floor"]["seconds"]
        stated = {"case": {"dtype": dtype}, "limits": limits, "rows": [row]}
        (tmp_path / "machine").mkdir(exist_ok=True)
        (tmp_path / "machine" / f"{name}.json").write_text(json.dumps(stated))

    keep("disturbed", "fp32", 1_000.0, 90.0)
    keep("quiet", "fp32", 3_000.0, 50.0)
    keep("narrow", "bf16", 2_000.0, 50.0)
    narrow, *wide = sorted(load(tmp_path)["machine"], key=lambda r: r["case"]["dtype"])
    assert narrow["limits"] == {"flops": 2_000, "bytes": 90}
    assert narrow["rows"][0]["floor"]["seconds"] == 3
    assert narrow["rows"][0]["over_floor"] == pytest.approx(4)
    for result in wide:
        assert result["limits"] == {"flops": 3_000, "bytes": 90}
        assert result["rows"][0]["floor"]["seconds"] == 2
        assert result["rows"][0]["over_floor"] == pytest.approx(6)


def test_the_machine_s_limits_are_measured() -> None:
    import torch

    found = limits(torch.float32, "cpu", quick=True)
    assert set(found) == {"flops", "bytes"} and min(found.values()) > 0


def test_a_result_in_words() -> None:
    row = {
        "label": "224x224, batch 8", "over_floor": 2.04,
        "ratios": {"timm": {"median": 1.5}, "OpenVINO": {"median": 1.25}},
        "contenders": [{"library": "torchvision", "setting": "eager", "refused": "differs"}],
    }  # fmt: skip
    assert in_words({"rows": [row]}) == [
        "224x224, batch 8: times faster than OpenVINO 1.25, timm 1.50; 2.0 times the floor; "
        "refused: torchvision (eager)"
    ]
    assert "nobody else" in in_words({"rows": [{"label": "x", "contenders": []}]})[0]
