"""The optimisers of a run: AdamW for everything, or Muon for the matrices inside the blocks."""

from typing import Any

from torch.optim import AdamW, Muon, Optimizer

from vitrail.errors import UsageError
from vitrail.training.groups import Layered, parameter_groups
from vitrail.training.recipe import Recipe


def build_optimizers(model: Layered, recipe: Recipe, *, fused: bool) -> list[Optimizer]:
    """Make the optimisers of a recipe; each parameter is in exactly one of them.

    Muon makes each step of a matrix orthogonal, so that no direction learns slower than the others.
    It suits the linear maps between tokens' features alone; embedding, norms, biases, tables and
    the head stay with AdamW. Its steps are scaled to the size that AdamW's have, so that one
    learning rate and one weight decay serve both.

    Args:
        model: a Vitrail model.
        recipe: ``optimizer``, ``peak_lr``, ``weight_decay`` and ``layer_decay`` are read.
        fused: whether AdamW may use its fused kernel, which takes no parameters cut by FSDP.
    Raises:
        UsageError: nothing trains.
    Source: Loshchilov and Hutter 2019 (AdamW); Jordan et al. 2024 (Muon), step size of Liu et al.
        2025, arXiv 2502.16982.
    """
    groups = parameter_groups(model, recipe.peak_lr, recipe.weight_decay, recipe.layer_decay)
    if not groups:
        raise UsageError(
            "a model of which nothing trains",
            "one or more trainable parameters",
            "leave the head trainable: --freeze backbone",
        )
    if recipe.optimizer == "adamw":
        return [AdamW(groups, lr=recipe.peak_lr, fused=fused)]
    inner = inner_matrices(model)
    matrices = [part for group in groups if (part := _only(group, inner, inside=True))]
    others = [part for group in groups if (part := _only(group, inner, inside=False))]
    found: list[Optimizer] = []
    if matrices:  # none where the backbone is frozen
        found.append(Muon(matrices, lr=recipe.peak_lr, adjust_lr_fn="match_rms_adamw"))
    if others:  # none where only matrices train
        found.append(AdamW(others, lr=recipe.peak_lr, fused=fused))
    return found


def inner_matrices(model: Layered) -> set[str]:
    """Names of the weight matrices between embedding and head."""
    spared = model.no_weight_decay()
    last = model.num_layers - 1
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and name not in spared and 0 < model.layer_index(name) < last
    }


def _only(group: dict[str, Any], names: set[str], *, inside: bool) -> dict[str, Any] | None:
    """The part of a group whose parameters are, or are not, among ``names``."""
    kept = [
        (name, parameter)
        for name, parameter in zip(group["names"], group["params"], strict=True)
        if (name in names) == inside
    ]
    if not kept:
        return None
    return group | {"names": [n for n, _ in kept], "params": [p for _, p in kept]}
