import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from vitrail import create_model
from vitrail.cli import main
from vitrail.weights import save

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
    from vitrail import transform
    from vitrail.weights import model_from_file

    model = model_from_file(weights)
    image = transform(model)(Image.open(path).convert("RGB"))
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
