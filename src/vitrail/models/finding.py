"""Find the backbones in a model that holds some."""

from torch import nn

from vitrail.errors import UsageError
from vitrail.models.backbone import Backbone

# By their names: torch's wrappers come from modules that take a while to import.
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "AveragedModel": "module",
}


def unwrapped(model: nn.Module) -> nn.Module:
    """Return what torch's wrappers (compiled, data parallel, averaged) hold, or the model itself.

    What is returned computes what the wrapper computes.
    """
    while type(model).__name__ in _WRAPPERS:
        model = getattr(model, _WRAPPERS[type(model).__name__])
    return model


def backbones_in(model: nn.Module) -> list[Backbone]:
    """Return every Vitrail backbone that a model is or holds."""
    return [module for module in model.modules() if isinstance(module, Backbone)]


def no_backbone(model: object) -> UsageError:
    """Return the error for a model that has no blocks of Vitrail's."""
    return UsageError(
        f"a model of class {type(model).__name__}",
        "a Vitrail model with attention blocks",
        "create it with vitrail.create_model, or convert it with vitrail.from_model",
    )


def backbone_of(model: nn.Module) -> Backbone | None:
    """Return the Vitrail backbone that a model is or holds, or None.

    Args:
        model: a backbone; a wrapper of torch around one; or any module with one inside, such as
            ``nn.Sequential(backbone, head)``.
    Raises:
        UsageError: there are several.
    """
    found = backbones_in(model)
    if len(found) > 1:
        raise UsageError(
            f"a {type(model).__name__} with {len(found)} Vitrail backbones",
            "a model with one",
            "give one of them: " + ", ".join(
                name for name, module in model.named_modules() if module in found
            ),
        )  # fmt: skip
    return found[0] if found else None
