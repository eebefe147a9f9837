"""Read a configuration from the shapes of a state dict, in our names."""

from dataclasses import fields, replace
from typing import Any, TypeVar

from vitrail.errors import UsageError
from vitrail.models import CATALOG, BackboneConfig
from vitrail.weights.families import FAMILIES, Family, Hints, family_of
from vitrail.weights.families.shapes import check_whole
from vitrail.weights.rules import Reading, State

Config = TypeVar("Config", bound=BackboneConfig)


def infer_config(
    reading: Reading,
    *,
    window: Any = None,
    family: Family | None = None,
    hints: Hints | None = None,
) -> Any:
    """Return the configuration that follows from the shapes of a state dict.

    Args:
        reading: what the rules made of the file: our keys, and the buffers that were left out.
        window: the window, where no shape shows it: in files of Swin V2 without buffers (timm,
            transformers), and for windows with unequal sides.
        family: whose weights they are, if it is known.
        hints: what else is known.
    Returns:
        A configuration whose model has exactly these parameters. What no shape shows (drop path,
        padding, ...) is left at its default.
    Raises:
        UsageError: parts are missing, or something does not follow from what is there.
    """
    family = family or family_of_state(reading.state)
    check_whole(reading.state)
    try:
        return family.infer(reading, hints or Hints(window=window))
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        # Shapes of no axes, of length 0, of an axis too few: the file may hold anything.
        raise UsageError(
            f"weights whose shapes are of no {family.title} ({str(error)[:200]})",
            "the weights of one model, whole",
            "check where the file comes from; it may be damaged",
        ) from error


def family_of_state(state: State) -> Family:
    """Return the family of weights in our names; Swin where they are of none."""
    known = (family for family in FAMILIES if family.recognise(state) == "vitrail")
    return next(known, FAMILIES[0])


def name_of(config: BackboneConfig, *, under_head: bool = False) -> str | None:
    """Return the catalog's name for a model with this structure, or None.

    Only what decides the parameters and the windows counts, and not the number of classes.

    Args:
        config: of a model.
        under_head: whether it is the backbone of a head, which takes the maps of all stages.
    """
    if under_head:
        config = replace(config, out_indices=None)
    family = family_of(config)
    for name, entry in CATALOG.items():
        known = entry.config
        if type(known) is not type(config) or known.axes != config.axes:
            continue
        if all(getattr(known, key) == getattr(config, key) for key in family.identity):
            return name
    return None


def differences(known: BackboneConfig, config: BackboneConfig) -> list[str]:
    """Return what to change in ``config`` to hold the weights of ``known``, as ``field=value``."""
    family = family_of(known)
    ours = {field.name for field in fields(config)}
    return [
        f"{name}={getattr(known, name)!r}"
        for name in family.advised
        if name not in ours or getattr(known, name) != getattr(config, name)
    ]
