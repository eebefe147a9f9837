"""Convert weights from one format to another, by way of our names."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from vitrail.errors import UsageError
from vitrail.files import check_apart
from vitrail.models import (
    CATALOG,
    Backbone,
    BackboneConfig,
    Entry,
    TaskModel,
    canonical_name,
    hub,
)
from vitrail.models.task_model import joined
from vitrail.models.tensors import count_not_finite
from vitrail.shapes import Size
from vitrail.weights import formats, rules
from vitrail.weights.families import Hints, family_of
from vitrail.weights.fit import fit
from vitrail.weights.formats import Format
from vitrail.weights.head_formats import HeadFormat, OpenedHead, format_for, names_for
from vitrail.weights.infer import infer_config, name_of
from vitrail.weights.load import (
    Weights,
    as_bare,
    behaviour_of,
    check_kind,
    describe_input,
    model_class_of,
    open_weights,
    other_behaviour,
)
from vitrail.weights.report import LoadReport
from vitrail.weights.rules import AnyRule, Buffer, State
from vitrail.weights.save import ENDINGS, checked_target, save_state
from vitrail.weights.sources import Source, files_read


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Args:
        source: format of what was read.
        target: format of what was written.
        model: name of the model that they are of, if it has one.
        weights: how many entries were written.
        left: our names of the weights that the target has no place for.
        unknown: keys of the source that its format does not know.
        notes: what else is worth knowing.
    """

    source: str
    target: str
    model: str | None
    weights: int
    left: tuple[str, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def kind_of(config: BackboneConfig) -> str:
    """Return which kind of model a configuration is of."""
    return family_of(config).kind


def to_format(model: Backbone | TaskModel, to: str) -> State:
    """Return a model's weights in a peer's names, shapes and order.

    Args:
        model: the model, with the head of a task or without.
        to: the format, e.g. ``"timm"``: what that package's ``load_state_dict`` takes.
    Raises:
        UsageError: no such format for such a model, or it has no place for its head.
    """
    size, config = model.preprocessing.size, model.config
    if not isinstance(model, TaskModel):
        target = formats.get(to, kind_of(config))
        state, _ = rules.write(model.state_dict(), _rules(target, config), config, size)
        return _prefixed(state, target)
    if to == "vitrail":
        return model.state_dict()
    kind, name = kind_of(config), model.head_facts.name
    whole = format_for(to, kind, name)
    if whole is None:
        others = names_for(kind, name)
        raise UsageError(
            f"a model with the head {name}, as {to}",
            ", ".join([*others, "vitrail"]),
            f"use {(others or ['vitrail'])[0]!r}, or to_format(model.backbone, {to!r}) for the "
            "backbone alone",
        )
    target = formats.get(whole.backbone, kind)
    backbone, head = model.backbone.state_dict(), model.head.state_dict()
    return _whole(backbone, head, whole, target, config, size)[0]


def _whole(
    backbone: State, head: State, whole: HeadFormat, target: Format, config: BackboneConfig,
    size: Size | None,
) -> tuple[State, list[str]]:  # fmt: skip
    """Return a model's weights in a format, and those of ours that it has no place for."""
    moved, own = whole.owned(head, len(config.depths))
    inner, left = rules.write(backbone | moved, _rules(target, config), config, size)
    beside, rest = rules.write(own, whole.rules(len(config.depths)), config)
    written = {whole.placed(k, target.outside): t for k, t in inner.items()} | beside
    return written, [*left, *(f"head.{key}" for key in rest)]


def convert(
    source: Source, out: str | Path, to: str, *, model: str | None = None, window: Any = None
) -> Conversion:
    """Read weights of any format and write them in another.

    Args:
        source: a file, a state dict, ``"bundled"`` or a hub repository.
        out: the file to write: safetensors or a pickle, by its ending.
        to: the format to write.
        model: name of the model they are of, where the file leaves that open.
        window: their window, where the file does not hold it.
    Returns:
        What was done.
    Raises:
        UsageError: unreadable, no such format, weights that are not of the named model, or a file
            that cannot be written or is the source itself, which is known before anything is read.
    """
    out = checked_target(out, ENDINGS)
    check_apart(out, *files_read(source))
    model = None if model is None else canonical_name(model)
    entry = None if model is None else CATALOG[model]
    weights = open_weights(source, like=entry.config if entry else None, window=window)
    kind, opened = weights.family.kind, weights.head
    whole = format_for(to, kind, opened.head.name) if opened else None
    target = formats.get(whole.backbone if whole else to, kind)
    config = _config(weights, entry, needed=_needs_config(target, weights.detected.stages))
    name = model or weights.name or name_of(config, under_head=weights.head is not None)
    described = _described(config, weights, name)
    size = described.preprocessing.size if _size_is_known(weights, name) else None
    written, left = _written(weights, whole, target, config, size)
    notes = [*weights.notes]
    if size is None and any(isinstance(r, Buffer) and r.what == "mask" and r.make
                            for r in _rules(target, config)):  # fmt: skip
        notes.append("attn_mask was not written: the input size is not known; name the model")
    bad = [key for key, tensor in weights.reading.state.items() if count_not_finite(tensor)]
    if bad:
        notes.append(f"{len(bad)} weights hold NaN or infinite numbers ({bad[0]}, ...)")
    beside = weights.detected.beside if weights.head is None else weights.head.left
    if beside:
        notes.append(f"{len(beside)} weights of other parts were left out")
    metadata = {"format": "pt"}  # transformers refuses a safetensors file without it
    if target.name == "vitrail":
        metadata = hub.metadata(_with_head(described, weights.head))
    elif note := other_behaviour(f"{to} models", behaviour_of(target, config), config):
        notes.append(note)
    save_state(written, out, metadata=metadata, wrap=target.wrap)
    unknown = tuple(weights.reading.unknown)
    source_name = (weights.head and weights.head.format) or weights.detected.format.name
    return Conversion(source_name, to, name, len(written), tuple(left), unknown, tuple(notes))


def _written(
    weights: Weights, whole: HeadFormat | None, target: Format, config: BackboneConfig,
    size: Size | None,
) -> tuple[State, list[str]]:  # fmt: skip
    """Return the weights in the names of a format, and those of ours that it has no place for."""
    ours, opened = weights.reading.state, weights.head
    if opened is None:
        state, left = rules.write(ours, _rules(target, config), config, size)
        return _prefixed(state, target), left
    if target.name == "vitrail":
        return joined(ours, opened.state), []
    if whole is not None:
        return _whole(ours, opened.state, whole, target, config, size)
    state, left = rules.write(ours, _rules(target, config), config, size)
    return _prefixed(state, target), [*left, *(f"head.{key}" for key in opened.state)]


def _with_head(backbone: Backbone, opened: OpenedHead | None) -> Backbone | TaskModel:
    """Return an empty model for its description, with its head."""
    if opened is None:
        return backbone
    backbone.preprocessing = replace(backbone.preprocessing, classes=opened.classes)
    return hub.empty(TaskModel, backbone, task=opened.task, head=opened.head)


def _config(weights: Weights, entry: Entry | None, *, needed: bool) -> BackboneConfig:
    """Return the weights' configuration, after making sure that it is theirs."""
    if entry is not None:
        config = entry.config
        head = weights.reading.state.get("head.weight")
        known = weights.config
        stem = weights.reading.state["embed.proj.weight"]
        classes = 0 if head is None or not head.ndim else head.shape[0]
        changes: dict[str, Any] = {"num_classes": classes}
        if stem.ndim > 2:
            changes["in_channels"] = stem.shape[1]
        if known is not None:
            changes |= {"out_indices": known.out_indices, "feature_norms": known.feature_norms}
        own = {field.name for field in fields(config)}
        changes |= {k: v for k, v in weights.behaviour.items() if k in own}
        config = replace(config, **changes)
    elif weights.config is not None:
        config = replace(weights.config, **weights.behaviour)
    else:
        assert weights.unclear is not None
        if needed:
            raise weights.unclear
        # Nothing that is written depends on the window or the heads: any will do.
        hints = Hints(ours=weights.detected.format.name == "vitrail", guess=True)
        config = infer_config(weights.reading, family=weights.family, hints=hints)
        config = config if weights.head is None else as_bare(config)
    model = hub.empty(model_class_of(config), config, name=name_of(config))
    check_kind(weights, model)
    fitted = fit(weights.reading.state, model, weights.config)
    report = LoadReport(weights.detected.format.name, (), tuple(fitted.entries))
    report.raise_problems(f"a conversion as {model.name or type(model).__name__}")
    return config


def _needs_config(target: Format, stages: int) -> bool:
    """Return whether what is written depends on the window."""
    listed = target.rules(stages, None)
    made = any(isinstance(rule, Buffer) and rule.make is not None for rule in listed)
    return made or target.name == "vitrail"


def _rules(target: Format, config: BackboneConfig) -> list[AnyRule]:
    family = family_of(config)
    family.refuse(config, target.name)
    return target.rules(len(config.depths), family.grids(config))


def _prefixed(state: State, target: Format) -> State:
    """Put the target's prefix before all keys but those that stand beside it."""
    prefix = target.inner[0]
    return {k if k.startswith(target.outside) else prefix + k: v for k, v in state.items()}


def _described(config: BackboneConfig, weights: Weights, name: str | None) -> Backbone:
    """Return an empty model for its description."""
    known = CATALOG[name].preprocessing if name in CATALOG else None
    model = hub.empty(model_class_of(config), config, preprocessing=known, name=name)
    describe_input(model, weights, headed="head.weight" in weights.reading.state)
    return model


def _size_is_known(weights: Weights, name: str | None) -> bool:
    return weights.preprocessing is not None or name in CATALOG or "size" in weights.beside.input
