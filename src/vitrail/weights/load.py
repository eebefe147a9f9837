"""Load weights of any format into a model: all that fits, or nothing."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from vitrail.errors import UsageError
from vitrail.models import (
    CATALOG,
    Backbone,
    BackboneConfig,
    Entry,
    Preprocessing,
    TaskModel,
    hub,
)
from vitrail.models.task_model import facts_of, head_on, parts_of
from vitrail.models.tensors import copy_all, count_not_finite
from vitrail.models.words import check_fields
from vitrail.weights import rules
from vitrail.weights.beside import Beside
from vitrail.weights.detect import Detected, detect
from vitrail.weights.families import Family, Format, Hints, family_of, models
from vitrail.weights.fit import NO_CLASSIFIER, fit
from vitrail.weights.head_formats import OpenedHead, family_in, read_head
from vitrail.weights.infer import infer_config, name_of
from vitrail.weights.report import Entry as ReportEntry
from vitrail.weights.report import LoadReport
from vitrail.weights.rules import Reading, State
from vitrail.weights.shipped import is_shipped, shipped_model
from vitrail.weights.sources import Source, read_source

_log = logging.getLogger("vitrail.weights")
# What a model does with its weights, as no shape of theirs shows: a file of ours decides.
_BEHAVIOUR = (
    "window", "pretrained_window", "padding", "shift_rule", "mask_value", "bias_lookup",
    "patch_fit", "position_resize", "norm_eps", "embed_norm_eps", "global_pool", "halo", "count",
)  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Weights in our names, and everything that their source says about their model.

    Args:
        detected: their format.
        reading: the weights.
        config: their model's configuration, or None where it is not known.
        unclear: why it is not known.
        preprocessing: their input, if the file has it.
        name: their model's name, if the file says.
        notes: what a user may want to know.
        beside: what the files beside theirs say.
        head: what the file of a model of a task has besides the backbone.
    """

    detected: Detected
    reading: Reading
    config: BackboneConfig | None
    unclear: UsageError | None = None
    preprocessing: Preprocessing | None = None
    name: str | None = None
    notes: tuple[str, ...] = ()
    beside: Beside = field(default_factory=Beside)
    head: OpenedHead | None = None

    @property
    def behaviour(self) -> dict[str, Any]:
        """What their own library's models do and no shape shows, as fields of the configuration.

        Outputs are then those of that library at every size that it takes, and not only where
        nothing is padded.
        """
        if self.detected.format.name == "vitrail":
            own = self.config if self.preprocessing is not None else None
            names = (*_BEHAVIOUR, *self.family.behaviour)
            return {name: getattr(own, name) for name in names if hasattr(own, name)}
        bare = any(key.startswith("feature_norms.") for key in self.reading.state)
        return {**self.detected.format.behaviour(bare=bare), **self.beside.fields}

    @property
    def family(self) -> Family:
        """The family of their model."""
        own = self.detected.format.name == "vitrail" and self.config is not None
        return family_of(self.config) if own and self.config else self.detected.family


def open_weights(
    source: Source, *, like: BackboneConfig | None = None, window: Any = None
) -> Weights:
    """Read weights from a source and turn them into our names.

    Args:
        source: see ``read_source``.
        like: a configuration that they are meant for; settles what shapes leave open.
        window: their window, where the file does not show it.
    Raises:
        UsageError: unreadable, or in no known format.
    """
    content = read_source(source)
    family = family_of(like) if like is not None else None
    detected = detect(content.state, like=family or family_in(content.state))
    grids = family.grids(like) if family is not None and like is not None else None
    reading = rules.read(detected.state, detected.rules(grids))
    notes, beside = tuple(content.notes), content.beside
    if content.metadata and content.metadata.get("format") == "vitrail":
        found = hub.described(content.metadata, models(), reading.state)
        wanted = found.preprocessing
        if wanted.classes is None and len(beside.classes or ()) == found.config.num_classes:
            wanted = replace(wanted, classes=beside.classes)
        opened = Weights(detected, reading, found.config, None, wanted, found.name, notes)
        if "task" not in content.metadata:
            return opened
        head = parts_of(content.state)[1]
        return replace(opened, head=OpenedHead(*facts_of(content.metadata), head, wanted.classes))
    read = read_head(content.state, detected, reading.state, beside)
    config, unclear = None, None
    try:
        hints = Hints(
            window=beside.window if window is None else window,
            num_heads=beside.num_heads,
            like=like,
            ours=detected.format.name == "vitrail",
        )
        config = infer_config(reading, family=detected.family, hints=hints)
        config = replace(config, **beside.fields)
        if read is not None:
            config = as_bare(config)
    except UsageError as error:
        unclear = error  # the model that they are for may say the rest
    return Weights(detected, reading, config, unclear, notes=notes, beside=beside, head=read)


def as_bare(config: BackboneConfig) -> BackboneConfig:
    """Return the configuration of a backbone whose maps, of all stages, go to a head."""
    outs = config.out_indices or tuple(range(len(config.depths)))
    return replace(config, num_classes=0, out_indices=outs)


def load(model: Backbone, source: Source, *, strict: bool = True) -> LoadReport:
    """Load weights of any public format into a model.

    Everything is computed and compared before the first number is copied: after an error the
    model is what it was. Bias tables are resized to the model's window, the stem to its input
    channels; a head with another number of classes stays as it is, and the report says so. What
    the weights' own library does otherwise (``padding``, ``patch_fit``, ...) is reported and
    logged as a warning: a model that exists keeps its configuration, ``create_model(name,
    weights=...)`` takes it over.

    Args:
        model: the model; float16 weights become what its parameters are.
        source: a file, a folder as ``save_pretrained`` writes it, a state dict, ``"bundled"``, or
            a hub repository ``owner/name``.
        strict: weights that are missing, left over, of another shape or not finite are an error;
            otherwise they are only reported, and those that are not finite are loaded.
    Returns:
        What was loaded, and key by key what was not simply copied.
    Raises:
        UsageError: unreadable, of no known model, tensors that are no dense floating-point
            numbers, or (strict) weights that do not fit.
    """
    weights = open_weights(source, like=model.config)
    whose = f"the models of these {weights.detected.format.name} weights"
    note = other_behaviour(whose, weights.behaviour, model.config)
    if note is not None:
        note += "; create_model(name, weights=...) takes these fields over"
        weights = replace(weights, notes=(*weights.notes, note))
    report = load_opened(model, weights, strict=strict)
    if note is not None:
        _log.warning("%s", note)
    return report


def load_opened(model: Backbone, weights: Weights, *, strict: bool = True) -> LoadReport:
    """Load weights that ``open_weights`` has read; see ``load``."""
    report, state = _fitted(model, weights, strict=strict)
    copy_all(model, state)
    describe_input(model, weights, headed="head.weight" in state)
    return report


def _fitted(model: Backbone, weights: Weights, *, strict: bool) -> tuple[LoadReport, State]:
    """Return the report and the weights in the model's shapes; the model may have no memory."""
    config = model.config
    check_kind(weights, model)
    family, known = weights.family, weights.config
    own = known if weights.detected.format.name == "vitrail" else None
    reshape = family.reshape(weights.reading, own, config) if family.reshape else None
    fitted = fit(weights.reading.state, model, known, reshape)
    entries = [_own_norm(entry, weights) for entry in fitted.entries]
    if known is not None:
        entries += family.compare(known, config)
    entries += [
        ReportEntry(key, "unexpected", f"no key of the {weights.detected.format.name} format")
        for key in weights.reading.unknown
    ]
    notes = [*weights.notes]
    if weights.detected.beside:
        count, first = len(weights.detected.beside), weights.detected.beside[0]
        notes.append(f"{count} weights of other parts were left out ({first}, ...)")
    entries += [_not_finite(key, tensor) for key, tensor in fitted.state.items()
                if not tensor.is_meta and count_not_finite(tensor)]  # fmt: skip
    format_name = weights.detected.format.name
    report = LoadReport(format_name, tuple(fitted.state), tuple(entries), tuple(notes))
    if strict:
        report.raise_problems(model.name or type(model).__name__, alone=known is not None)
    return report, fitted.state


def _own_norm(entry: ReportEntry, weights: Weights) -> ReportEntry:
    """A backbone under a task's head has norms of its stages; a classifier's own starts anew."""
    if weights.head is None or entry.status != "missing" or not entry.key.startswith("norm."):
        return entry
    return ReportEntry(entry.key, "fresh", "the file is of another task, without a last norm")


def _not_finite(key: str, tensor: Any) -> ReportEntry:
    reason = f"{count_not_finite(tensor)} of {tensor.numel()} numbers are NaN or infinite"
    fix = "take weights from before the training diverged"
    return ReportEntry(key, "not finite", reason, fix)


def other_behaviour(whose: str, behaviour: Mapping[str, Any], config: BackboneConfig) -> str | None:
    """Say in which fields a configuration is not what a library's models do, if in any.

    Args:
        whose: the models, for the sentence.
        behaviour: what they do, as fields.
        config: the configuration.
    """
    # A window is brought into shape or refused elsewhere.
    own = {name: value for name, value in behaviour.items()
           if "window" not in name and value != getattr(config, name, value)}  # fmt: skip
    if not own:
        return None
    theirs = ", ".join(f"{name}={value!r}" for name, value in own.items())
    ours = ", ".join(f"{name}={getattr(config, name)!r}" for name in own)
    return f"{whose} have {theirs}, this one {ours}: outputs differ at sizes where that matters"


def _filled(
    model: type[Backbone],
    config: BackboneConfig,
    weights: Weights,
    preprocessing: Preprocessing | None,
    name: str | None,
) -> Backbone:
    """Build a model with weights; memory is taken only once they are known to fit."""
    empty = hub.empty(model, config, preprocessing=preprocessing, name=name)
    report, state = _fitted(empty, weights, strict=True)
    made = model(config, preprocessing=preprocessing, name=name)
    copy_all(made, state)
    describe_input(made, weights, headed="head.weight" in state)
    _log_report(report)
    return made.eval()


def load_model(source: Source, *, window: Any = None, **config_fields: Any) -> Backbone | TaskModel:
    """Build the model that a source of weights is of, with its weights and the head of its task.

    Args:
        source: a file, a folder, ``"bundled"``, a hub repository or a state dict, of any format.
        window: the window, where the file does not show it (Swin V2 of timm or transformers).
        config_fields: fields of the configuration to change.
    Returns:
        The model, in evaluation mode.
    Raises:
        UsageError: unreadable, of no known model, or the window or heads cannot be determined.
    """
    weights = open_weights(source, window=window)
    if weights.config is None:
        assert weights.unclear is not None
        raise weights.unclear
    name = weights.name or name_of(weights.config, under_head=weights.head is not None)
    entry = CATALOG.get(name) if name else None
    check_fields(name or "the model", weights.config, config_fields)
    config = replace(weights.config, **weights.behaviour | config_fields)
    preprocessing = weights.preprocessing or (entry.preprocessing if entry else None)
    if weights.head is None:
        return _filled(model_class_of(config), config, weights, preprocessing, name)
    head = weights.head
    inner = replace(weights, detected=replace(weights.detected, beside=head.left))
    backbone = _filled(model_class_of(config), config, inner, preprocessing, name)
    backbone.preprocessing = replace(backbone.preprocessing, classes=head.classes)
    return head_on(backbone, head.task, head.head, head.state).eval()


def load_backbone(source: Source, **fields: Any) -> Backbone:
    """As ``load_model``, for what works on a backbone alone.

    Raises:
        UsageError: also weights of a model with the head of a task.
    """
    model = load_model(source, **fields)
    if isinstance(model, Backbone):
        return model
    raise UsageError(
        f"weights of a model for task {model.task.name}",
        "weights of a backbone, with a classifier or without",
        "use a classifier's weights; in Python vitrail.load(path) takes these, and "
        "its .backbone is one",
    )


def create_with_weights(
    name: str,
    entry: Entry,
    config: BackboneConfig,
    source: Source,
    *,
    chosen: Collection[str] = (),
) -> Backbone:
    """Build a model of the catalog with weights.

    What the weights decide is taken from them unless the caller chose it: the number of classes,
    Swin V2's normaliser, and what the models of their library, or of their own file, do with them
    (``Weights.behaviour``).

    Args:
        name: the model's name.
        entry: its catalog entry.
        config: its configuration, with the caller's changes.
        source: see ``load``.
        chosen: the fields that the caller chose, also where that is the default.
    Returns:
        The model, in evaluation mode.
    """
    if is_shipped(source) and name != (own := shipped_model(str(source))):
        raise UsageError(
            f"weights {source!r} for {name}",
            f"{source!r} for {own}, whose weights they are",
            f"use {own!r}, or give a file or hub repository with weights of {name}",
        )
    weights = open_weights(source, like=config)
    head = weights.reading.state.get("head.weight")
    classes = None if head is None or head.ndim != 2 else head.shape[0]
    if "num_classes" not in chosen and classes is not None and config.out_indices is None:
        config = replace(config, num_classes=classes)
    known = weights.config
    if known is None or (type(known) is type(config) and known.axes == config.axes):
        own = {field.name for field in fields(config)} - set(chosen)
        config = replace(config, **{k: v for k, v in weights.behaviour.items() if k in own})
    config = family_of(config).keep(config, known, entry.config, set(chosen))
    return _filled(entry.model, config, weights, entry.preprocessing, name)


def behaviour_of(target: Format, config: BackboneConfig) -> dict[str, Any]:
    """Return what the models of a format do, where the configuration is one of theirs."""
    return target.behaviour(bare=config.out_indices is not None)


def model_class_of(config: BackboneConfig) -> type[Backbone]:
    """Return the class of the models with such a configuration."""
    return family_of(config).model


def check_kind(weights: Weights, model: Backbone) -> None:
    """Refuse weights of another family: nothing about them would fit.

    Raises:
        UsageError: weights of Swin V2 for a Swin, say, or of PVT.
    """
    theirs = weights.family.model
    if theirs is not type(model):
        names = [name for name, entry in CATALOG.items() if entry.model is theirs]
        raise UsageError(
            f"weights of a {theirs.__name__} for {model.name or type(model).__name__}",
            f"weights of a {type(model).__name__}",
            f"use a model of their family: {', '.join(names)}",
        )


def describe_input(model: Backbone, weights: Weights, *, headed: bool) -> None:
    """Take over the preprocessing of the weights."""
    config, wanted = model.config, weights.preprocessing
    if wanted is None:
        beside = weights.beside
        found: dict[str, Any] = {"trained": True, **beside.input}
        if len(found.get("size", ())) not in (0, config.axes):
            del found["size"]
        if len(found.get("mean", ())) != config.in_channels:
            found = {key: value for key, value in found.items() if key not in ("mean", "std")}
        if headed and len(beside.classes or ()) == config.num_classes:
            found["classes"] = beside.classes
        model._set_preprocessing(**found)
        return
    classes = wanted.classes if headed else None
    if len(wanted.mean) != config.in_channels or len(wanted.size) != config.axes:
        model._set_preprocessing(trained=wanted.trained, classes=classes)
        return
    model.preprocessing = replace(wanted, classes=classes)


def _log_report(report: LoadReport) -> None:
    """Log what was not simply copied; a classifier that is not there is worth a warning."""
    if not report.entries and not report.notes:
        return
    headless = any(entry.reason == NO_CLASSIFIER for entry in report.entries)
    _log.log(logging.WARNING if headless else logging.INFO, "%s", report)
