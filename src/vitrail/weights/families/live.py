"""What readers of live peers have in common."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from vitrail.errors import UsageError


def timm_input(model: Any) -> dict[str, Any]:
    """Return the preprocessing that a timm model asks for."""
    found = dict(getattr(model, "pretrained_cfg", None) or {})
    size = tuple(getattr(model.patch_embed, "img_size", None) or ())
    wanted: dict[str, Any] = {"size": size} if size else {}
    if found.get("interpolation") in ("bilinear", "bicubic"):
        wanted["interpolation"] = found["interpolation"]
    for theirs, ours in (("crop_pct", "crop"), ("mean", "mean"), ("std", "std")):
        if found.get(theirs):
            wanted[ours] = found[theirs]
    return wanted


def transformers_input(settings: Any) -> dict[str, Any]:
    """Return the preprocessing that the settings of a transformers model ask for."""
    wanted: dict[str, Any] = {"size": pair(settings.image_size)}
    labels = dict(getattr(settings, "id2label", None) or {})
    names = tuple(str(labels[i]) for i in sorted(labels))
    if names and not all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        wanted["classes"] = names
    return wanted


def pair(value: Any) -> tuple[int, int]:
    """Return a size as height and width."""
    return (int(value), int(value)) if not hasattr(value, "__len__") else (value[0], value[1])


def pool(name: str) -> str:
    """Return how tokens are pooled; refuse what no model here does."""
    if name not in ("avg", ""):
        raise UsageError(
            f"a model with global_pool={name!r}", "'avg' or ''", "build it with global_pool='avg'"
        )
    return name


def check_gelu(activations: Iterable[Any]) -> None:
    """Refuse other activations."""
    for activation in activations:
        if type(activation).__name__ != "GELU" or getattr(activation, "approximate", "") == "tanh":
            raise UsageError(
                f"a model with {type(activation).__name__} activations",
                "GELU, as in every published model",
                "use the model it was made from",
            )


def check_act(model: Any, settings: Any) -> None:
    """Refuse a model of transformers with other activations."""
    if settings.hidden_act != "gelu":
        raise UsageError(
            f"a {type(model).__name__} with hidden_act={settings.hidden_act!r}",
            "hidden_act='gelu'",
            "use the model it was converted from",
        )


def only(values: set[Any], name: str) -> Any:
    """Return the one value; refuse several."""
    if len(values) != 1:
        raise UsageError(
            f"a model with several values of {name}: {sorted(values)}",
            "one value in all of its parts",
            "build the model with one value",
        )
    return values.pop()


def norm_eps(model: nn.Module) -> float:
    """Return what every norm adds to the variance."""
    return only({m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)}, "norm_eps")
