"""Refuse an input that a backbone cannot take, and say why."""

from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models.config import BackboneConfig


def check_input(config: BackboneConfig, x: Tensor) -> None:
    """Check an input's axes, channels, type and least size.

    Raises:
        UsageError: the model cannot take it.
    """
    if x.ndim != config.axes + 2 or x.shape[1] != config.in_channels:
        axes = ("length", "height, width", "depth, height, width")[config.axes - 1]
        raise UsageError(
            f"an input of shape {tuple(x.shape)}",
            f"(batch, {config.in_channels}, {axes})",
            "add a batch axis with x[None], or create the model with in_channels=...",
        )
    if not x.is_floating_point():
        raise UsageError(
            f"an input of {x.dtype}",
            "floating-point numbers, normalised",
            "use vitrail.transform(model), or x.float() / 255",
        )
    least = config.patch if config.patch_fit == "floor" else (1,) * config.axes
    if any(n < m for n, m in zip(x.shape[2:], least, strict=True)):
        raise UsageError(
            f"an input of {tuple(x.shape[2:])} samples",
            f"at least {least} samples",
            "enlarge the input, or use patch_fit='pad'",
        )
