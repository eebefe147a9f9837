"""Compare a file's weights with a model's, and bring those that differ into shape."""

from dataclasses import dataclass, field

from torch import Tensor

from vitrail.models import Backbone, BackboneConfig, place_of
from vitrail.models.parts import Place
from vitrail.shapes import Size
from vitrail.weights.families import Reshape
from vitrail.weights.infer import differences, name_of
from vitrail.weights.report import KEEP, Entry
from vitrail.weights.resize import resize_axes, resize_stem
from vitrail.weights.rules import State

# Of one projection, of two, or of a cosine attention's.
_QKV_BIASES = ("attn.qkv.bias", "attn.q.bias", "attn.kv.bias", "q_bias", "v_bias")
NO_CLASSIFIER = "the file has no classifier"


@dataclass
class Fitted:
    """Weights in a model's shapes, and what was not simply taken over."""

    state: State = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)


def fit(
    state: State,
    model: Backbone,
    known: BackboneConfig | None,
    reshape: Reshape | None = None,
) -> Fitted:
    """Bring a file's weights into a model's shapes; the model is only looked at.

    Args:
        state: the file's weights, in our names.
        model: the model.
        known: the file's configuration, if it is known.
        reshape: brings the tensors that only this family has into shape.
    """
    result = Fitted()
    config = model.config
    fix = _advice(config, known)
    wanted = model.state_dict()
    for key, target in wanted.items():
        if key not in state:
            result.entries.append(_absent(key, state, fix))
            continue
        shape = tuple(target.shape)
        given = state[key].float() if state[key].dtype.itemsize < 4 else state[key]
        if not given.ndim and shape:  # a number alone is no weight of any other shape
            result.entries.append(_mismatch(key, (), shape, fix))
            continue
        done = reshape(key, given, shape) if reshape else None
        tensor, entry = done or _shaped(key, given, shape, config, fix)
        if tensor is not None and tuple(tensor.shape) != shape:
            entry, tensor = _mismatch(key, tuple(given.shape), shape, fix), None
        if entry is not None:
            result.entries.append(entry)
        if tensor is not None:
            result.state[key] = tensor.to(target.dtype)
    result.entries += [_left(key, model, fix) for key in state if key not in wanted]
    return result


def _shaped(
    key: str, tensor: Tensor, shape: Size, config: BackboneConfig, fix: str
) -> tuple[Tensor | None, Entry | None]:
    """Return a tensor of the wanted shape, or None, and what was done to it."""
    given = tuple(tensor.shape)
    if given == shape:
        return tensor, None
    if key == "embed.proj.weight" and given[0] == shape[0] and _same_patch(given, shape):
        adapted = resize_stem(tensor, config.in_channels, shape[2:])
        parts = []
        if given[1] != shape[1]:
            parts.append(f"{given[1]} input channels became {shape[1]}")
        if len(given) != len(shape):
            parts.append("an image's patch became a clip's")
        return adapted, Entry(key, "adapted", ", ".join(parts))
    if key.endswith("position.table") and given[-1] == shape[-1] and len(given) == len(shape):
        resized = resize_axes(tensor, shape[1:-1])
        return resized, Entry(key, "resized", f"grid {given[1:-1]} became {shape[1:-1]}")
    if key.startswith("head.") and given[1:] == shape[1:]:
        reason = f"{given[0]} classes in the file, {shape[0]} in the model"
        return None, Entry(key, "fresh", reason, "train the head before using its scores")
    return None, _mismatch(key, given, shape, fix)


def _mismatch(key: str, given: Size, shape: Size, fix: str) -> Entry:
    return Entry(key, "mismatch", f"{given} in the file, {shape} in the model", fix)


def _same_patch(given: Size, shape: Size) -> bool:
    """Return whether two stems cut the same patches; a video's may have a time axis more."""
    extra = len(shape) - len(given)
    return extra in (0, 1) and given[2:] == shape[2 + extra :]


def _absent(key: str, state: State, fix: str) -> Entry:
    """Explain why the file has no such weight."""
    if key.startswith("head."):
        return Entry(key, "fresh", NO_CLASSIFIER, "train the head before using it")
    if key.startswith("feature_norms."):
        return Entry(key, "fresh", "the file is of a classifier, without norms per stage")
    if key.startswith("norm.") and not any(
        k.startswith(("head.", "norm.", "feature_norms.")) for k in state
    ):
        return Entry(key, "fresh", "the file is of a body, which ends with its last stage")
    if key.startswith("norm.") and any(k.startswith("feature_norms.") for k in state):
        return Entry(
            key, "missing", "the file is of a detector's backbone, without a last norm",
            "create the model with out_indices=(0, 1, 2, 3), feature_norms=True",
        )  # fmt: skip
    _, stage, block = place_of(key)
    if stage is not None and not any(_within(place_of(k), stage, block) for k in state):
        return Entry(key, "missing", f"the file has fewer blocks in stage {stage}", fix)
    if key.endswith(_QKV_BIASES):
        return Entry(key, "missing", "the file's projections have no bias", "use qkv_bias=False")
    if key == "position.table":
        reason = "the file has no absolute position"
        return Entry(key, "missing", reason, "use absolute_position=None")
    return Entry(key, "missing", "the file has no such weight", fix)


def _left(key: str, model: Backbone, fix: str) -> Entry:
    """Explain why the model has no place for a weight."""
    built = len(model.stages)
    _, stage, block = place_of(key)
    if key.startswith("head.") and model.head is None:
        return Entry(key, "ignored", "the model has no head")
    if key.startswith("norm.") and model.norm is None:
        return Entry(key, "ignored", "a bare backbone has no last norm")
    if key.startswith("feature_norms."):
        return Entry(key, "ignored", "the model has no such norm per stage")
    if stage is not None and model.bare and built <= stage < len(model.config.depths):
        return Entry(key, "ignored", "a stage after the last of out_indices")
    if stage is not None and (stage >= built or (block or 0) >= model.config.depths[stage]):
        return Entry(key, "unexpected", f"the model has fewer blocks in stage {stage}", fix)
    if ".prefix." in key and getattr(model.config, "prefix", None) == 0:
        return Entry(key, "ignored", "the model has no prefix tokens")
    if key.endswith(_QKV_BIASES):
        return Entry(key, "unexpected", "the model's projections have no bias", "use qkv_bias=True")
    if key == "position.table":
        return Entry(
            key, "unexpected", "the model has no absolute position",
            "create it with absolute_position=(height, width) in tokens",
        )  # fmt: skip
    return Entry(key, "unexpected", "the model has no such weight", fix)


def _within(place: Place, stage: int, block: int | None) -> bool:
    """Return whether a place is in a stage and, unless ``block`` is None, in that block of it."""
    return place.stage == stage and block in (None, place.block)


def _advice(config: BackboneConfig, known: BackboneConfig | None) -> str:
    """Say how the file's model differs from this one, and which model would fit."""
    if known is None:
        return "create the model that the file is of"
    changes = differences(known, config)
    name = name_of(known)
    if name is not None and changes:
        return f"create {name!r}, which the file is of"
    return f"create the model with {', '.join(changes)}" if changes else KEEP
