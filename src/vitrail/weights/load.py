"""Load weights of any format into a model: all that fits, or nothing."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from vitrail.errors import UsageError
from vitrail.models import CATALOG, Backbone, BackboneConfig, Entry, Preprocessing, hub
from vitrail.weights import rules
from vitrail.weights.detect import Detected, detect
from vitrail.weights.families import Family, Hints, family_of, models
from vitrail.weights.fit import NO_CLASSIFIER, fit
from vitrail.weights.infer import infer_config, name_of
from vitrail.weights.report import Entry as ReportEntry
from vitrail.weights.report import LoadReport
from vitrail.weights.rules import Reading
from vitrail.weights.sources import Source, read_source

_log = logging.getLogger("vitrail.weights")
# What a model does with its weights, rather than which weights it has: a file of ours decides.
_BEHAVIOUR = ("window", "pretrained_window", "padding", "shift_rule", "mask_value", "bias_lookup",
              "patch_fit", "position_resize", "norm_eps", "embed_norm_eps",
              "global_pool")  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Weights in our names, and everything their source tells about their model.

    Args:
        detected: their format.
        reading: the weights.
        config: their model's configuration, or None where it cannot be told.
        unclear: why it cannot be told.
        preprocessing: the input they want, if the file says.
        name: their model's name, if the file says.
        notes: what a user may want to know.
    """

    detected: Detected
    reading: Reading
    config: BackboneConfig | None
    unclear: UsageError | None = None
    preprocessing: Preprocessing | None = None
    name: str | None = None
    notes: tuple[str, ...] = ()

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
        window: their window, where the file does not tell it.
    Raises:
        UsageError: unreadable, or in no known format.
    """
    content = read_source(source)
    family = family_of(like) if like is not None else None
    detected = detect(content.state, like=family)
    grids = family.grids(like) if family is not None and like is not None else None
    reading = rules.read(detected.state, detected.format.rules(detected.stages, grids))
    if content.metadata and content.metadata.get("format") == "vitrail":
        config, preprocessing, name = _described(content.metadata)
        notes = tuple(content.notes)
        return Weights(detected, reading, config, None, preprocessing, name, notes)
    config, unclear = None, None
    try:
        hints = Hints(window=window, like=like, ours=detected.format.name == "vitrail")
        config = infer_config(reading, family=detected.family, hints=hints)
    except UsageError as error:
        unclear = error  # the model that they are for may say the rest
    return Weights(detected, reading, config, unclear, notes=tuple(content.notes))


def load(model: Backbone, source: Source, *, strict: bool = True) -> LoadReport:
    """Load weights of any public format into a model.

    Everything is computed and compared before the first number is copied: after an error the
    model is what it was. Bias tables are resized to the model's window, the stem to its input
    channels; a head with another number of classes stays as it is, and the report says so.

    Args:
        model: the model; float16 weights become what its parameters are.
        source: a file, a state dict, ``"bundled"``, or a hub repository ``owner/name``.
        strict: weights that are missing, left over or of another shape are an error; otherwise
            they are only reported.
    Returns:
        What was loaded, and key by key what was not simply copied.
    Raises:
        UsageError: unreadable, of no known model, or (strict) weights that do not fit.
    """
    return load_opened(model, open_weights(source, like=model.config), strict=strict)


def load_opened(model: Backbone, weights: Weights, *, strict: bool = True) -> LoadReport:
    """Load weights that ``open_weights`` has read; see ``load``."""
    config = model.config
    check_kind(weights, model)
    family, known = weights.family, weights.config
    own = known if weights.detected.format.name == "vitrail" else None
    reshape = family.reshape(weights.reading, own, config) if family.reshape else None
    fitted = fit(weights.reading.state, model, known, reshape)
    entries = [*fitted.entries]
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
    format_name = weights.detected.format.name
    report = LoadReport(format_name, tuple(fitted.state), tuple(entries), tuple(notes))
    if strict:
        report.raise_problems(model.name or type(model).__name__)
    _copy(model, fitted.state)
    _describe_input(model, weights, headed="head.weight" in fitted.state)
    return report


def model_from_file(source: Source, *, window: Any = None, **config_fields: Any) -> Backbone:
    """Build the model that a source of weights is of, with its weights.

    Args:
        source: a file, ``"bundled"``, a hub repository or a state dict, of any format.
        window: the window, where the file does not tell it (Swin V2 of timm or transformers).
        config_fields: fields of the configuration to change.
    Returns:
        The model, in evaluation mode.
    Raises:
        UsageError: unreadable, of no known model, or the window or heads cannot be told.
    """
    weights = open_weights(source, window=window)
    if weights.config is None:
        assert weights.unclear is not None
        raise weights.unclear
    name = weights.name or name_of(weights.config)
    entry = CATALOG.get(name) if name else None
    config = replace(_behaving(weights, weights.config), **config_fields)
    preprocessing = weights.preprocessing or (entry.preprocessing if entry else None)
    model = model_class_of(config)(config, preprocessing=preprocessing, name=name)
    _tell(load_opened(model, weights))
    return model.eval()


def create_with_weights(
    name: str, entry: Entry, config: BackboneConfig, source: Source, *, fixed_classes: bool
) -> Backbone:
    """Build a model of the catalog with weights.

    What the weights decide is taken from them unless the caller chose it: the number of classes,
    Swin V2's normaliser, and how a file of our own says that its model behaves.

    Args:
        name: the model's name.
        entry: its catalog entry.
        config: its configuration, with the caller's changes.
        source: see ``load``.
        fixed_classes: the caller chose the number of classes.
    Returns:
        The model, in evaluation mode.
    """
    weights = open_weights(source, like=config)
    chosen = {f.name for f in fields(config)
              if getattr(config, f.name) != getattr(entry.config, f.name)}  # fmt: skip
    head = weights.reading.state.get("head.weight")
    if not fixed_classes and head is not None and config.out_indices is None:
        config = replace(config, num_classes=head.shape[0])
    known = weights.config
    if known is not None and type(known) is type(config):
        behaving = _behaving(weights, known)
        names = [f.name for f in fields(config) if f.name in _told(weights)]
        taken = {n: getattr(behaving, n) for n in names if n not in chosen}
        if known.axes == config.axes:
            config = replace(config, **taken)
    config = family_of(config).keep(config, known, entry.config, chosen)
    model = entry.model(config, preprocessing=entry.preprocessing, name=name)
    _tell(load_opened(model, weights))
    return model.eval()


def _told(weights: Weights) -> tuple[str, ...]:
    """Return the fields that a source of weights decides."""
    if weights.detected.format.name == "vitrail" and weights.preprocessing is not None:
        return (*_BEHAVIOUR, *weights.family.behaviour)
    return tuple(weights.detected.format.fields)


def _behaving(weights: Weights, config: BackboneConfig) -> BackboneConfig:
    """Return the configuration with what a format's models do and ours do not."""
    return replace(config, **weights.detected.format.fields)


def model_class_of(config: BackboneConfig) -> type[Backbone]:
    """Return the class of the models with such a configuration."""
    return family_of(config).model


def _described(
    metadata: Mapping[str, str],
) -> tuple[BackboneConfig, Preprocessing | None, str | None]:
    """Return what a file of ours says about its model."""
    known = models()
    model = known.get(metadata.get("model", ""))
    try:
        if model is None:
            raise ValueError(f"model {metadata.get('model')!r}")
        config, preprocessing = hub.described(metadata, model.config_class)  # type: ignore[attr-defined]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"a Vitrail file whose description cannot be used ({error})",
            f"a description of one of {', '.join(known)}",
            "it may come from a later version: upgrade vitrail",
        ) from error
    return config, preprocessing, metadata.get("name") or None


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
            f"create a model of their family: {', '.join(names)}",
        )


def _copy(model: Backbone, state: rules.State) -> None:
    """Copy weights whose names and shapes have been checked."""
    parameters = model.state_dict(keep_vars=True)
    if any(parameter.is_meta for parameter in parameters.values()):
        model.load_state_dict(state, strict=False, assign=True)
        return
    with torch.no_grad():
        for key, tensor in state.items():
            parameters[key].copy_(tensor)


def _describe_input(model: Backbone, weights: Weights, *, headed: bool) -> None:
    """Take over the preprocessing that the weights want."""
    wanted = weights.preprocessing
    if wanted is None:
        model._set_preprocessing(trained=True)
        return
    classes = wanted.classes if headed else None
    if len(wanted.mean) != model.config.in_channels or len(wanted.size) != model.config.axes:
        model._set_preprocessing(trained=wanted.trained, classes=classes)
        return
    model.preprocessing = replace(wanted, classes=classes)


def _tell(report: LoadReport) -> None:
    """Log what was not simply copied; a classifier that is not there is worth a warning."""
    if not report.entries and not report.notes:
        return
    headless = any(entry.reason == NO_CLASSIFIER for entry in report.entries)
    _log.log(logging.WARNING if headless else logging.INFO, "%s", report)
