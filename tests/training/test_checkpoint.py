import os

import pytest
import torch
from safetensors.torch import save_file

from vitrail.training import checkpoint
from vitrail.training.checkpoint import Checkpoint


def saved(step: int) -> Checkpoint:
    return Checkpoint({"model.a": torch.full((2, 3), float(step))}, {"step": step, "best": 0.5})


def test_round_trip(tmp_path) -> None:
    tensors = {"model.a": torch.randn(3, 4).t(), "optimizer.step.a": torch.tensor(7.0)}
    checkpoint.write(tmp_path, 7, Checkpoint(tensors, {"step": 7, "name": "é", "sums": [1.5, 2]}))
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    path, found = newest
    assert path.name == "step-00000007.safetensors"
    assert found.run == {"step": 7, "name": "é", "sums": [1.5, 2]}
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[n], tensors[n]) for n in tensors)
    assert found.part("optimizer").keys() == {"step.a"}


def test_keeps_the_last_two(tmp_path) -> None:
    for step in (5, 10, 100):
        checkpoint.write(tmp_path, step, saved(step))
    names = [path.name for path in checkpoint.found(tmp_path)]
    assert names == ["step-00000010.safetensors", "step-00000100.safetensors"]


def test_nothing_there(tmp_path) -> None:
    assert checkpoint.newest(tmp_path) is None
    assert checkpoint.found(tmp_path / "gone") == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "foreign", "folder"])
def test_damaged_ones_are_passed_over(damage, tmp_path) -> None:
    checkpoint.write(tmp_path, 1, saved(1))
    path = checkpoint.write(tmp_path, 2, saved(2))
    if damage == "truncated":
        os.truncate(path, path.stat().st_size - 4)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_bytes(b"x" * 100)
    elif damage == "foreign":
        save_file({"a": torch.ones(1)}, path)
    else:
        path.unlink()
        path.mkdir()
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    assert newest[1].run["step"] == 1


def test_tensors_outlive_their_file(tmp_path) -> None:
    path = checkpoint.write(tmp_path, 1, saved(1))
    found = checkpoint.read(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert found.tensors["model.a"].eq(1).all()
