"""Convolutions and norms of any rank, as heads use them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from vitrail.errors import UsageError


class Conv3d(nn.Conv3d):
    """A convolution of volumes whose gradients are right over two planes too.

    On CPUs torch 2.15 takes the gradient of a padded 3 x 3 x 3 kernel over two planes, in bfloat16,
    from memory that nothing has written: such a map is convolved in float32.
    """

    def forward(self, input: Float[Tensor, "*batch channels d h w"]) -> Tensor:
        """Return the convolved map."""
        on_cpu = input.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if not (on_cpu and torch.is_grad_enabled()) or input.shape[-3] != 2:
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(torch.get_autocast_dtype("cpu"))


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def reset_convolutions(head: nn.Module) -> None:
    """Initialise convolutions so that what follows a rectifier keeps its variance, and norms."""
    for module in head.modules():
        if isinstance(module, _ConvNd):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif module is not head and hasattr(module, "reset_parameters"):
            module.reset_parameters()  # type: ignore[operator]  # a norm's


def check_dims(config: Any, *names: str) -> None:
    """Refuse channels below one, and a probability that is none.

    Raises:
        UsageError: such a field.
    """
    for name in names:
        if getattr(config, name) < 1:
            raise UsageError(f"{name}={getattr(config, name)}", "1 or more", f"use {name}=64")
    if not 0 <= config.drop < 1:
        raise UsageError(f"drop={config.drop}", "from 0 to below 1", "use drop=0.1")
