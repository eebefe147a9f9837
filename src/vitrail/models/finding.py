"""Find the backbone in a model that holds one."""

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


def backbone_of(model: nn.Module) -> Backbone | None:
    """Return the Vitrail backbone that a model is or holds, or None.

    Args:
        model: a backbone; a wrapper of torch around one; or any module with one inside, such as
            ``nn.Sequential(backbone, head)``.
    Raises:
        UsageError: there are several.
    """
    found = [module for module in model.modules() if isinstance(module, Backbone)]
    if len(found) > 1:
        raise UsageError(
            f"a {type(model).__name__} with {len(found)} Vitrail backbones",
            "a model with one",
            "give one of them: " + ", ".join(
                name for name, module in model.named_modules() if module in found
            ),
        )  # fmt: skip
    return found[0] if found else None
