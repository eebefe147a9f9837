"""Parameter groups: no weight decay where it does harm, smaller rates for earlier layers."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class Layered(Protocol):
    """What of a model the groups need; every Vitrail backbone has it."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters, as every ``nn.Module`` gives them."""
        ...

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that must not decay."""
        ...

    @property
    def num_layers(self) -> int:
        """Number of layers that ``layer_index`` distinguishes."""
        ...

    def layer_index(self, name: str) -> int:
        """The layer a parameter belongs to, 0 for the embedding."""
        ...


def parameter_groups(
    model: Layered, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Group a model's trainable parameters for an optimiser.

    Args:
        model: a Vitrail model.
        lr: learning rate of the last layer.
        weight_decay: decay of the parameters that decay. Vectors (norms and biases) and those the
            model names in ``no_weight_decay()`` do not.
        layer_decay: factor on the rate for each layer further from the head; 1 for the same rate
            everywhere.
    Returns:
        Groups for ``torch.optim``, each with ``lr_scale``, the factor to apply when a schedule
        changes the rate, and ``names``, the parameters' names.
    Source: official Swin code (``build_optimizer``); Clark et al. 2020 for layer-wise decay.
    """
    spared = model.no_weight_decay()
    last = model.num_layers - 1
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = 0.0 if parameter.ndim <= 1 or name in spared else weight_decay
        scale = layer_decay ** (last - model.layer_index(name))
        group = groups.setdefault(
            (scale, decay),
            {"params": [], "names": [], "lr": lr * scale, "lr_scale": scale, "weight_decay": decay},
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())
