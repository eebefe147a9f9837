"""Two processes (gloo) do what one does: DDP, FSDP2, and evaluation."""

import csv
import json
import math
import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vitrail.training import checkpoint

# In float32, without stochastic depth: what each process draws for its part of a batch is its own.
EXACT = {"precision": "fp32", "epochs": 3, "warmup_epochs": 0.0, "mixup": 0.8, "cutmix": 1.0}


def together(launch, count: int, folder: Path, **job) -> list[dict[str, float]]:
    """Run a job on ``count`` processes; the losses of each step."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    processes = []
    for rank in range(count):
        env = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        more = {"env": env} if count > 1 else {}
        processes.append(launch(out=str(folder / "out"), drop_path=0.0, **more, **job))
    deadline = time.monotonic() + 150
    for process in processes:
        process.join(max(1.0, deadline - time.monotonic()))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
    assert [process.exitcode for process in processes] == [0] * count
    with open(folder / "out" / "steps.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def alone(launch, tiny_zip, tmp_path_factory) -> tuple[Path, list[dict[str, float]]]:
    folder = tmp_path_factory.mktemp("alone")
    recipe = {**EXACT, "batch_size": 64}
    return folder, together(launch, 1, folder, data=str(tiny_zip), recipe=recipe)


def close(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        for name in one:
            assert math.isclose(one[name], other[name], rel_tol=1e-5), name


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.found(folder / "out")[-1])


def test_ddp_equals_one_process(launch, tiny_zip, tmp_path, alone) -> None:
    recipe = {**EXACT, "batch_size": 64}
    losses = together(launch, 2, tmp_path, data=str(tiny_zip), recipe=recipe)
    close(losses, alone[1])
    ours, theirs = weights(tmp_path), weights(alone[0])
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-5)
    with open(tmp_path / "out" / "epochs.csv", newline="") as file:
        mine = list(csv.DictReader(file))
    with open(alone[0] / "out" / "epochs.csv", newline="") as file:
        expected = list(csv.DictReader(file))
    for one, other in zip(mine, expected, strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=1e-4)


def test_processes_join_without_a_flag_to_use_the_cpu(launch, tiny_zip, tmp_path, alone) -> None:
    """On a machine without a GPU, and with Muon: each process would else train alone."""
    recipe = {**EXACT, "batch_size": 64, "optimizer": "muon"}
    job = {"data": str(tiny_zip), "recipe": recipe}
    settings = {"cpu": torch.accelerator.is_available()}
    losses = together(launch, 2, tmp_path / "two", settings=settings, **job)
    close(losses, together(launch, 1, tmp_path / "one", **job))
    assert [row["loss"] for row in losses] != [row["loss"] for row in alone[1]]


def test_accumulating_equals_one_pass(launch, tiny_zip, tmp_path, alone) -> None:
    recipe = {**EXACT, "batch_size": 64, "accumulate": 2}
    close(together(launch, 1, tmp_path, data=str(tiny_zip), recipe=recipe), alone[1])


def test_fsdp_equals_one_process_and_resumes(launch, tiny_zip, tmp_path, alone) -> None:
    recipe = {**EXACT, "batch_size": 64}
    job = {"data": str(tiny_zip), "recipe": recipe, "report": str(tmp_path / "report.json")}
    losses = together(launch, 2, tmp_path, settings={"fsdp": True}, **job)
    close(losses, alone[1])
    assert json.loads((tmp_path / "report.json").read_text())["parameters"] == ["DTensor"]
    ours, theirs = weights(tmp_path), weights(alone[0])
    assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in theirs.items()}
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-5)
    # The last epoch again, from the checkpoint of the first.
    checkpoint.found(tmp_path / "out")[-1].unlink()
    again = together(launch, 2, tmp_path, settings={"fsdp": True, "resume": True}, **job)
    close(again, alone[1])


def test_statistics_of_the_first_process_are_the_run_s(launch, tiny_zip, tmp_path) -> None:
    """All evaluate with them, they are saved, and a resumed run has the very same ones."""
    fields = {"dims": (8, 16), "stem_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
    fields |= {"window": (2, 2), "grid": (2, 2)}
    job = {"data": str(tiny_zip), "model": "maxvit_tiny", "fields": fields}
    job["recipe"] = {**EXACT, "batch_size": 64}
    together(launch, 2, tmp_path, **job)
    files = (checkpoint.found(tmp_path / "out")[-1], tmp_path / "out" / "last.safetensors")
    before = [load_file(path) for path in files]
    assert before[1]["embed.norm.running_mean"].abs().max() > 0  # of three steps
    files[0].unlink()
    together(launch, 2, tmp_path, settings={"resume": True}, **job)
    for path, tensors in zip(files, before, strict=True):
        again = load_file(path)
        assert all(torch.equal(again[name], value) for name, value in tensors.items())
