"""A run's state between two steps: to a checkpoint and back."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.training import checkpoint
from vitrail.training.checkpoint import Checkpoint
from vitrail.training.ema import Average
from vitrail.training.parallel import cut_like, fill, whole


class State:
    """The tensors that a run carries from step to step.

    Args:
        model: the model that is trained; under FSDP its parameters are cut over the processes.
        average: the average of its parameters, if one is kept.
        optimizers: the optimisers of its parameters; each parameter is in at most one of them.
    """

    def __init__(self, model: nn.Module, average: Average | None, optimizers: list[Any]) -> None:
        self.average, self.optimizers = average, optimizers
        self.parameters = dict(model.named_parameters())
        self.owners = {
            parameter: optimizer
            for optimizer in optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def tensors(self) -> dict[str, Tensor]:
        """Everything as whole tensors on the CPU; all processes must ask together."""
        found = {f"model.{name}": whole(p) for name, p in self.parameters.items()}
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
        for name, parameter in self.parameters.items():
            fill(parameter, model[name])
            if self.average is not None:
                fill(self.average.values[name], ema[name])
            moments = self._moments(saved, name, parameter)
            if moments:
                self.owners[parameter].state[parameter] = moments

    def _moments(self, saved: Checkpoint, name: str, parameter: Tensor) -> dict[str, Tensor]:
        """What an optimiser remembers of a parameter; empty for one that never had a step."""
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
        """What the run has to show: the averages if there are any, else the parameters."""
        values = self.parameters if self.average is None else self.average.values
        return {name: whole(value) for name, value in values.items()}


def find_start(out: Path, identity: dict[str, Any], *, resume: bool) -> Checkpoint | None:
    """The checkpoint a run goes on from; None for a start from the beginning.

    Args:
        out: the run's folder.
        identity: what must be equal in the checkpoint.
        resume: whether to go on at all.
    Raises:
        UsageError: if there is a run already and ``resume`` is false, or it is another run.
    """
    if not resume:
        if checkpoint.found(out):
            raise UsageError(
                given=f"the folder {str(out)!r}, which holds a run already",
                allowed="a new folder, or the same command with --resume",
                fix=f"add --resume, or use another folder: --out {out}-2",
            )
        return None
    newest = checkpoint.newest(out)
    if newest is None:
        return None  # killed before its first checkpoint: the beginning is where it goes on
    path, saved = newest
    _check_same(identity, saved.run, path)
    return saved


def _check_same(now: dict[str, Any], then: dict[str, Any], path: Path) -> None:
    """Refuse to go on with another model, other data or another recipe."""
    flat_now, flat_then = now | now["recipe"], then | then["recipe"]
    for name, value in flat_now.items():
        if name != "recipe" and value != flat_then.get(name):
            raise UsageError(
                given=f"{name}={value!r} for a run that has {flat_then.get(name)!r}",
                allowed=f"the same run as in {str(path)!r}",
                fix="repeat the first command exactly and add --resume, or use another --out",
            )
