"""An exponential moving average of a model's parameters, which is evaluated and written."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Averages of all parameters, on the parameters' own device and, under FSDP, cut the same way.

    Early on the decay is (1 + step) / (10 + step), so that the random start is forgotten quickly.
    Buffers are not averaged: the statistics of a BatchNorm are running averages already, and the
    averaged model has the model's own.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = model
        self.values: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after optimiser step ``step``, counted from 0."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self.model.named_parameters():
            self.values[name].lerp_(parameter.detach(), weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model carries the averages inside the ``with`` block, and exactly its own values
        after it.
        """
        own = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(values[name])
