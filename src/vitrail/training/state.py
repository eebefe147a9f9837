"""A run's state between two steps: to a checkpoint and back."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models import TaskModel
from vitrail.shapes import Size
from vitrail.tasks import Task
from vitrail.training import checkpoint
from vitrail.training.checkpoint import Checkpoint
from vitrail.training.ema import Average
from vitrail.training.parallel import cut_like, fill, whole
from vitrail.training.recipe import Recipe
from vitrail.training.schedule import Cycle, Schedule


class State:
    """The tensors that a run carries from step to step.

    Args:
        model: the model that is trained; under FSDP its parameters are cut over the processes. Its
            persistent buffers, such as the statistics of a BatchNorm, belong to its state.
        average: the average of its parameters, if one is kept.
        optimizers: the optimisers of its parameters; each parameter is in at most one of them.
    """

    def __init__(self, model: nn.Module, average: Average | None, optimizers: list[Any]) -> None:
        self.average, self.optimizers = average, optimizers
        self.parameters = dict(model.named_parameters())
        persistent = model.state_dict().keys()
        self.buffers = {name: b for name, b in model.named_buffers() if name in persistent}
        self.owners = {
            parameter: optimizer
            for optimizer in optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def tensors(self) -> dict[str, Tensor]:
        """Everything as whole tensors on the CPU; a collective operation of all processes."""
        values = self.parameters | self.buffers
        found = {f"model.{name}": whole(value) for name, value in values.items()}
        if self.average is not None:
            found |= {f"ema.{name}": whole(v) for name, v in self.average.values.items()}
        for name, parameter in self.parameters.items():
            if parameter in self.owners:
                for field, value in self.owners[parameter].state.get(parameter, {}).items():
                    found[f"optimizer.{field}.{name}"] = whole(value)
        return found

    def load(self, saved: Checkpoint) -> None:
        """Put a checkpoint's tensors in place."""
        model, ema = saved.part("model"), saved.part("ema")
        for name, buffer in self.buffers.items():
            fill(buffer, model[name])
        for name, parameter in self.parameters.items():
            fill(parameter, model[name])
            if self.average is not None:
                fill(self.average.values[name], ema[name])
            moments = self._moments(saved, name, parameter)
            if moments:
                self.owners[parameter].state[parameter] = moments

    def _moments(self, saved: Checkpoint, name: str, parameter: Tensor) -> dict[str, Tensor]:
        """An optimiser's moments of a parameter; empty for one that never had a step."""
        moments: dict[str, Tensor] = {}
        for field in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
            value = saved.tensors.get(f"optimizer.{field}.{name}")
            if value is not None:
                moments[field] = cut_like(value, parameter)
        step = saved.tensors.get(f"optimizer.step.{name}")
        if step is not None:
            fused = self.owners[parameter].param_groups[0]["fused"]
            moments["step"] = step.to(parameter.device) if fused else step
        return moments

    def weights(self) -> dict[str, Tensor]:
        """The model's state dict with the averages, if there are any, as its parameters."""
        values = self.parameters if self.average is None else self.average.values
        return {name: whole(value) for name, value in (values | self.buffers).items()}

    def share_buffers(self) -> None:
        """Give all processes the first one's buffers: each has seen its own images."""
        if torch.distributed.is_initialized():
            for buffer in self.buffers.values():
                torch.distributed.broadcast(buffer, 0)


def identity_of(model: Any, task: Task, samples: int, size: Size, recipe: Recipe) -> dict[str, Any]:
    """What must be equal in a checkpoint for a run to go on from it.

    Args:
        model: which is trained.
        task: what it learns.
        samples: how many there are to train on.
        size: lengths of the inputs.
        recipe: of the run.
    """
    return {
        "model": f"{type(model).__name__} {model.config}",
        "head": str(model.head_facts) if isinstance(model, TaskModel) else None,
        "task": task.name,
        "options": json.loads(json.dumps(asdict(task.options))),  # a checkpoint has no tuples
        "classes": list(task.classes),
        "images": samples,
        "size": list(size),
        "recipe": recipe.as_dict(),
    }


def find_start(out: Path, identity: dict[str, Any], *, resume: bool) -> Checkpoint | None:
    """The checkpoint a run goes on from; None for a start from the beginning.

    Args:
        out: the run's folder.
        identity: what must be equal in the checkpoint, all but the number of epochs.
        resume: whether to go on at all.
    Raises:
        UsageError: if there is a run already and ``resume`` is false, it is another run, or it has
            more epochs behind it than it is to have.
    """
    if not resume:
        if checkpoint.found(out):
            raise UsageError(
                given=f"the folder {str(out)!r}, which holds a run already",
                allowed="a new folder, or the same command with --resume",
                fix=f"add --resume, or use another folder: --output {out}-2",
            )
        return None
    newest = checkpoint.newest(out)
    if newest is None:
        return None  # killed before its first checkpoint: it goes on from the beginning
    path, saved = newest
    _check_same(identity, saved.run, path)
    return saved


def extend(schedule: Schedule, run: dict[str, Any], recipe: Recipe, per_epoch: int) -> Schedule:
    """The schedule of a resumed run, whose number of epochs may be another than before.

    Args:
        schedule: that of the recipe from the first step on.
        run: of the checkpoint.
        recipe: of the run from here on.
        per_epoch: steps of an epoch.
    Raises:
        UsageError: the run is to end before the step it has reached.
    """
    step, then = run["step"], run["recipe"]
    total = then["epochs"] * per_epoch  # of a run that was never extended
    warmup = min(total, round(then["warmup_epochs"] * per_epoch))
    cycles: list[Any] = run.get("cycles") or [(0, total, warmup, recipe.warmup_lr)]
    before = replace(schedule, cycles=tuple(Cycle(*cycle) for cycle in cycles))
    if recipe.epochs == then["epochs"]:
        return before
    if schedule.total <= step:
        done = -(-step // per_epoch)
        raise UsageError(
            given=f"{recipe.epochs} epochs for a run that has done {step / per_epoch:g}",
            allowed=f"more than {step / per_epoch:g} epochs",
            fix=f"use --resume --epochs {2 * done}",
        )
    return before.extended(step, schedule.total, round(recipe.warmup_epochs * per_epoch))


def _check_same(now: dict[str, Any], then: dict[str, Any], path: Path) -> None:
    """Refuse to go on with another model, other data or another recipe."""
    flat_now, flat_then = (run | run["recipe"] | run.get("options", {}) for run in (now, then))
    free = {"recipe", "options"}
    if flat_now["epochs"] != flat_then.get("epochs"):  # an extension, which has its own warm-up
        free |= {"epochs", "warmup_epochs"}
    for name, value in flat_now.items():
        if name not in free and value != flat_then.get(name):
            raise UsageError(
                given=f"{name}={value!r} for a run that has {flat_then.get(name)!r}",
                allowed=f"the same run as in {str(path)!r}",
                fix="repeat the first command exactly and add --resume, or use another --output",
            )
