"""Commands that read tar shards do what they do with the same files elsewhere."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.crew import together
from tests.tasks.pairs import encoded, pair_files
from vitrail import create_model
from vitrail.cli import main
from vitrail.data.shards import write_shards
from vitrail.heads import SemanticFPNConfig
from vitrail.weights import save

TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
CLASSES = ("cat", "dog", "owl")
COUNTS = (3, 1, 4, 2)  # samples of each shard


def image(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, dict[str, Path]]:
    """Zips and shards of the same images, by task."""
    root = tmp_path_factory.mktemp("data")
    numbers = iter(range(sum(COUNTS)))
    labelled, pairs = root / "classify", root / "segment"
    with zipfile.ZipFile(root / "c.zip", "w") as c, zipfile.ZipFile(root / "s.zip", "w") as s:
        for shard, count in enumerate(COUNTS):
            own = [next(numbers) for _ in range(count)]
            photos = [(f"{n}", {"png": image(n), "cls": f"{n % 3}".encode()}) for n in own]
            maps = [(f"{n}", pair_files(n, (18, 20 + n))) for n in own]
            write_shards(photos, labelled, name=f"t-{shard}")
            write_shards(maps, pairs, name=f"t-{shard}")
            for n, files in photos:
                c.writestr(f"{CLASSES[int(n) % 3]}/{n}.png", files["png"])
            for n, files in maps:
                s.writestr(f"images/{n}.png", files["png"])
                s.writestr(f"labels/{n}.png", files["seg.png"])
    (labelled / "classes.txt").write_text("\n".join(CLASSES))
    return {
        "classify": {"zip": root / "c.zip", "shards": labelled / "t-{0..3}-000000.tar"},
        "segment": {"zip": root / "s.zip", "shards": pairs / "t-*.tar"},
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    head = SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2)
    made: dict[str, Any] = {
        "classify": create_model("swin_nano", num_classes=3, **TINY),
        "segment": create_model("swin_nano", task="segment", head=head, num_classes=3, **TINY),
    }
    names = {"classify": CLASSES, "segment": ("class 0", "class 1", "class 2")}
    for name, model in made.items():
        model.preprocessing = replace(model.preprocessing, size=(16, 16), classes=names[name])
        save(model, root / f"{name}.safetensors")
    return {name: str(root / f"{name}.safetensors") for name in made}


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_evaluate(task, data, weights, capsys) -> None:
    answers = []
    for how in ("zip", "shards"):
        words = [str(data[task][how]), "-w", weights[task], "--json", "-b", "3"]
        assert main.run(["evaluate", *words, "--device", "cpu"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["images"] == answers[1]["images"] == sum(COUNTS)
    for name in {"loss", "top1", "dice", "iou"} & answers[0].keys():
        assert answers[0][name] == pytest.approx(answers[1][name], rel=1e-6)


def test_train_finds_the_task(data, weights, tmp_path, capsys) -> None:
    words = ["--epochs", "1", "-b", "4", "--device", "cpu", "--workers", "0", "--size", "16"]
    shards = str(data["segment"]["shards"])
    run = ["train", shards, "--val", shards, *words, "-o", str(tmp_path / "run")]
    assert main.run([*run, "--model", weights["segment"]]) == 0
    assert "10 training and 10 validation images, 3 classes" in capsys.readouterr().err
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_predict_by_several_processes(data, weights, tmp_path, capsys) -> None:
    """Label maps are no inputs; results lie in a folder for each shard."""
    words = ["predict", str(data["segment"]["shards"]), "-w", weights["segment"], "--json", "-o"]
    assert main.run([*words, str(tmp_path / "1")]) == 0
    alone = json.loads(capsys.readouterr().out.replace(str(tmp_path / "1"), "OUT"))
    assert len(alone["photos"]) == sum(COUNTS)
    assert alone["photos"][0]["mask"] == "OUT/t-0-000000/0.png"
    done = together(tmp_path / "log", 2, *words, str(tmp_path / "2"))
    assert [one.code for one in done] == [0, 0], done
    assert json.loads(done[0].out.replace(str(tmp_path / "2"), "OUT")) == alone
    with zipfile.ZipFile(data["segment"]["zip"]) as archive:
        (tmp_path / "0.png").write_bytes(archive.read("images/0.png"))
    one = ["predict", str(tmp_path / "0.png"), "-w", weights["segment"], "-o", str(tmp_path / "3")]
    assert main.run(one) == 0
    ours = (tmp_path / "1/t-0-000000/0.png").read_bytes()
    assert ours == (tmp_path / "3/0.png").read_bytes()
