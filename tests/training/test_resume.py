"""A run killed with SIGKILL at any moment goes on to the very same numbers."""

import csv
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.tasks.pairs import pair_files, write_pairs
from tests.tasks.volumes import write_volumes
from tests.training.conftest import picture
from vitrail.data.shards import write_shards
from vitrail.errors import UsageError
from vitrail.training import checkpoint
from vitrail.training.lock import FolderLock

SETTINGS = {"checkpoint_every": 3, "workers": 0}
MOMENTS = (
    "step 2",  # before the first checkpoint
    "step 5",  # in the middle of an epoch, after a checkpoint in its middle
    "writing 2",  # the checkpoint is half on the disk
    "renaming 3",  # the checkpoint is on the disk, under its temporary name
    "epoch 2",  # logs and weights of the epoch are written, its checkpoint is not
)
STEPS = 12  # 64 training pictures, 16 a batch, 3 epochs


@pytest.fixture(scope="module")
def whole(launch, tiny_zip, tmp_path_factory) -> Path:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    finish(launch, out=str(out), data=str(tiny_zip), settings=SETTINGS)
    assert len(rows(out / "steps.csv")) == STEPS
    return out


def finish(launch, **job) -> None:
    process = launch(**job)
    process.join(240)
    assert process.exitcode == 0


def kill_at(launch, moment: str, marker: Path, **job) -> None:
    process = launch(pause=moment, marker=str(marker), **job)
    wait_for(marker, process)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def wait_for(marker: Path, process) -> None:
    deadline = time.monotonic() + 240
    while not marker.exists():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)


def rows(path: Path, *without: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(file)]


def content(path: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Metadata and tensors; their order in a file is not fixed."""
    with safe_open(path, framework="np") as file:
        return file.metadata(), {n: file.get_tensor(n).tobytes() for n in file.keys()}  # noqa: SIM118


def same(one: Path, other: Path) -> None:
    """Weights, averages, moments, logs and shipped files are equal, bit for bit."""
    names = [path.name for path in checkpoint.found(one)]
    assert names == [path.name for path in checkpoint.found(other)]
    assert names[-1] == f"step-{STEPS:08d}.safetensors"
    for name in names:
        ours = load_file(checkpoint.folder_of(one) / name)
        theirs = load_file(checkpoint.folder_of(other) / name)
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(ours[key], theirs[key]), f"{name}: {key}"
    for name in ("best.safetensors", "last.safetensors"):
        assert content(one / name) == content(other / name)
    assert rows(one / "steps.csv") == rows(other / "steps.csv")
    timing = ("images_per_s", "seconds")
    assert rows(one / "epochs.csv", *timing) == rows(other / "epochs.csv", *timing)
    assert not list(other.rglob("*.part*")), "a resumed run leaves no litter of the killed one"


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_moment(moment, whole, launch, tiny_zip, tmp_path) -> None:
    job = {"out": str(tmp_path / "out"), "data": str(tiny_zip)}
    kill_at(launch, moment, tmp_path / "marker", settings=SETTINGS, **job)
    finish(launch, settings={**SETTINGS, "resume": True}, **job)
    same(whole, tmp_path / "out")


def test_killed_with_muon(launch, tiny_zip, tmp_path) -> None:
    """Two optimisers, each with moments of its own."""
    job = {"data": str(tiny_zip), "recipe": {"optimizer": "muon"}}
    finish(launch, out=str(tmp_path / "whole"), settings=SETTINGS, **job)
    kill_at(
        launch, "step 8", tmp_path / "marker", out=str(tmp_path / "out"), settings=SETTINGS, **job
    )
    finish(launch, out=str(tmp_path / "out"), settings={**SETTINGS, "resume": True}, **job)
    same(tmp_path / "whole", tmp_path / "out")
    saved = load_file(checkpoint.found(tmp_path / "out")[-1])
    assert any(name.startswith("optimizer.momentum_buffer.") for name in saved)
    assert any(name.startswith("optimizer.exp_avg.") for name in saved)


def test_killed_while_it_segments(launch, tmp_path) -> None:
    """A head, augmentation of images with their labels, and a score of lists."""
    data = write_pairs(tmp_path / "pairs.zip", 24)
    job = {"data": str(data), "task": "segment", "options": {"rotate": 90.0, "flip": "all"}}
    job |= {"recipe": {"batch_size": 4, "epochs": 3}, "settings": SETTINGS}
    finish(launch, out=str(tmp_path / "whole"), **job)
    assert "val_dice" in rows(tmp_path / "whole" / "epochs.csv")[0]
    kill_at(launch, "step 5", tmp_path / "marker", out=str(tmp_path / "out"), **job)
    resumed = {**job, "settings": {**SETTINGS, "resume": True}}
    finish(launch, out=str(tmp_path / "out"), **resumed)
    same(tmp_path / "whole", tmp_path / "out")


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_killed_over_uneven_shards(task, launch, tmp_path) -> None:
    """In the middle of an epoch, with more shards than are drawn from at a time."""
    counts = (1, 4, 2, 3, 1, 5, 2, 1, 4, 3, 2)
    for shard, count in enumerate(counts):
        numbers = range(10 * shard, 10 * shard + count)
        labelled = (
            (f"{n}", {"png": picture(n % 2, n), "cls": str(n % 2).encode()}) for n in numbers
        )
        pairs = ((f"{n}", pair_files(n)) for n in numbers)
        write_shards(labelled if task == "classify" else pairs, tmp_path, name=f"{shard:02d}")
    settings = {**SETTINGS, "memory": 0}
    job = {"data": str(tmp_path / "*.tar"), "task": task, "settings": settings}
    job |= {"recipe": {"batch_size": 5, "epochs": 3}}
    finish(launch, out=str(tmp_path / "whole"), **job)
    kill_at(launch, "step 5", tmp_path / "marker", out=str(tmp_path / "out"), **job)
    finish(launch, out=str(tmp_path / "out"), **{**job, "settings": {**settings, "resume": True}})
    same(tmp_path / "whole", tmp_path / "out")


def test_killed_while_it_segments_volumes(launch, tmp_path) -> None:
    data = write_volumes(tmp_path / "volumes.zip", 8)
    fields = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2, 2)}
    job = {"data": str(data), "task": "segment", "model": "swin3d_nano", "fields": fields}
    job |= {"recipe": {"batch_size": 2, "epochs": 4}, "settings": SETTINGS}
    finish(launch, out=str(tmp_path / "whole"), **job)
    kill_at(launch, "step 5", tmp_path / "marker", out=str(tmp_path / "out"), **job)
    finish(launch, out=str(tmp_path / "out"), **{**job, "settings": {**SETTINGS, "resume": True}})
    same(tmp_path / "whole", tmp_path / "out")


def test_killed_again_and_again(whole, launch, tiny_zip, tmp_path) -> None:
    """Wherever it happens to be, and with batches prepared by another process."""
    out = tmp_path / "out"
    job = {"out": str(out), "data": str(tiny_zip)}
    settings = {**SETTINGS, "resume": True, "workers": 1}
    for step in (3, 8):
        process = launch(settings=settings, **job)
        name = f"step-{step:08d}.safetensors"
        while not any(path.name >= name for path in checkpoint.found(out)):
            assert process.is_alive()
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        # The worker holds the other end of the process' pipe: no exit code while it lives.
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
    finish(launch, settings=settings, **job)
    same(whole, out)


def test_a_damaged_newest_checkpoint_is_not_used(whole, launch, tiny_zip, tmp_path) -> None:
    job = {"out": str(tmp_path / "out"), "data": str(tiny_zip)}
    kill_at(launch, "step 10", tmp_path / "marker", settings=SETTINGS, **job)
    newest = checkpoint.found(tmp_path / "out")[-1]
    os.truncate(newest, newest.stat().st_size - 100)
    finish(launch, settings={**SETTINGS, "resume": True}, **job)
    same(whole, tmp_path / "out")


def test_killed_with_batch_norm(launch, tiny_zip, tmp_path) -> None:
    """MaxViT's statistics are part of the run: they are saved, written and resumed."""
    fields = {"dims": (8, 16), "stem_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
    fields |= {"window": (2, 2), "grid": (2, 2)}
    job = {"data": str(tiny_zip), "model": "maxvit_tiny", "fields": fields}
    out = tmp_path / "out"
    finish(launch, out=str(tmp_path / "whole"), settings=SETTINGS, **job)
    kill_at(launch, "step 8", tmp_path / "marker", out=str(out), settings=SETTINGS, **job)
    finish(launch, out=str(out), settings={**SETTINGS, "resume": True}, **job)
    same(tmp_path / "whole", out)
    mean = "embed.norm.running_mean"
    saved, shipped = load_file(checkpoint.found(out)[-1]), load_file(out / "last.safetensors")
    assert saved[f"model.{mean}"].abs().max() > 0.01
    assert torch.equal(saved[f"model.{mean}"], shipped[mean])
    assert saved["model.embed.norm.num_batches_tracked"] == STEPS
    assert not torch.equal(saved["model.embed.norm.weight"], shipped["embed.norm.weight"])


@pytest.mark.parametrize(
    ("moment", "number"), [("step 5", signal.SIGTERM), ("evaluation 2", signal.SIGINT)]
)
def test_stopped_by_a_signal(moment, number, whole, launch, tiny_zip, tmp_path) -> None:
    """The checkpoint of that very step is written, and the run goes on from it."""
    out, marker, signalled = (tmp_path / name for name in ("out", "marker", "signalled"))
    job = {"out": str(out), "data": str(tiny_zip)}
    once = {"pause": moment, "marker": str(marker), "signalled": str(signalled)}
    process = launch(settings={**SETTINGS, "checkpoint_every": 0, "workers": 1}, **once, **job)
    wait_for(marker, process)
    assert process.pid is not None
    os.kill(process.pid, number)
    signalled.touch()
    process.join(60)
    assert process.exitcode == 130
    step = {"step 5": 5, "evaluation 2": 8}[moment]
    newest = checkpoint.newest(out)
    assert newest is not None
    assert newest[1].run["step"] == step
    finish(launch, settings={**SETTINGS, "resume": True}, **job)
    same(whole, out)


def test_two_runs_in_one_folder(whole, launch, tiny_zip, tmp_path) -> None:
    """Neither a second run nor --resume begins while one goes on; a kill leaves no lock."""
    out, marker = tmp_path / "out", tmp_path / "marker"
    job = {"out": str(out), "data": str(tiny_zip)}
    process = launch(pause="step 5", marker=str(marker), settings=SETTINGS, **job)
    wait_for(marker, process)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for resume in (False, True):
        second = launch(settings={**SETTINGS, "resume": resume}, **job)
        second.join(60)
        assert second.exitcode == 1
        with pytest.raises(
            UsageError, match=rf"goes on: process {process.pid} on[\s\S]*--output .*-2"
        ):
            FolderLock(out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    finish(launch, settings={**SETTINGS, "resume": True}, **job)
    same(whole, out)


@pytest.mark.compile
def test_killed_while_compiled(launch, tiny_zip, tmp_path) -> None:
    """Compiled code draws its random numbers by other means, from the same seeds."""
    settings = {**SETTINGS, "compile": True}
    fields = {"depths": (1,), "num_heads": (1,)}  # one block compiles in a third of the time
    job = {"data": str(tiny_zip), "settings": settings, "fields": fields}
    finish(launch, out=str(tmp_path / "whole"), **job)
    kill_at(launch, "step 8", tmp_path / "marker", out=str(tmp_path / "out"), **job)
    job["settings"] = {**settings, "resume": True}
    finish(launch, out=str(tmp_path / "out"), **job)
    same(tmp_path / "whole", tmp_path / "out")
