"""Take over a live Swin of timm, torchvision or transformers, with the same outputs.

No peer is imported: a module is recognised by the name of its class. Its structure is read from
the shapes of its weights, its behaviour (windows, shifts, what padding does) from its attributes.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models import CATALOG, Backbone, Preprocessing, Swin, SwinConfig, SwinV2
from vitrail.weights import rules
from vitrail.weights.detect import Detected, detect
from vitrail.weights.infer import infer_config, name_of
from vitrail.weights.load import Weights, load_opened

# Every peer lets padding join the softmax, and adds -100 across regions.
_AS_PEERS: dict[str, Any] = {"padding": "visible", "mask_value": -100.0}


@dataclass
class _Peer:
    """What a reader found out about a module."""

    windows: list[Any]
    fields: dict[str, Any]
    state: dict[str, Tensor] | None = None
    preprocessing: dict[str, Any] = field(default_factory=dict)


def from_model(model: nn.Module) -> Backbone:
    """Return the Vitrail model with the outputs of a live timm, torchvision or transformers Swin.

    Args:
        model: the peer's module; it is not changed. Wrappers of torch (compiled, data parallel)
            are looked through.
    Returns:
        A new model on the same device, in the same type and mode. Its config says how it differs
        from a fresh one of ours: ``padding="visible"``, ``mask_value=-100``, and the peer's
        ``shift_rule``, ``patch_fit`` and ``bias_lookup``.
    Raises:
        UsageError: a module of another kind, or one with parts that no Swin here has.
    """
    model = _unwrapped(model)
    reader = _reader(model)
    peer = reader(model)
    detected = detect(model.state_dict() if peer.state is None else peer.state)
    reading = rules.read(detected.state, detected.format.rules(detected.stages, None))
    config = infer_config(reading, window=tuple(peer.windows))
    eps = _only({m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)}, "norm_eps")
    config = replace(config, norm_eps=eps, **_AS_PEERS | peer.fields)
    parameter = next(model.parameters())
    ours = _build(config, detected, peer).to(parameter.device, parameter.dtype)
    load_opened(ours, Weights(detected, reading, config))
    ours._set_preprocessing(**{"trained": True, **peer.preprocessing})
    return ours.train(model.training)


def _build(config: SwinConfig, detected: Detected, peer: _Peer) -> Backbone:
    name = name_of(config)
    preprocessing = CATALOG[name].preprocessing if name else None
    if preprocessing is None and "size" in peer.preprocessing:
        preprocessing = Preprocessing(size=peer.preprocessing["size"])
    model_class = SwinV2 if detected.format.kind == "swin_v2" else Swin
    return model_class(config, preprocessing=preprocessing, name=name)


# --- timm -----------------------------------------------------------------------------------------


def _read_timm(model: Any) -> _Peer:
    stages = list(model.layers)
    fields = _timm_fields(model, stages)
    fields["global_pool"] = _pool(str(model.global_pool))
    return _Peer([_window(s.blocks) for s in stages], fields, None, _timm_input(model))


def _read_timm_features(model: Any) -> _Peer:
    """Read timm's ``features_only`` wrapper, which flattens ``layers.0`` to ``layers_0``."""
    names = [name for name, _ in model.named_children() if name.startswith("layers_")]
    if not names or "patch_embed" not in dict(model.named_children()):
        raise _no_swin(model)
    stages = [model[name] for name in names]
    fields = _timm_fields(model, stages)
    fields |= {"out_indices": tuple(model.feature_info.out_indices), "num_classes": 0}
    state = {k.replace("layers_", "layers.", 1): v for k, v in model.state_dict().items()}
    return _Peer([_window(s.blocks) for s in stages], fields, state)


def _timm_fields(model: Any, stages: list[Any]) -> dict[str, Any]:
    blocks = [block for stage in stages for block in stage.blocks]
    _check_gelu(block.mlp.act for block in blocks)
    fixed = bool(model.patch_embed.strict_img_size)
    if any(block.always_partition for block in blocks):
        rule: Any = "always"
    elif fixed:
        rule = "axis"  # what timm decided for the one size that it accepts
    else:
        rule = tuple(_built_shift(stage.blocks) for stage in stages)
    _warn_of_rolled_padding(blocks)
    return _pretrained([stage.blocks[0].attn for stage in stages]) | {
        "shift_rule": rule,
        "drop": float(blocks[0].attn.proj_drop.p),
        "attn_drop": float(blocks[0].attn.attn_drop.p),
        "drop_path": float(getattr(blocks[-1].drop_path1, "drop_prob", 0.0)),
    }


def _timm_input(model: Any) -> dict[str, Any]:
    found = dict(getattr(model, "pretrained_cfg", None) or {})
    size = tuple(getattr(model.patch_embed, "img_size", None) or ())
    wanted: dict[str, Any] = {"size": size} if size else {}
    if found.get("interpolation") in ("bilinear", "bicubic"):
        wanted["interpolation"] = found["interpolation"]
    for theirs, ours in (("crop_pct", "crop"), ("mean", "mean"), ("std", "std")):
        if found.get(theirs):
            wanted[ours] = found[theirs]
    return wanted


def _warn_of_rolled_padding(blocks: Iterable[Any]) -> None:
    """Tell of the one thing that is not taken over: timm rolls maps before it pads them."""
    for block in blocks:
        axes = zip(block.input_resolution, block.window_size, strict=True)
        if any(block.shift_size) and any(n % m for n, m in axes):
            warnings.warn(
                f"timm rolls a map of {tuple(block.input_resolution)} tokens before padding it to "
                f"windows of {tuple(block.window_size)}, so that opposite edges see one another; "
                "Vitrail pads first, and its outputs differ there",
                stacklevel=4,
            )
            return


# --- torchvision ----------------------------------------------------------------------------------


def _read_torchvision(model: Any) -> _Peer:
    parts = [part for part in model.features if isinstance(part, nn.Sequential)]
    stages: list[Any] = [part for part in parts if hasattr(part[0], "attn")]
    blocks = [block for stage in stages for block in stage]
    _check_gelu(block.mlp[1] for block in blocks)
    video = len(blocks[0].attn.window_size) == 3
    behaviour: dict[str, Any] = {"shift_rule": "axis", "patch_fit": "floor"}
    if video:
        behaviour = {"shift_rule": "clamp", "patch_fit": "pad", "bias_lookup": "sliced"}
    fields = behaviour | {
        "drop": float(blocks[0].attn.dropout),
        "attn_drop": float(blocks[0].attn.attention_dropout),
        "drop_path": float(blocks[-1].stochastic_depth.p),
    }
    return _Peer([tuple(stage[0].attn.window_size) for stage in stages], fields)


# --- transformers ---------------------------------------------------------------------------------


def _read_transformers(model: Any) -> _Peer:
    settings = model.config
    if settings.hidden_act != "gelu":
        raise UsageError(
            f"a {type(model).__name__} with hidden_act={settings.hidden_act!r}",
            "hidden_act='gelu'",
            "use the model it was converted from",
        )
    parts = dict(model.named_children())
    core = parts.get("swin", parts.get("swinv2", model))
    stages = list(core.encoder.layers)
    cosine = hasattr(stages[0].blocks[0].attention, "self")
    fields: dict[str, Any] = {
        "drop": float(settings.hidden_dropout_prob),
        "attn_drop": float(settings.attention_probs_dropout_prob),
        "drop_path": float(settings.drop_path_rate),
    }
    bare = type(model).__name__.endswith("Backbone")
    if bare:
        fields |= _backbone_outputs(model)
    if cosine:
        windows = [_pair(stage.blocks[0].window_size) for stage in stages]
        fields["shift_rule"] = tuple(_built_shift(stage.blocks) for stage in stages)
        fields |= _pretrained([stage.blocks[0].attention.self for stage in stages])
    else:
        # Its layers overwrite their window_size when they meet a small map: the settings do not.
        windows = [_pair(settings.window_size)] * len(stages)
        fields["shift_rule"] = "always" if bare else "shortest"
    return _Peer(windows, fields, None, _transformers_input(settings))


def _backbone_outputs(model: Any) -> dict[str, Any]:
    names = list(model.out_features)
    if "stem" in names:
        raise UsageError(
            f"a backbone with out_features={names}",
            "stages only: stage1, stage2, ...",
            "take the stem's output with model.embed",
        )
    # Its Swin V2 backbone has no norms of its own.
    return {
        "out_indices": tuple(int(name.removeprefix("stage")) - 1 for name in names),
        "feature_norms": hasattr(model, "hidden_states_norms"),
        "num_classes": 0,
    }


def _transformers_input(settings: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {"size": _pair(settings.image_size)}
    labels = dict(getattr(settings, "id2label", None) or {})
    names = tuple(str(labels[i]) for i in sorted(labels))
    if names and not all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        wanted["classes"] = names
    return wanted


# --- shared ---------------------------------------------------------------------------------------

_READERS: dict[tuple[str, str], Callable[[Any], _Peer]] = {
    ("timm", "SwinTransformer"): _read_timm,
    ("timm", "SwinTransformerV2"): _read_timm,
    ("timm", "FeatureListNet"): _read_timm_features,
    ("torchvision", "SwinTransformer"): _read_torchvision,
    ("torchvision", "SwinTransformer3d"): _read_torchvision,
    **{
        ("transformers", name): _read_transformers
        for prefix in ("Swin", "Swinv2")
        for name in (f"{prefix}ForImageClassification", f"{prefix}Model", f"{prefix}Backbone")
    },
}


def _reader(model: nn.Module) -> Callable[[Any], _Peer]:
    for kind in type(model).__mro__:
        reader = _READERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if reader is not None:
            return reader
    raise _no_swin(model)


def _no_swin(model: nn.Module) -> UsageError:
    known = ", ".join(f"{package}.{name}" for package, name in _READERS)
    return UsageError(
        f"a module of {type(model).__module__}.{type(model).__qualname__}",
        f"a Swin of these classes: {known}",
        "for weights in a file, use create_model(name, weights=path)",
    )


def _unwrapped(model: nn.Module) -> nn.Module:
    """Look through torch.compile and data-parallel wrappers."""
    while type(model).__name__ in ("OptimizedModule", "DistributedDataParallel", "DataParallel"):
        name = "_orig_mod" if type(model).__name__ == "OptimizedModule" else "module"
        model = getattr(model, name)
    return model


def _window(blocks: Iterable[Any]) -> tuple[int, ...]:
    return _only({tuple(block.window_size) for block in blocks}, "window")


def _built_shift(blocks: Any) -> str:
    """Tell whether a stage's odd blocks shift; decided when the peer was built, for any input."""
    shift = next((_pair(block.shift_size) for i, block in enumerate(blocks) if i % 2), (0, 0))
    window = _pair(blocks[0].window_size)
    if not any(shift):
        return "never"
    return "always" if shift == tuple(m // 2 for m in window) else "axis"


def _pretrained(attentions: list[Any]) -> dict[str, Any]:
    """Return the window of pre-training of a Swin V2; of length 0 where it is the window."""
    if not hasattr(attentions[0], "pretrained_window_size"):
        return {}
    sizes = [(_pair(a.pretrained_window_size), _pair(a.window_size)) for a in attentions]
    if not any(size[0] > 0 for size, _ in sizes):
        return {}
    return {"pretrained_window": tuple(s if s[0] > 0 else w for s, w in sizes)}


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if not hasattr(value, "__len__") else (value[0], value[1])


def _pool(name: str) -> str:
    if name not in ("avg", ""):
        raise UsageError(
            f"a model with global_pool={name!r}", "'avg' or ''", "build it with global_pool='avg'"
        )
    return name


def _check_gelu(activations: Iterable[Any]) -> None:
    for activation in activations:
        if type(activation).__name__ != "GELU" or getattr(activation, "approximate", "") == "tanh":
            raise UsageError(
                f"a model with {type(activation).__name__} activations",
                "GELU, as in every published Swin",
                "use the model it was made from",
            )


def _only(values: set[Any], name: str) -> Any:
    if len(values) != 1:
        raise UsageError(
            f"a model with several values of {name}: {sorted(values)}",
            "one value in all of its parts",
            "build the model with one value",
        )
    return values.pop()
