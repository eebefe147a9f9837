"""Convolutions and norms of any rank, as heads use them."""

from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from vitrail.errors import UsageError

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
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
