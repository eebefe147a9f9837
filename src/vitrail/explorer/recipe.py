"""Source text that makes the explored model and photo again in Python."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from vitrail.models import CATALOG, Backbone, TaskModel
from vitrail.weights import was_trained

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def model_source(
    model: Backbone | TaskModel, source: str | None, peer: nn.Module | None = None
) -> str:
    """Return lines of Python that make a variable ``model``.

    Args:
        model: the explored model.
        source: where its weights came from: ``"bundled"``, a file's name, a repository of the
            hub, words, or None for a model that was given as it is.
        peer: the model of another library that it was made from.
    """
    if peer is not None:
        return _peer_source(peer)
    if isinstance(model, TaskModel):
        return _task_source(source)
    if model.name not in CATALOG:
        kind = type(model).__name__
        return (
            f"from vitrail.models import {kind}\n"
            "# This model is none of the catalog's: make it with the config that yours has.\n"
            f"model = {kind}(config).eval()"
        )
    changed = _changed(model)
    if _is_loaded(source):
        changed.append(f"weights={source!r}")
    lines = ["import vitrail", f"model = vitrail.create_model({', '.join(changed)})"]
    if source is not None and source.startswith("none"):
        # As the command line has it: the same random numbers every time.
        lines[1:] = ["import torch", "torch.manual_seed(0)", f"{lines[1]}.eval()"]
    elif "weights=" not in lines[1]:
        lines.insert(1, "# The explored model was given as it is: load its weights into this one.")
        lines[2] += ".eval()"
    return "\n".join(lines)


def _is_loaded(source: str | None) -> bool:
    """Return whether words say where weights can be loaded from."""
    if source is None:
        return False
    known = source.startswith("bundled") or _HUB.fullmatch(source) is not None
    return known or source.endswith((".safetensors", ".pt", ".pth", ".bin"))


def _task_source(source: str | None) -> str:
    if _is_loaded(source):
        return f"import vitrail\nmodel = vitrail.load({source!r})"
    return (
        "import vitrail\n"
        "# The explored model was given as it is: load it from its file.\n"
        "model = vitrail.load('model.safetensors')"
    )


def photo_source(name: str) -> str:
    """Return a line of Python that makes a variable ``photo``."""
    if "." not in name:  # no file: a picture that was given as it is
        return f"photo = {name!r}  # the picture as you gave it to explore"
    return f"photo = {name!r}"


def _changed(model: Backbone) -> list[str]:
    """Return the arguments that make a model of the catalog the explored one."""
    assert model.name is not None
    ours: Any = model.config
    theirs = CATALOG[model.name].config
    names = [f.name for f in fields(ours) if getattr(ours, f.name) != getattr(theirs, f.name, None)]
    return [repr(model.name), *(f"{name}={getattr(ours, name)!r}" for name in names)]


def _peer_source(peer: nn.Module) -> str:
    package = type(peer).__module__.partition(".")[0]
    made = "# Make the original as you did: its class is\n"
    made += f"# {type(peer).__module__}.{type(peer).__qualname__}\noriginal = ..."
    config = getattr(peer, "pretrained_cfg", None) or {}
    if package == "timm" and config.get("architecture"):
        tag = f".{config['tag']}" if config.get("tag") else ""
        name = f"{config['architecture']}{tag}"
        words = [repr(name), *_timm_size(peer, config)]
        if was_trained(peer):
            words.append("pretrained=True")
            made = "import timm\n"
        else:
            made = "import timm\n# Random weights: give this model the numbers that yours has.\n"
        made += f"original = timm.create_model({', '.join(words)}).eval()"
    return f"import vitrail\n{made}\nmodel = vitrail.from_model(original)"


def _timm_size(peer: Any, config: Mapping[str, Any]) -> list[str]:
    """Return the argument that makes a timm model for the size that this one was made for."""
    size = tuple(getattr(peer.patch_embed, "img_size", None) or ())
    return [f"img_size={size}"] if size and size != tuple(config["input_size"][1:]) else []
