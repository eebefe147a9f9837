"""`vitrail train` on tiny pictures; what happens inside is tested in tests/training."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vitrail import create_model
from vitrail.cli import main
from vitrail.training import loop
from vitrail.weights import save

SOURCE = str(Path(__file__).parents[2] / "src")
QUICK = ["--epochs", "1", "-b", "16", "--size", "16", "--device", "cpu", "--workers", "0"]
QUICK += ["--val-part", "0.2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two zips of three classes, ten pictures a class."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for part in (1, 2):
        with zipfile.ZipFile(folder / f"train-{part}.zip", "w") as archive:
            for kind, name in enumerate(("blue", "green", "red")):
                for number in range(5):
                    pixels = generator.integers(0, 100, (16, 16, 3), dtype=np.uint8)
                    pixels[..., kind] += 150
                    stream = io.BytesIO()
                    Image.fromarray(pixels).save(stream, "PNG")
                    archive.writestr(f"{name}/{number}.png", stream.getvalue())
    return folder


def train(data: Path, out: Path, *words: str) -> int:
    pattern = str(data / "train-*.zip")
    return main.run(["train", pattern, "-o", str(out), *QUICK, *words])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "out"
    assert train(data, out) == 0
    return out


def test_what_a_run_leaves(trained) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names == {
        *("best.safetensors", "last.safetensors", "checkpoints"),
        *("epochs.csv", "steps.csv", "tensorboard"),
    }
    with open(trained / "steps.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 1  # 24 training pictures, 16 a batch
    with open(trained / "epochs.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["val_top5"]) == 1.0


def test_its_weights_work_everywhere(trained, data, tmp_path, capsys) -> None:
    weights = str(trained / "best.safetensors")
    assert main.run(["evaluate", str(data / "train-1.zip"), "-w", weights, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 15
    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    assert main.run(["predict", str(tmp_path / "a.png"), "-w", weights, "--json"]) == 0
    top = json.loads(capsys.readouterr().out)["photos"][0]["top"]
    assert {row["class"] for row in top} == {"blue", "green", "red"}


def test_resume(data, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert train(data, out) == 0
    assert train(data, out) == 2
    assert "add --resume" in capsys.readouterr().err
    words = ["train", str(data / "train-*.zip"), "-o", str(out), *QUICK[2:], "--resume"]
    assert main.run(words) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out / "best.safetensors")
    assert "all 1 steps are done; to train on, use --resume --epochs 2" in captured.err
    assert main.run([*words, "--epochs", "2"]) == 0
    assert "resumed after step 1 of 2" in capsys.readouterr().err
    assert main.run(words) == 0
    assert "all 2 steps are done" in capsys.readouterr().err


def test_ctrl_c(data, tmp_path, monkeypatch, capsys) -> None:
    take = loop.Run._step

    def step(self, batch):
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return take(self, batch)

    monkeypatch.setattr(loop.Run, "_step", step)
    assert train(data, tmp_path / "out", "--epochs", "3") == 130
    assert "stopped at step 2 of 3; continue with --resume" in capsys.readouterr().err
    monkeypatch.setattr(loop.Run, "_step", take)
    assert train(data, tmp_path / "out", "--epochs", "3", "--resume") == 0
    assert "resumed after step 2 of 3" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    assert main.run(["train", str(tmp_path / "no data"), "-o", str(tmp_path / "file" / "a")]) == 2
    error = capsys.readouterr().err
    assert "given: --output " in error
    assert "choose another place for --output" in error


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["{data}", "-o", "{data}/run"], "in the folder of images"),
        (["{data}", "-o", "{tmp}", "-w", "{tmp}/best.safetensors"], "the file that is read"),
    ],
)
def test_what_is_read_is_not_written_over(words, given, tmp_path, capsys) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "best.safetensors").touch()
    assert main.run(["train", *(w.format(data=data, tmp=tmp_path) for w in words)]) == 2
    assert given in capsys.readouterr().err
    assert not (data / "run").exists()


def test_from_weights_with_other_classes_and_a_frozen_backbone(trained, tmp_path) -> None:
    folder = tmp_path / "data"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / name / f"{number}.png")
    weights = trained / "best.safetensors"
    words = ["train", str(folder), "-o", str(tmp_path / "out"), *QUICK]
    assert main.run([*words, "-w", str(weights), "--freeze", "backbone", "--ema", "0"]) == 0
    before, after = load_file(weights), load_file(tmp_path / "out" / "last.safetensors")
    assert after["head.weight"].shape[0] == 2
    for name in before:
        if not name.startswith("head."):
            assert torch.equal(before[name], after[name]), name


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A folder, and a file, of a model that has no name, whose first stage was frozen."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    model = create_model("swin_nano", dim=24, depths=(1, 1), num_heads=(1, 2), num_classes=7,
                         frozen_stages=1)  # fmt: skip
    model.save_pretrained(folder / "folder")
    save(model, folder / "file.safetensors")
    return folder


@pytest.mark.parametrize("option", ["--model", "--weights"])
@pytest.mark.parametrize("name", ["file.safetensors", "folder"])
def test_a_checkpoint_is_a_model_with_weights(option, name, checkpoint, data, tmp_path) -> None:
    words = [option, str(checkpoint / name), "--ema", "0", "--lr", "1e-2", "--warmup-epochs", "0"]
    assert train(data, tmp_path / "tuned", *words) == 0
    assert train(data, tmp_path / "frozen", *words, "--freeze", "backbone") == 0
    before = load_file(checkpoint / "file.safetensors")
    tuned = load_file(tmp_path / "tuned" / "last.safetensors")
    frozen = load_file(tmp_path / "frozen" / "last.safetensors")
    assert before.keys() == tuned.keys() == frozen.keys()
    for key in before:
        if key.startswith("head."):
            assert tuned[key].shape[0] == 3
        else:
            assert torch.equal(before[key], frozen[key]), key
            assert (key.endswith("bias_table")) or not torch.equal(before[key], tuned[key]), key


def test_a_checkpoint_as_a_model_has_its_own_weights(checkpoint, data, tmp_path, capsys) -> None:
    path = str(checkpoint / "file.safetensors")
    assert train(data, tmp_path / "out", "-m", path, "-w", "bundled") == 2
    given, _, fix = capsys.readouterr().err.splitlines()
    assert f"the checkpoint {path} as the model, and --weights bundled" in given
    assert fix == "fix: leave --weights out"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fields", "returned"), [({"out_indices": (0, 1)}, "maps"), ({"global_pool": ""}, "tokens")]
)
def test_a_checkpoint_that_does_not_classify_is_refused(
    fields, returned, data, tmp_path, capsys
) -> None:
    path = tmp_path / "m.safetensors"
    save(create_model("swin_nano", num_classes=0, **fields), path)
    assert train(data, tmp_path / "out", "-m", str(path)) == 2
    given, _, fix = capsys.readouterr().err.splitlines()
    assert f"which returns {returned}, to train" in given and "the checkpoint of a class" in fix
    assert not (tmp_path / "out").exists()


def test_frozen_stages(data, trained, tmp_path) -> None:
    weights = str(trained / "best.safetensors")
    assert train(data, tmp_path / "out", "-w", weights, "--freeze", "1", "--ema", "0") == 0
    before, after = load_file(weights), load_file(tmp_path / "out" / "last.safetensors")
    same = {name.split(".")[1] for name in before if torch.equal(before[name], after[name])}
    assert "0" in same
    assert not torch.equal(
        before["stages.1.blocks.0.mlp.fc1.weight"], after["stages.1.blocks.0.mlp.fc1.weight"]
    )


def test_validation_data_of_its_own(data, tmp_path) -> None:
    words = ["train", str(data / "train-1.zip"), "--val", str(data / "train-2.zip"), *QUICK]
    out = tmp_path / "out"
    assert main.run([*words, "-b", "15", "-o", str(out)]) == 0
    with open(out / "epochs.csv", newline="") as file:
        assert next(iter(csv.DictReader(file)))["val_top1"] != ""


@pytest.mark.parametrize(
    ("words", "named", "fix"),
    [
        (["--val-part", "1"], "--val-part 1", "use --val-part 0.05"),
        (["--freeze", "head"], "--freeze head", "--freeze backbone"),
        (["--freeze", "9"], "--freeze 9", "use --freeze 0 to train everything"),
        (["--drop-path", "2"], "--drop-path 2.0", "use --drop-path 0.1"),
        (["--lr", "-1"], "given: --lr -1.0", "leave --lr out"),
        (["--epochs", "0"], "given: --epochs 0", "use --epochs 300, the default"),
        (["--layer-decay", "2"], "given: --layer-decay 2.0", "use --layer-decay 1.0, the default"),
        (["--precision", "fp8"], "given: --precision fp8", "use --precision bf16"),
        (["--workers", "-1"], "value for '--workers'", "train --help"),
        (["-b", "100"], "batch of 100 with 24", "--batch-size 24"),
        (["--fsdp"], "--fsdp on 1 process", "torchrun"),
        (["-m", "swin_nanno"], "swin_nanno", "swin_nano"),
        (["-m", "swin1d_tiny"], "swin1d_tiny, whose input has 1 axes", "swin_nano"),
    ],
)
def test_bad_options(words, named, fix, data, tmp_path, capsys) -> None:
    assert train(data, tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert named in error
    assert fix in error.splitlines()[2]
    assert not (tmp_path / "out").exists(), "nothing half-written"


def test_an_empty_class(tmp_path, capsys) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / "dog" / "1.png").touch()
    assert main.run(["train", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 2
    assert "class folder 'cat'" in capsys.readouterr().err


def test_other_classes_for_validation(data, tmp_path, capsys) -> None:
    (tmp_path / "val" / "pink").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "val" / "pink" / "1.png")
    assert train(data, tmp_path / "out", "--val", str(tmp_path / "val")) == 2
    error = capsys.readouterr().err
    assert "classes differ in blue, green, pink, red" in error
    assert "fix: rename, add or remove" in error


def test_the_same_command_under_torchrun(data, trained, tmp_path) -> None:
    """Two processes; one writes, and the losses are those of one process."""
    # What is drawn for a group of pictures, or inside the model, depends on who has them.
    exact = ["--drop-path", "0", "--precision", "fp32", "--randaugment", "0"]
    exact += ["--mixup", "0", "--cutmix", "0"]
    words = ["-m", "vitrail", "train", str(data / "train-*.zip"), *QUICK, *exact]
    env = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", *words, "-o", str(tmp_path / "two")),
        ],
        env=env,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("24 training and 6 validation images") == 1
    assert train(data, tmp_path / "one", *exact) == 0
    losses = []
    for name in ("one", "two"):
        with open(tmp_path / name / "steps.csv", newline="") as file:
            losses.append(float(next(iter(csv.DictReader(file)))["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_options_of_the_task(data, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert train(data, out, "--task", "classify", "--set", "balance=true") == 0
    assert train(data, out, "--resume", "--epochs", "2") == 2
    shown = capsys.readouterr().err
    assert "given: balance=False for a run that has True" in shown
    assert train(data, tmp_path / "other", "--set", "balanse=true") == 2
    shown = capsys.readouterr().err
    assert "given: --set balanse=true for task classify" in shown
    assert "fix: write --set balance=VALUE" in shown
    assert train(data, tmp_path / "other", "--task", "clasify") == 2
    shown = capsys.readouterr().err
    assert "given: --task clasify" in shown
    assert "fix: use --task classify" in shown
