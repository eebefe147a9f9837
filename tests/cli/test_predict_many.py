"""`vitrail predict` of many inputs: a folder of results, kills, and several processes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.crew import together
from tests.tasks.pairs import pair
from vitrail import create_model
from vitrail.cli import main
from vitrail.cli._crew import Crew
from vitrail.cli._results import Places
from vitrail.cli.predict import Job
from vitrail.data.inputs import Input
from vitrail.heads import SemanticFPNConfig
from vitrail.tasks.segment import Segment
from vitrail.weights import save

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
NAMES = ("a/x.png", "a/y.png", "b/deep/x.jpg", "b/x.png", "z.png")


def segmenter(path: Path, seed: int = 0) -> str:
    torch.manual_seed(seed)
    head = SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2)
    save(create_model("swin_nano", task="segment", head=head, num_classes=3, **TINY), path)
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return segmenter(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def photos(tmp_path) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pair(number, (18, 20 + number))[0]).save(path)
    return tmp_path / "photos"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def without(text: bytes, folder: Path) -> list[dict[str, Any]]:
    """A journal's lines, with paths relative to where it lies."""
    return [json.loads(line) for line in text.decode().replace(str(folder), "OUT").splitlines()]


@pytest.fixture
def seen(monkeypatch) -> list[str]:
    """Names of the inputs that are read."""
    found: list[str] = []
    read = Segment.read

    def counted(self, given):
        found.append(str(given))
        return read(self, given)

    monkeypatch.setattr(Segment, "read", counted)
    return found


def test_results_lie_as_the_inputs_lie(weights, photos, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main.run(["predict", str(photos), "-w", weights, "-o", str(out)]) == 0
    stems = {name.rpartition(".")[0] for name in NAMES}
    ends = (".png", "-overlay.jpg")
    assert files(out).keys() == {f"{s}{e}" for s in stems for e in ends} | {"predictions.jsonl"}
    _, *answers = without((out / "predictions.jsonl").read_bytes(), out)
    assert [answer["mask"] for answer in answers] == [
        f"OUT/{name.rpartition('.')[0]}.png" for name in NAMES
    ]
    other = tmp_path / "other"  # files as a shell gives them: below the folder that they share
    words = [str(photos / name) for name in ("a/x.png", "b/x.png")]
    assert main.run(["predict", *words, "-w", weights, "-o", str(other)]) == 0
    assert {"a/x.png", "b/x.png"} <= files(other).keys()
    for name, content in files(other).items():
        assert name == "predictions.jsonl" or content == files(out)[name]


def test_a_killed_command_goes_on(weights, photos, tmp_path, capsys, seen, monkeypatch) -> None:
    """Nothing is predicted twice, and the end is that of a command that nothing has stopped."""
    words, out = ["predict", str(photos), "-w", weights, "-o"], tmp_path / "out"
    assert main.run([*words, str(tmp_path / "whole")]) == 0
    predict, done = Segment.predict, []

    def dies(self, *given):
        if len(done) == 2:
            raise SystemExit(9)
        done.append(1)
        return predict(self, *given)

    monkeypatch.setattr(Segment, "predict", dies)
    with pytest.raises(SystemExit):
        main.run([*words, str(out)])
    monkeypatch.setattr(Segment, "predict", predict)
    with (out / "predictions-0.part.jsonl").open("a") as part:
        part.write('{"photo": "torn')
    seen.clear()
    assert main.run([*words, str(out)]) == 0
    assert seen == [str(photos / name) for name in NAMES[2:]]
    ours, whole = files(out), files(tmp_path / "whole")
    name = "predictions.jsonl"
    assert without(ours.pop(name), out) == without(whole.pop(name), tmp_path / "whole")
    assert ours == whole
    capsys.readouterr()
    assert main.run([*words, str(out), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["photos"]) == 5, "all, also what was there"
    assert len(seen) == 3
    (out / "a/x.png").unlink()
    Image.new("RGB", (9, 9)).save(photos / "z.png")  # a changed input is predicted anew
    assert main.run([*words, str(out)]) == 0
    assert seen[3:] == [str(photos / name) for name in ("a/x.png", "z.png")]
    with Image.open(out / "z.png") as mask:
        assert mask.size == (9, 9)


def test_other_weights_or_options_are_refused(weights, photos, tmp_path, capsys) -> None:
    words, out = ["predict", str(photos / "a"), "-o", str(tmp_path / "out")], tmp_path / "out"
    assert main.run([*words, "-w", weights]) == 0
    before = files(out)
    other = segmenter(tmp_path / "other.safetensors", 1)
    for more, what in ((["-w", other], "other weights"), (["-w", weights, "--size", "16"], "size")):
        assert main.run([*words, *more]) == 2
        error = capsys.readouterr().err
        assert what in error
        assert f"remove {out / 'predictions.jsonl'}" in error.splitlines()[-1]
    assert files(out) == before
    (out / "predictions.jsonl").write_text("my notes")
    assert main.run([*words, "-w", weights]) == 2
    assert "which is no list of predictions" in capsys.readouterr().err


def test_results_are_no_inputs(weights, photos, tmp_path, capsys, seen) -> None:
    words = ["predict", str(photos), "-w", weights, "-o"]
    assert main.run([*words, str(photos)]) == 2
    assert f"fix: use --output {photos}-results" in capsys.readouterr().err
    for _ in range(2):
        assert main.run([*words, str(photos / "out")]) == 0
    assert len(seen) == 5
    beside = str(photos / "b" / "deep")
    for word in ("x.jpg", "*.jpg"):  # as a shell writes a pattern out, once with the overlay
        given = [str(path) for path in sorted(Path(beside).glob(word))]
        assert main.run(["predict", *given, "-w", weights, "-o", beside]) == 0
    assert len(seen) == 6
    assert {path.name for path in Path(beside).iterdir()} == {
        *("x.jpg", "x.png", "x-overlay.jpg", "predictions.jsonl")
    }


def test_two_results_of_one_name(weights, photos, tmp_path, capsys) -> None:
    Image.open(photos / "a/x.png").save(photos / "a/x.jpg")
    assert main.run(["predict", str(photos), "-w", weights, "-o", str(tmp_path / "out")]) == 2
    assert "masks would both be" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_tried_again(weights, photos, tmp_path, capsys) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    words = ["predict", str(photos), "-w", weights, "-o", str(tmp_path / "out")]
    for _ in range(2):
        assert main.run(words) == 2
        assert "bad.png" in capsys.readouterr().err
    Image.new("RGB", (9, 9)).save(photos / "bad.png")
    assert main.run(words) == 0
    assert (tmp_path / "out" / "bad.png").exists()


def test_an_option_of_classification(weights, photos, capsys) -> None:
    assert main.run(["predict", str(photos), "-w", weights, "--top", "3"]) == 2
    error = capsys.readouterr().err
    assert "given: --top 3 for a model of task segment" in error
    assert "fix: leave --top out" in error


def test_several_processes_do_what_one_does(weights, photos, tmp_path, capsys) -> None:
    """Five inputs over two and three processes, each input once; the first one prints."""
    words = ["predict", str(photos), "-w", weights, "--json"]
    assert main.run([*words, "-o", str(tmp_path / "1")]) == 0
    alone = json.loads(capsys.readouterr().out.replace(str(tmp_path / "1"), "OUT"))
    expected = files(tmp_path / "1")
    journal = without(expected.pop("predictions.jsonl"), tmp_path / "1")
    (photos / "c").mkdir()
    for count in (2, 3):
        out = tmp_path / str(count)
        done = together(tmp_path / f"log{count}", count, *words, "-o", str(out))
        assert [one.code for one in done] == [0] * count, done
        assert all(not one.out for one in done[1:])
        assert json.loads(done[0].out.replace(str(out), "OUT")) == alone
        found = files(out)
        assert without(found.pop("predictions.jsonl"), out) == journal
        assert found == expected
    with Image.open(tmp_path / "3" / "z.png") as mask:
        assert np.asarray(mask).shape == (18, 24)


@pytest.mark.parametrize("count", [2, 3])
def test_each_input_is_of_one_process(count, monkeypatch) -> None:
    """Shares of what is left do not overlap, and miss nothing."""
    inputs = [Input(str(number), Path(str(number))) for number in range(8)]
    known = {"3": {"photo": "3"}}
    shares: list[list[str]] = []

    def gather(own: dict[str, Any]) -> list[dict[str, Any]]:
        shares.append([*own])
        return [{one.name: {} for one in inputs}]

    monkeypatch.setattr(Job, "answer", lambda job, one, places: {"photo": one.name})
    for rank in range(count):
        crew = Crew()
        crew.rank, crew.processes = rank, count
        monkeypatch.setattr(crew, "gather", gather)
        no: Any = None
        Job(no, no, inputs, None, None, {}, crew, None, known).share(Places(), known)
    assert sorted(name for share in shares for name in share) == [*"0124567"]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
