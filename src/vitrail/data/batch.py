"""Inputs with what belongs to them, one by one and in batches, of any task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """One input with what belongs to it, ready for the model.

    Args:
        input: a tensor without a batch axis.
        target: the right output: a class number, a mask, boxes.
        name: what to call it in a message: its path.
    """

    input: Tensor
    target: Any
    name: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in the place of a sample that cannot be read.

    Args:
        name: of the sample.
        reason: why, as an error's "given" says it.
    """

    name: str
    reason: str


@runtime_checkable
class Samples(Protocol):
    """Samples by (position, key); the key alone seeds what is random about one."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, item: tuple[int, int]) -> Sample | Unreadable:
        """One sample, the same in whatever process and order it is prepared."""
        ...


@runtime_checkable
class WholeBatches(Protocol):
    """Samples that lie in memory and are augmented a batch at a time, for speed."""

    def take(self, positions: np.ndarray, seed: int) -> "Batch":
        """The batch of the samples at ``positions``; each depends on itself and the seed alone."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Several samples together.

    Args:
        inputs: a tensor whose first axis is the batch, or a sequence with one entry a sample.
        targets: as ``inputs``, or a dict of such.
        names: of the samples.
        real: False for a stand-in, which fills the last batch of a process and is counted nowhere.
    """

    inputs: Any
    targets: Any
    names: tuple[str, ...]
    real: Bool[Tensor, "batch"]

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch with its tensors on a device."""
        return self._with(lambda tensor: tensor.to(device))

    def pin_memory(self) -> "Batch":
        """The batch in memory that a GPU copies from faster; data loaders call it."""
        return self._with(lambda tensor: tensor.pin_memory())

    def chunk(self, parts: int) -> list["Batch"]:
        """Cut into parts of equal length, which looks into the same memory."""
        share, rest = divmod(len(self), parts)
        assert rest == 0, f"{len(self)} samples in {parts} parts"
        return [self._part(slice(n * share, (n + 1) * share)) for n in range(parts)]

    def _part(self, part: slice) -> "Batch":
        return Batch(
            self.inputs[part], _part_of(self.targets, part), self.names[part], self.real[part]
        )

    def _with(self, act: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(_each(self.inputs, act), _each(self.targets, act), self.names, act(self.real))


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples of equal shape together: stacked tensors, and numbers as a tensor."""
    targets = [sample.target for sample in samples]
    tensors = all(isinstance(target, Tensor) for target in targets)
    return Batch(
        torch.stack([sample.input for sample in samples]),
        torch.stack(targets) if tensors else torch.tensor(targets),
        tuple(sample.name for sample in samples),
        torch.ones(len(samples), dtype=torch.bool),
    )


def _part_of(value: Any, part: slice) -> Any:
    if isinstance(value, dict):
        return {key: _part_of(each, part) for key, each in value.items()}
    return value[part]


def _each(value: Any, act: Callable[[Tensor], Tensor]) -> Any:
    """Every tensor in a nest of dicts and sequences, acted on."""
    if isinstance(value, Tensor):
        return act(value)
    if isinstance(value, dict):
        return {key: _each(each, act) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(each, act) for each in value)
    return value
