"""Checkpoints of a run: everything a resumed run needs, in one safetensors file, without pickle.

Names in the file: ``model.*``, ``ema.*`` and ``optimizer.FIELD.*``, each followed by the
parameter's name. The metadata hold one JSON object under "run". No random number generator is
stored, for a run's random numbers depend on the seed and the step alone (``data/rng.py``).
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vitrail.files import write_whole

FORMAT = "vitrail-training"
KEEP = 2
RESUME = "free some space, then run the same command with --resume; what was written is whole"
_DAMAGED = (SafetensorError, OSError, KeyError, ValueError)
_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run between two steps."""

    tensors: dict[str, Tensor]
    """Whole tensors on the CPU, named as in the file."""
    run: dict[str, Any]
    """Step, recipe, model, and everything else that is no tensor."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with ``prefix`` and a dot, without that."""
        start = prefix + "."
        return {k[len(start) :]: v for k, v in self.tensors.items() if k.startswith(start)}


def folder_of(out: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return out / "checkpoints"


def write(out: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint before step ``step`` and remove all but the newest two.

    Raises:
        UsageError: if the disk is full; older checkpoints stay as they are.
    """
    path = folder_of(out) / f"step-{step:08d}.safetensors"
    metadata = {"format": FORMAT, "run": json.dumps(checkpoint.run)}
    tensors = {k: v.contiguous() for k, v in checkpoint.tensors.items()}
    write_whole(path, lambda part: save_file(tensors, part, metadata), fix=RESUME)
    for old in sorted(found(out), reverse=True)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def found(out: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    folder = folder_of(out)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def newest(out: Path) -> tuple[Path, Checkpoint] | None:
    """The newest checkpoint that can be read, or None."""
    return next(_readable(out), None)


def _readable(out: Path) -> Iterator[tuple[Path, Checkpoint]]:
    for path in reversed(found(out)):
        try:
            yield path, read(path)
        except _DAMAGED:
            continue  # the one before it serves


def read_run(out: Path) -> dict[str, Any] | None:
    """Read the JSON part of the newest readable checkpoint; None if there is none."""
    for path in reversed(found(out)):
        with suppress(*_DAMAGED), safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})["run"])
    return None


def read(path: Path) -> Checkpoint:
    """Read one checkpoint file."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path} is no checkpoint of a training run")
        # Cloned, for a tensor that looks into the file would break when the file is removed.
        tensors = {name: torch.clone(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(tensors, json.loads(metadata["run"]))
