import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import vitrail
from vitrail import create_model
from vitrail.cli import main
from vitrail.errors import UsageError
from vitrail.weights import save

SOURCE = str(Path(__file__).parents[2] / "src")
TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
CLASSES = ("dark", "light", "\x1b[31mred")


@pytest.fixture
def weights(tmp_path) -> Path:
    """A model whose first class grows as photos get darker."""
    torch.manual_seed(0)
    model = create_model("swin_nano", num_classes=3, **TINY)
    size = {"size": (16, 16), "crop": 1.0, "trained": True, "classes": CLASSES}
    model.preprocessing = replace(model.preprocessing, **size)
    path = tmp_path / "tiny.safetensors"
    save(model, path)
    return path


def photo(folder: Path, name: str, value: int = 90) -> Path:
    Image.new("RGB", (40, 30), (value, value, value)).save(folder / name)
    return folder / name


def expected(weights: Path, path: Path) -> list[float]:
    model = vitrail.load(weights)
    image = vitrail.transform(model)(Image.open(path).convert("RGB"))
    with torch.no_grad():
        return model(image[None])[0].softmax(-1).tolist()


def test_json(weights, tmp_path, capsys) -> None:
    path = photo(tmp_path, "a.png")
    assert main.run(["predict", str(path), "-w", str(weights), "--top", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (found,) = answer["photos"]
    assert found["photo"] == str(path)
    assert len(found["top"]) == 2
    probabilities = expected(weights, path)
    best = max(range(3), key=probabilities.__getitem__)
    assert found["top"][0]["class"] == CLASSES[best]
    assert found["top"][0]["index"] == best
    assert found["top"][0]["probability"] == pytest.approx(probabilities[best], rel=1e-5)


def test_csv(weights, tmp_path, capsys) -> None:
    paths = [photo(tmp_path, "a, b.png", 10), photo(tmp_path, "c.png", 250)]
    assert main.run(["predict", *map(str, paths), "-w", str(weights), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 2, "as many classes as there are"
    assert rows[0]["photo"] == str(paths[0])
    for start in (0, 3):
        found = [float(row["probability"]) for row in rows[start : start + 3]]
        assert sum(found) == pytest.approx(1, abs=1e-5)
        assert found == sorted(found, reverse=True)
    assert rows[0]["probability"] != rows[3]["probability"]


def test_text(weights, tmp_path, capsys) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("black", "white")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert main.run(["predict", str(tmp_path / "a.gif"), "-w", str(weights)]) == 0
    out = capsys.readouterr().out
    assert "a.gif" in out
    assert "only the first is used" in out
    assert "%" in out
    assert "\x1b[31m" not in out, "names from a file do not steer the terminal"
    assert "untrained" not in out


def test_folders_patterns_and_standard_input(weights, tmp_path, monkeypatch, capsys) -> None:
    """The pictures of a folder in its order, with those of the folders in it."""
    folder = tmp_path / "photos [1]"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    names = [photo(folder, name) for name in ("b.png", "a.JPG", "deep/c.webp", ".hidden/d.png")]
    (folder / "notes.txt").write_text("no picture")
    data = names[0].read_bytes()

    def found(*words: str) -> list[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert main.run(["predict", *words, "-w", str(weights), "--json"]) == 0
        answers = json.loads(capsys.readouterr().out)["photos"]
        assert all(answer["top"] for answer in answers)
        return [answer["photo"] for answer in answers]

    inside = [str(folder / name) for name in ("a.JPG", "b.png", "deep/c.webp")]
    assert found(str(folder)) == inside
    assert found(str(tmp_path / "photos*" / "*.png")) == [inside[1]]
    assert found(str(tmp_path / "phot*")) == inside
    assert found(str(names[0]), "-") == [inside[1], "-"]


@pytest.mark.parametrize(
    ("name", "given", "fix"),
    [
        ("empty", "empty', which holds no picture", "name the files themselves"),
        ("*.png", "*.png', which no file matches", "check the path"),
    ],
)
def test_nothing_to_classify(name, given, fix, weights, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    assert main.run(["predict", str(tmp_path / name), "-w", str(weights)]) == 2
    error = capsys.readouterr().err
    assert given in error
    assert f"fix: {fix}" in error


def test_standard_input_that_is_no_picture(weights, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main.run(["predict", "-", "-w", str(weights)]) == 2
    assert "'standard input', which is no picture" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_a_file_of_answers(ending, weights, tmp_path, capsys) -> None:
    path, out = photo(tmp_path, "a.png"), tmp_path / "new" / f"answers.{ending}"
    assert main.run(["predict", str(path), "-w", str(weights), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert main.run(["predict", str(path), "-w", str(weights), f"--{ending}"]) == 0
    assert out.read_text() == capsys.readouterr().out


@pytest.mark.parametrize(
    ("output", "given", "fix"),
    [
        ("answers.txt", "--output answers.txt", "answers.json"),
        ("{tmp}/a.png/a.json", "where nothing can be written", "choose another place"),
        ("{tmp}/folder.json", "which is a folder", "name a file in it"),
        ("{tmp}/tiny.json", "the file that is read", "tiny-new.json"),
    ],
)
def test_a_place_that_cannot_be_written(output, given, fix, weights, tmp_path, capsys) -> None:
    """It is refused before any photo is opened."""
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "tiny.json").symlink_to(weights)
    path = photo(tmp_path, "a.png")
    words = ["predict", str(path), "-w", str(weights), "-o", output.format(tmp=tmp_path)]
    assert main.run(words) == 2
    error = capsys.readouterr().err
    assert given in error
    assert fix in error.splitlines()[2]


def test_a_folder_of_the_model_is_not_written_over(tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_text("{}")
    path, out = photo(tmp_path, "a.png"), str(tmp_path / "config.json")
    for option in ("-m", "-w"):
        assert main.run(["predict", str(path), option, str(tmp_path), "-o", out]) == 2
        assert "the file that is read" in capsys.readouterr().err


def test_the_size_that_is_shown(weights, tmp_path, capsys) -> None:
    path = str(photo(tmp_path, "a.png"))
    assert main.run(["predict", path, "-w", str(weights)]) == 0
    assert "at 16 x 16 pixels" in capsys.readouterr().out
    assert main.run(["predict", path, "-w", str(weights), "--size", "8x24"]) == 0
    assert "at 8 x 24 (the weights are for 16 x 16) pixels" in capsys.readouterr().out
    assert main.run(["predict", path, "-w", str(weights), "--size", "8x24", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["size"], answer["trained_size"]) == ([8, 24], [16, 16])


def test_a_terminal_keeps_its_cursor(weights, tmp_path, monkeypatch, capsys) -> None:
    for name, value in (("TTY_COMPATIBLE", "1"), ("TTY_INTERACTIVE", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    paths = [str(photo(tmp_path, name)) for name in ("a.png", "b.png")]
    for number in (1, 2):
        assert main.run(["predict", *paths[:number], "-w", str(weights), "--json"]) == 0
        err = capsys.readouterr().err
        assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == number - 1


def test_weights_with_nan(tmp_path, capsys) -> None:
    """Refused for what they are, by whoever reads them first."""
    model = create_model("swin_nano", num_classes=3, **TINY)
    with pytest.raises(UsageError, match=r"not finite[\s\S]*other weights"):
        model.get_parameter("head.weight").data.fill_(float("nan"))
        vitrail.predict(model, photo(tmp_path, "a.png"))


def test_names_that_are_not_unicode(weights, tmp_path, capsysbinary) -> None:
    """A name in Latin-1 in a folder of a system that writes UTF-8."""
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        Image.new("RGB", (20, 20)).save(file, "PNG")
    for how in ("--json", "--csv"):
        assert main.run(["predict", os.fsdecode(path), "-w", str(weights), how]) == 0
        shown = capsysbinary.readouterr().out.decode("utf-8")
        assert r"caf\udce9.png" in shown
        if how == "--json":
            assert os.fsencode(json.loads(shown)["photos"][0]["photo"]) == path
    assert main.run(["predict", os.fsdecode(path), "-w", str(weights)]) == 0
    (tmp_path / "bad.json").unlink(missing_ok=True)
    out = tmp_path / "answers.json"
    assert main.run(["predict", os.fsdecode(path), "-w", str(weights), "-o", str(out)]) == 0
    assert os.fsencode(json.loads(out.read_text("utf-8"))["photos"][0]["photo"]) == path


@pytest.mark.parametrize("how", [[], ["--json"], None])
def test_output_in_ascii(how, weights, tmp_path) -> None:
    photo(tmp_path, "é.png")
    words = ["list"] if how is None else ["predict", "é.png", "-w", str(weights), *how]
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, "-m", "vitrail", *words],
        cwd=tmp_path, env=env, capture_output=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode("ascii")
    if how:
        assert json.loads(shown)["photos"][0]["photo"] == "é.png"
    elif how is not None:
        assert "##" in shown


def test_many_photos_that_cannot_be_opened(weights, tmp_path, capsys) -> None:
    """Few are shown; all have their reason in the JSON."""
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    photo(tmp_path, "good.png")
    assert main.run(["predict", str(tmp_path), "-w", str(weights), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("given: ") == 5
    assert "9 of 10 photos cannot be opened" in captured.err
    assert sum("no picture" in a.get("error", "") for a in json.loads(captured.out)["photos"]) == 9


def test_untrained_weights_are_called_so(tmp_path, capsys) -> None:
    path = photo(tmp_path, "a.png")
    assert main.run(["predict", str(path), "-w", "none", "--size", "16"]) == 0
    out = capsys.readouterr().out
    assert "untrained" in out
    assert "class " in out, "classes without names have numbers"


def test_another_size(weights, tmp_path, capsys) -> None:
    path = photo(tmp_path, "a.png")
    for size in ("8x24", "9"):
        assert main.run(["predict", str(path), "-w", str(weights), "--size", size]) == 0
    capsys.readouterr()


def test_one_bad_photo(weights, tmp_path, capsys) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert main.run(["predict", str(tmp_path / "bad.jpg"), "-w", str(weights)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0].startswith("given: ")
    assert "bad.jpg" in captured.err
    assert captured.err.splitlines()[2].startswith("fix: ")


@pytest.mark.parametrize("how", ["--json", "--csv", None])
def test_a_bad_photo_among_good_ones(how, weights, tmp_path, capsys) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    photos = [photo(tmp_path, "a.png"), tmp_path / "bad.jpg"]
    words = ["predict", *map(str, photos), "-w", str(weights)]
    assert main.run([*words, how] if how else words) == 2
    captured = capsys.readouterr()
    assert "bad.jpg" in captured.err
    assert "a.png" in captured.out
    if how == "--json":
        answers = json.loads(captured.out)["photos"]
        assert "top" in answers[0]
        assert "no picture" in answers[1]["error"]


@pytest.mark.parametrize(
    ("words", "named", "fix"),
    [
        (["--top", "0"], "--top 0", "use --top 5"),
        (["--json", "--csv"], "--json and --csv", "leave one out"),
        (["--size", "0x4"], "--size 0x4", "write --size"),
        (["--device", "abacus"], "--device abacus", "use --device cpu"),
    ],
)
def test_bad_options(words, named, fix, weights, tmp_path, capsys) -> None:
    path = photo(tmp_path, "a.png")
    assert main.run(["predict", str(path), "-w", str(weights), *words]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert f"fix: {fix}" in error


def test_a_model_of_no_photos(tmp_path, capsys) -> None:
    path = photo(tmp_path, "a.png")
    assert main.run(["predict", str(path), "-m", "swin1d_tiny", "-w", "none"]) == 2
    assert "swin1d_tiny, whose input has 1 axes" in capsys.readouterr().err


def test_weights_without_a_classifier(tmp_path, capsys) -> None:
    save(create_model("swin_nano", num_classes=0, **TINY), tmp_path / "bare.safetensors")
    words = ["predict", str(photo(tmp_path, "a.png")), "-w", str(tmp_path / "bare.safetensors")]
    assert main.run(words) == 2
    error = capsys.readouterr().err
    assert "without a classifier" in error
    assert "--freeze backbone" in error


@pytest.mark.parametrize("verb", ["predict", "explore", "export"])
def test_weights_of_another_task_make_no_classifier(verb, tmp_path, capsys) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    model = ["swin_nano"] if verb == "export" else [str(tmp_path / "a.png"), "--model", "swin_nano"]
    words = [verb, *model, "--weights", "bundled:nuclei", "-o", str(tmp_path / "a.onnx")]
    assert main.run(words if verb == "export" else words[:-2]) == 2
    error = capsys.readouterr().err
    assert "bundled:nuclei, of a model for task segment, for swin_nano" in error
    assert "name bundled:nuclei alone" in error
