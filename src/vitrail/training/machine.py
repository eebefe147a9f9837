"""What a run does with the machine it is on: devices, processes, folders, display."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list

from vitrail.errors import UsageError
from vitrail.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything about a run that does not change its numbers (on one process)."""

    out: Path
    """Folder of checkpoints, logs and weights."""
    resume: bool = False
    """Go on with the run in ``out``."""
    workers: int = 1
    """Processes that prepare batches ahead."""
    compile: bool = False
    fsdp: bool = False
    """Cut the parameters over the processes instead of copying them."""
    checkpoint_every: int = 0
    """Optimiser steps between checkpoints besides the one after each epoch; 0 for none."""
    memory: int = 2 << 30
    """Bytes that decoded pictures may take."""
    max_bad: int = 100
    """Unreadable images that are skipped before it is an error."""
    tensorboard: bool = True
    show: bool = True
    cpu: bool = False
    """Use the CPU even where there is a GPU."""


def start_accelerator(recipe: Recipe, settings: Settings) -> Accelerator:
    """Join the other processes, if any, and choose the device.

    Raises:
        UsageError: if the batch cannot be shared evenly, or ``fsdp`` is set for a lone process or
            for an optimiser that cannot do it.
    """
    # Accelerate keeps the first precision of a process and refuses another; a second run of the
    # same process may have one.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision="bf16" if recipe.precision == "bf16" else "no",
        gradient_accumulation_steps=recipe.accumulate,
        # By default accelerate does not join processes on a machine without a GPU.
        cpu=settings.cpu or not torch.accelerator.is_available(),
    )
    _check_batch(recipe, accelerator.num_processes)
    if settings.fsdp and not torch.distributed.is_initialized():
        raise UsageError(
            given="--fsdp on 1 process",
            allowed="--fsdp on processes that were started together",
            fix="start it with: torchrun --nproc-per-node 2 -m vitrail train ...",
        )
    if settings.fsdp and recipe.optimizer == "muon":
        raise UsageError(
            given="--fsdp with --optimizer muon, which needs each matrix whole",
            allowed="--fsdp with --optimizer adamw, or muon without --fsdp",
            fix="use --optimizer adamw",
        )
    return accelerator


def in_first_process(accelerator: Accelerator, act: Callable[[], object]) -> None:
    """Do something in the first process alone; what goes wrong there ends all of them.

    Raises:
        UsageError: as ``act``.
    """
    error: list[UsageError | None] = [None]
    if accelerator.is_main_process:
        try:
            act()
        except UsageError as raised:
            error = [raised]
    if accelerator.num_processes > 1:
        broadcast_object_list(error)
    if error[0] is not None:
        raise error[0]


def _check_batch(recipe: Recipe, processes: int) -> None:
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise UsageError(
            given=f"a batch of {recipe.batch_size} images for {processes} process(es)"
            f" in {recipe.accumulate} part(s) each",
            allowed=f"a multiple of {parts}",
            fix=f"use --batch-size {max(1, round(recipe.batch_size / parts)) * parts}",
        )
