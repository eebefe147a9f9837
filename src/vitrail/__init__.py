"""Vitrail: hierarchical attention in vision transformers, right, fast and visible."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrail.api import (
        cost,
        create_model,
        explore,
        from_model,
        list_models,
        load,
        predict,
        transform,
    )
    from vitrail.errors import UsageError
    from vitrail.optimization import optimize
    from vitrail.training.groups import parameter_groups

__version__ = "0.1.0"

# Loaded on first use, so that ``import vitrail`` stays quick and needs no extra.
_HOMES = {
    "cost": "vitrail.api",
    "create_model": "vitrail.api",
    "explore": "vitrail.api",
    "from_model": "vitrail.api",
    "list_models": "vitrail.api",
    "load": "vitrail.api",
    "optimize": "vitrail.optimization",
    "parameter_groups": "vitrail.training.groups",
    "predict": "vitrail.api",
    "transform": "vitrail.api",
    "UsageError": "vitrail.errors",
}

__all__ = [
    "UsageError",
    "__version__",
    "cost",
    "create_model",
    "explore",
    "from_model",
    "list_models",
    "load",
    "optimize",
    "parameter_groups",
    "predict",
    "transform",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitrail' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
