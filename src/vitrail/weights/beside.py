"""What files say beside their weights: labels, the input, and what no shape shows.

transformers and timm write a ``config.json``, transformers a ``preprocessor_config.json`` as well.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrail.errors import UsageError, shown

FILES = ("config.json", "preprocessor_config.json")
_LARGEST = 1 << 24  # bytes: the labels of a million classes
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_MODEL_TYPES = ("swin", "swinv2", "pvt", "pvt_v2", "segformer")


@dataclass(frozen=True)
class Beside:
    """What is known of a model besides its weights.

    Args:
        classes: name of each class.
        colours: of each class as #rrggbb.
        input: fields of its ``Preprocessing``.
        window: its window, stage by stage, in tokens.
        num_heads: its heads, stage by stage.
        fields: fields of its configuration.
    """

    classes: tuple[str, ...] | None = None
    colours: tuple[str, ...] | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    window: tuple[tuple[int, int], ...] | None = None
    num_heads: tuple[int, ...] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def read_beside(paths: Mapping[str, Path]) -> Beside:
    """Read the files beside weights.

    Args:
        paths: those of ``FILES`` that are there, by name.
    Raises:
        UsageError: a file that is no JSON object, or one with values that cannot be.
    """
    stored = {name: _object(path) for name, path in paths.items()}
    config = stored.get("config.json", {})
    wanted = stored.get("preprocessor_config.json", {})
    try:
        about = _timm(config) if "architecture" in config else _transformers(config)
        return Beside(**about | {"input": about.get("input", {}) | _processor(wanted)})
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if isinstance(error, UsageError):
            raise
        names = " or ".join(map(str, paths.values()))
        raise UsageError(
            f"{names}, with a value that cannot be used ({str(error)[:200]})",
            "the file as its library wrote it",
            "fetch or copy it again, or move it away: the weights are read without it too",
        ) from error


def read_meta(meta: Any) -> Beside:
    """Read the ``meta`` in a checkpoint of OpenMMLab: names and colours of the classes, if any."""
    found = meta if isinstance(meta, Mapping) else {}
    own = found.get("dataset_meta")
    found = own if isinstance(own, Mapping) else found
    names, palette = (found.get(key, found.get(key.upper())) for key in ("classes", "palette"))
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return Beside()
    colours = [_colour(colour) for colour in palette] if isinstance(palette, list | tuple) else []
    whole = len(colours) == len(names) and None not in colours
    return Beside(tuple(names), tuple(map(str, colours)) if whole else None)


def _colour(values: Any) -> str | None:
    if not isinstance(values, list | tuple) or len(values) != 3:
        return None
    if not all(type(value) is int and 0 <= value < 256 for value in values):
        return None
    return "#{:02x}{:02x}{:02x}".format(*values)


def _object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__} instead of an object")
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}, which cannot be read ({str(error)[:200]})",
            "a JSON object",
            "fetch or copy it again, or move it away: the weights are read without it too",
        ) from error
    return found


def _transformers(config: dict[str, Any]) -> dict[str, Any]:
    """Read the settings of a transformers model."""
    about: dict[str, Any] = {"classes": _labels(config.get("id2label"))}
    kind = config.get("model_type")
    if kind == "upernet" and isinstance(inner := config.get("backbone_config"), dict):
        return _transformers(inner) | about
    if kind not in _MODEL_TYPES:
        return about
    _check_transformers(config)
    fields: dict[str, Any] = {}
    eps = config.get("layer_norm_eps")
    if eps is not None and kind != "segformer":  # which has it, and no use for it
        fields["norm_eps"] = float(eps)
        if kind in ("pvt", "pvt_v2"):
            fields["embed_norm_eps"] = float(eps)
    if "image_size" in config:
        about["input"] = {"size": _pair(config["image_size"])}
    if kind in ("pvt", "pvt_v2", "segformer") and "num_attention_heads" in config:
        about["num_heads"] = _whole_numbers(config["num_attention_heads"])
    if kind == "swinv2" and {"window_size", "image_size", "depths"} <= config.keys():
        before = config.get("pretrained_window_sizes") or []
        about["window"], own = _windows(
            _pair(config["window_size"]), _pair(config["image_size"]),
            _whole_numbers(config["depths"]), _pair(config.get("patch_size", 4)),
            [_pair(size) for size in before],
        )  # fmt: skip
        fields |= own
    return about | {"fields": fields}


def _check_transformers(config: dict[str, Any]) -> None:
    """Refuse what no model here does, and no weight shows."""
    act = config.get("hidden_act", "gelu")
    if act != "gelu":
        raise UsageError(
            f"a config.json with hidden_act={shown(act)}",
            "hidden_act='gelu'",
            "use weights of a model with GELU, as every published one has",
        )
    kernels, strides = config.get("patch_sizes"), config.get("strides")
    if kernels is None or strides is None:
        return
    second = config["model_type"] != "pvt"
    expected = [(k + 1) // 2 if second else k for k in _whole_numbers(kernels)]
    if list(_whole_numbers(strides)) != expected:
        raise UsageError(
            f"a config.json with strides={shown(strides)} for patch_sizes={shown(kernels)}",
            f"strides={expected}",
            "use weights of a model with these strides, as every published one has",
        )


def _timm(config: dict[str, Any]) -> dict[str, Any]:
    """Read the settings of a timm model."""
    own = dict(config.get("pretrained_cfg") or {})
    args = dict(config.get("model_args") or {})
    names = config.get("label_names", own.get("label_names"))
    about: dict[str, Any] = {"classes": None if names is None else _texts(names)}
    size = args.get("img_size") or (own.get("input_size") or [])[-2:]
    wanted: dict[str, Any] = {"size": _pair(size)} if size else {}
    if own.get("interpolation") in _RESAMPLING.values():
        wanted["interpolation"] = own["interpolation"]
    for theirs, ours in (("crop_pct", "crop"), ("mean", "mean"), ("std", "std")):
        if own.get(theirs):
            value = own[theirs]
            wanted[ours] = tuple(map(float, value)) if ours != "crop" else float(value)
    about["input"] = wanted
    name = re.match(r"swinv2_\w*?window(?:(\d{1,4})to)?(\d{1,4})_", str(config["architecture"]))
    if name and size:
        before, window = name.groups()
        depths = _whole_numbers(args.get("depths") or (2, 2, 6, 2))
        trained = [min(int(before), 48 // 2**i) for i in range(len(depths))] if before else []
        about["window"], fields = _windows(
            _pair(args.get("window_size") or int(window)), _pair(size), depths, (4, 4),
            [(m, m) for m in trained],
        )  # fmt: skip
        del fields["shift_rule"]  # timm takes the one size it was built for, where all agree
        about["fields"] = fields
    return about


def _processor(wanted: dict[str, Any]) -> dict[str, Any]:
    """Read what transformers does to an image before its model sees it."""
    found: dict[str, Any] = {}
    size = wanted.get("size")
    if isinstance(size, dict):
        size = [size["height"], size["width"]] if "height" in size else size.get("shortest_edge")
    if size is not None:
        found |= {"size": _pair(size), "crop": 1.0}
    for theirs, ours in (("image_mean", "mean"), ("image_std", "std")):
        if wanted.get("do_normalize", True) and wanted.get(theirs):
            found[ours] = tuple(map(float, wanted[theirs]))
    if wanted.get("resample") in _RESAMPLING:
        found["interpolation"] = _RESAMPLING[wanted["resample"]]
    return found


def _windows(
    window: tuple[int, int],
    size: tuple[int, int],
    depths: Sequence[int],
    patch: tuple[int, int],
    before: Sequence[tuple[int, int]],
) -> tuple[tuple[tuple[int, int], ...], dict[str, Any]]:
    """Return the windows of a Swin V2 built for one size, and the fields that follow.

    A window is no larger than its stage's map, and what one window covers is not shifted; both
    were decided when the model was built, and hold at every size.
    """
    windows, rules, trained = [], [], []
    for stage in range(len(depths)):
        lengths = [max(1, n // p // 2**stage) for n, p in zip(size, patch, strict=True)]
        height, width = (min(n, m) for n, m in zip(lengths, window, strict=True))
        windows.append((height, width))
        covered = [n <= m for n, m in zip(lengths, window, strict=True)]
        rules.append("never" if all(covered) else "axis" if any(covered) else "always")
        known = before[stage] if stage < len(before) else (0, 0)
        trained.append(known if min(known) > 0 else (height, width))
    fields: dict[str, Any] = {"shift_rule": tuple(rules)}
    if trained != windows:
        fields["pretrained_window"] = tuple(trained)
    return tuple(windows), fields


def _labels(names: Any) -> tuple[str, ...] | None:
    """Return the labels of a mapping from numbers; None for transformers' placeholders."""
    if not names:
        return None
    found = {int(index): name for index, name in dict(names).items()}
    if sorted(found) != list(range(len(found))):
        raise ValueError("id2label without some of its numbers")
    labels = _texts([found[index] for index in range(len(found))])
    placeholders = all(label == f"LABEL_{index}" for index, label in enumerate(labels))
    return None if placeholders else labels


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"labels {shown(values)}")
    return tuple(values)


def _whole_numbers(values: Any) -> tuple[int, ...]:
    if not all(type(value) is int and 0 < value < 1 << 20 for value in values):
        raise ValueError(f"numbers {shown(values)}")
    if len(values) > 16:
        raise ValueError(f"{len(values)} stages")
    return tuple(values)


def _pair(value: Any) -> tuple[int, int]:
    """Return a size as height and width; 0 stands for none."""
    height, width = (value, value) if isinstance(value, int) else value
    if not all(type(n) is int and 0 <= n < 1 << 20 for n in (height, width)):
        raise ValueError(f"a size of {shown(value)}")
    return height, width
