import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail import create_model
from vitrail.cli import main
from vitrail.weights import save

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
CLASSES = ("ant", "bee", "cow", "dog", "elk", "fox")


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.manual_seed(0)
    model = create_model("swin_nano", num_classes=6, **TINY)
    torch.nn.init.normal_(model.get_parameter("head.weight"))
    size = {"size": (16, 16), "crop": 1.0, "trained": True, "classes": CLASSES}
    model.preprocessing = replace(model.preprocessing, **size)
    path = tmp_path / "tiny.safetensors"
    save(model, path)
    return path


def make_zip(path: Path, classes: tuple[str, ...], bad: int = 0) -> Path:
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for name in classes:
            for number in range(5):
                stream = io.BytesIO()
                pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(stream, "PNG")
                archive.writestr(f"{name}/{number}.png", stream.getvalue())
        for number in range(bad):
            archive.writestr(f"{classes[0]}/bad{number}.png", b"no picture")
    return path


def expected(weights: Path, path: Path) -> tuple[float, float]:
    """Accuracy and loss, picture by picture."""
    from vitrail import transform
    from vitrail.weights import load_model

    model = load_model(weights)
    hits, losses = [], []
    with zipfile.ZipFile(path) as archive, torch.no_grad():
        for name in archive.namelist():
            image = transform(model)(Image.open(io.BytesIO(archive.read(name))))
            logits, label = model(image[None]), CLASSES.index(name.split("/")[0])
            hits.append(logits.argmax().item() == label)
            losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor([label])).item())
    return float(np.mean(hits)), float(np.mean(losses))


def run(capsys, *words: str) -> dict:
    assert main.run(["evaluate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json(weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "z.zip", CLASSES)
    answer = run(capsys, str(path), "-w", str(weights), "-b", "7")
    top1, loss = expected(weights, path)
    assert answer["images"] == 30
    assert answer["top1"] == pytest.approx(top1)
    assert answer["loss"] == pytest.approx(loss, rel=1e-4)
    assert answer["top1"] < answer["top5"] < 1
    assert answer["per_class"].keys() == set(CLASSES)
    assert answer["size"] == [16, 16]


def test_some_of_the_models_classes(weights, tmp_path, capsys) -> None:
    """Folders are matched by name: cow is the third class also where it is the first folder."""
    path = make_zip(tmp_path / "z.zip", ("cow", "fox"))
    answer = run(capsys, str(path), "-w", str(weights))
    assert answer["top1"] == pytest.approx(expected(weights, path)[0])
    assert answer["per_class"].keys() == {"cow", "fox"}


def test_another_size(weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "z.zip", CLASSES)
    answer = run(capsys, str(path), "-w", str(weights), "--size", "24x32")
    assert answer["size"] == [24, 32]
    assert answer["loss"] != pytest.approx(expected(weights, path)[1], rel=1e-4)


def test_text(weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "z.zip", CLASSES, bad=2)
    assert main.run(["evaluate", str(path), "-w", str(weights), "--per-class"]) == 0
    out = capsys.readouterr().out
    assert "on 30 images at 16 x 16" in out
    assert "top-1" in out
    assert "skipped 2 unreadable" in out
    assert "elk" in out


def test_skipped_images_are_named(weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "a.zip", CLASSES, bad=7)
    assert main.run(["evaluate", str(path), "-w", str(weights), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("bad") == captured.err.count("which is no picture") == 5
    found = json.loads(captured.out)["skipped_images"]
    assert [entry["image"] for entry in found] == [f"{path}/ant/bad{n}.png" for n in range(7)]
    assert all("no picture" in entry["error"] for entry in found)


def test_a_place_that_cannot_be_written(weights, tmp_path, capsys) -> None:
    """It is refused before the data are looked for."""
    (tmp_path / "c.csv").mkdir()
    words = ["evaluate", str(tmp_path / "gone"), "-w", str(weights)]
    assert main.run([*words, "--confusion", str(tmp_path / "c.csv")]) == 2
    assert "c.csv, which is a folder" in capsys.readouterr().err


def test_too_many_bad_images(weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "z.zip", CLASSES, bad=2)
    assert main.run(["evaluate", str(path), "-w", str(weights), "--max-bad", "1"]) == 2
    error = capsys.readouterr().err
    assert "2 unreadable images" in error
    assert "--max-bad" in error


def test_confusion(weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "z.zip", CLASSES)
    table, picture = tmp_path / "c.csv", tmp_path / "c.png"
    run(capsys, str(path), "-w", str(weights), "--confusion", str(table))
    answer = run(capsys, str(path), "-w", str(weights), "--confusion", str(picture))
    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert rows[0] == ["true\\predicted", *CLASSES]
    matrix = np.array([[int(value) for value in row[1:]] for row in rows[1:]])
    assert matrix.sum(1).tolist() == [5] * 6
    assert np.trace(matrix) / 30 == pytest.approx(answer["top1"])
    pixels = np.asarray(Image.open(picture))
    text = 8 * 3 + 8
    for row in range(6):
        for column in range(6):
            corner = pixels[text + row * 48 + 1, text + column * 48 + 1]
            assert corner[0] == round(255 - matrix[row, column] / 5 * (255 - 8))


def test_confusion_of_many_classes() -> None:
    from vitrail.cli.evaluate import _draw

    names = tuple(f"class {n}" for n in range(1000))
    image = _draw(np.eye(1000, dtype=int), names)
    assert max(image.size) < 5000


@pytest.mark.parametrize(
    ("words", "named", "fix"),
    [
        (["--confusion", "c.txt"], "--confusion c.txt", "use --confusion confusion.png"),
        (["--size", "big"], "--size big", "write --size"),
        (["--device", "cuda:99"], "--device cuda:99", "use --device cpu"),
    ],
)
def test_bad_options(words, named, fix, weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "z.zip", CLASSES)
    assert main.run(["evaluate", str(path), "-w", str(weights), *words]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert f"fix: {fix}" in error


def test_data_of_other_classes(weights, tmp_path, capsys) -> None:
    path = make_zip(tmp_path / "z.zip", ("ant", "gnu"))
    assert main.run(["evaluate", str(path), "-w", str(weights)]) == 2
    error = capsys.readouterr().err
    assert "class 'gnu' for a model of 6" in error
    assert "named ant, bee, cow" in error


def test_missing_data(weights, capsys) -> None:
    assert main.run(["evaluate", "no/such/*.zip", "-w", str(weights)]) == 2
    assert "no/such/*.zip' " in capsys.readouterr().err.replace("',", "' ")
