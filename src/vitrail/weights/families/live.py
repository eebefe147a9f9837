"""What readers of live peers have in common."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.shapes import Size


def timm_input(model: Any) -> dict[str, Any]:
    """Return the preprocessing of a timm model."""
    found = dict(getattr(model, "pretrained_cfg", None) or {})
    size = tuple(getattr(getattr(model, "patch_embed", model), "img_size", None) or ())
    wanted: dict[str, Any] = {"size": size} if size else {}
    if found.get("interpolation") in ("bilinear", "bicubic"):
        wanted["interpolation"] = found["interpolation"]
    for theirs, ours in (("crop_pct", "crop"), ("mean", "mean"), ("std", "std")):
        if found.get(theirs):
            wanted[ours] = found[theirs]
    return wanted


def transformers_input(settings: Any) -> dict[str, Any]:
    """Return the preprocessing in the settings of a transformers model."""
    return {"size": pair(settings.image_size)} | labels_of(settings)


def labels_of(settings: Any) -> dict[str, Any]:
    """Return the names of a transformers model's classes, if it has any."""
    labels = dict(getattr(settings, "id2label", None) or {})
    names = tuple(str(labels[i]) for i in sorted(labels))
    placeholders = all(name == f"LABEL_{i}" for i, name in enumerate(names))
    return {} if placeholders else {"classes": names}


def channels_first_answers(out: Any) -> list[Tensor]:
    """Return logits as they are, and maps, whose channels come first, with them last."""
    outs = [out] if isinstance(out, Tensor) else [*out]
    return [one.movedim(1, -1) if one.ndim == 4 else one for one in outs]


def transformers_answers(out: Any) -> list[Tensor]:
    """Return logits, or maps with their channels last, or else the pooled or all tokens."""
    maps = getattr(out, "feature_maps", None)
    if maps is not None:
        return [one.movedim(1, -1) for one in maps]
    for name in ("logits", "pooler_output"):
        found = getattr(out, name, None)
        if found is not None:
            return [found]
    tokens = out.last_hidden_state
    return [tokens.movedim(1, -1) if tokens.ndim == 4 else tokens]


def reset_output(copied: Any) -> None:
    """Have a copy of a peer return its outputs by name, if it is of transformers."""
    if hasattr(getattr(copied, "config", None), "return_dict"):
        copied.config.return_dict = True


def stages_of(model: Any) -> tuple[int, ...]:
    """Return the stages whose maps a transformers backbone returns."""
    names = list(model.out_features)
    if "stem" in names:
        raise UsageError(
            f"a backbone with out_features={names}",
            "stages only: stage1, stage2, ...",
            "take the stem's output with model.embed",
        )
    return tuple(int(name.removeprefix("stage")) - 1 for name in names)


def timm_list(model: Any, part: str) -> tuple[list[Any], dict[str, Any], dict[str, Tensor]] | None:
    """Read timm's ``features_only`` wrapper, which flattens ``layers.0`` to ``layers_0``.

    Args:
        model: the wrapper.
        part: what the model's stages are called.
    Returns:
        The stages, fields of the configuration, and the state dict under the model's own names;
        None where it has no such stages.
    """
    names = [name for name, _ in model.named_children() if name.startswith(f"{part}_")]
    if not names or "patch_embed" not in dict(model.named_children()):
        return None
    outs = tuple(int(name.removeprefix(f"{part}_")) for name in model.return_layers)
    state = {k.replace(f"{part}_", f"{part}.", 1): v for k, v in model.state_dict().items()}
    fields = {"out_indices": tuple(sorted(outs)), "num_classes": 0}
    return [model[name] for name in names], fields, state


def odd_size(patch: Size, window: Size) -> Size:
    """Return a small input that patches and windows have to pad, and on which windows shift.

    Args:
        patch: input samples per token and axis.
        window: tokens that a window spans along each axis.
    """
    tokens = (m + m // 2 + 1 + axis for axis, m in enumerate(window))
    return tuple(p * n + (p > 1) for p, n in zip(patch, tokens, strict=True))


def pair(value: Any) -> tuple[int, int]:
    """Return a size as height and width."""
    if isinstance(value, dict):
        return (int(value["height"]), int(value["width"]))
    return (int(value), int(value)) if not hasattr(value, "__len__") else (value[0], value[1])


def pool(name: str) -> str:
    """Return how tokens are pooled; refuse what no model here does."""
    if name not in ("avg", ""):
        raise UsageError(
            f"a model with global_pool={name!r}", "'avg' or ''", "build it with global_pool='avg'"
        )
    return name


def check_parts(name: str, parts: Iterable[Any], package: str, *known: str) -> None:
    """Refuse parts that are, or come from, other classes of a package than models here have.

    What a user's own subclass computes is for the comparison to find out (``peer_check``).

    Args:
        name: what the constructor calls them.
        parts: the modules.
        package: the peer's package, or torch.
        known: names of the classes.
    """
    for part in parts:
        mro = type(part).__mro__
        own = [kind for kind in mro if kind.__module__.partition(".")[0] == package]
        if not own or own[0].__name__ not in known:
            raise UsageError(
                f"a model with {name} of class {type(part).__module__}.{type(part).__qualname__}",
                f"{name} of class {' or '.join(f'{package}.{kind}' for kind in known)}",
                f"build the model with the usual {name}",
            )


def check_norms(model: nn.Module, *names: str) -> None:
    """Refuse norms that are not layer norms with a weight and a bias.

    Args:
        model: the peer.
        names: how the last part of a norm's name begins.
    """
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if not last.startswith(names) or isinstance(module, nn.Identity):
            continue
        if not isinstance(module, nn.LayerNorm) or module.bias is None:
            raise UsageError(
                f"a model with norm_layer of class {type(module).__name__} ({name})",
                "a norm_layer with a weight and a bias: torch.nn.LayerNorm",
                "build the model with the usual norm_layer",
            )


def check_values(model: Any, values: Iterable[tuple[str, Any, Any]]) -> None:
    """Refuse values of a constructor that no model here has.

    Args:
        model: the peer.
        values: (name, value, the one value that models here have).
    """
    for name, value, allowed in values:
        if value != allowed:
            raise UsageError(
                f"a {type(model).__name__} with {name}={value!r}",
                f"{name}={allowed!r}",
                f"build it with {name}={allowed!r}, or use the peer itself",
            )


def training_only(model: Any, **rates: float) -> list[str]:
    """Name probabilities of dropping that no model here has; they matter in training alone."""
    given = ", ".join(f"{name}={rate}" for name, rate in rates.items() if rate)
    kind = type(model).__name__
    return [f"{kind}: {given} is not taken over; it matters in training alone"] if given else []


def check_gelu(activations: Iterable[Any]) -> None:
    """Refuse other activations, which are act_layer to timm."""
    for activation in activations:
        if type(activation).__name__ != "GELU" or getattr(activation, "approximate", "") == "tanh":
            raise UsageError(
                f"a model with {type(activation).__name__} activations (act_layer)",
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


def norm_eps(model: nn.Module, name: str = "norm_eps") -> float:
    """Return what every norm adds to the variance.

    Args:
        model: the peer.
        name: what the peer calls it.
    """
    return only({m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)}, name)


def overlapping(settings: Any) -> dict[str, Any]:
    """Return patches and strides of transformers' PVT v2: of the first stage, and of the others."""
    stages = settings.num_encoder_blocks
    kernels = [pair(size) for size in settings.patch_sizes[:stages]]
    strides = [pair(size) for size in settings.strides[:stages]]
    for name, sizes in (("patch_sizes", kernels), ("strides", strides)):
        if len({*sizes[1:]}) > 1:
            raise UsageError(
                f"a PVT v2 with {name}={getattr(settings, name)}",
                f"{name} that are equal from the second stage on",
                "use the peer itself",
            )
    found: dict[str, Any] = {"patch": strides[0], "patch_kernel": kernels[0]}
    if stages > 1:
        found |= {"merge": strides[1], "merge_kernel": kernels[1]}
    # Zeros at the end are what an odd kernel has there anyway; with an even one they add a token.
    even = any(length % 2 == 0 for kernel in kernels for length in kernel)
    return found | ({"patch_fit": "floor"} if even else {})
