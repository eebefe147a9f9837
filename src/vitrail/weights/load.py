"""Load weights of any format into a model: all that fits, or nothing."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from vitrail.errors import UsageError
from vitrail.models import (
    CATALOG,
    Backbone,
    Entry,
    Preprocessing,
    Swin,
    SwinConfig,
    SwinV2,
    SwinV2Config,
    hub,
)
from vitrail.shapes import Size
from vitrail.weights import rules
from vitrail.weights.buffers import windows_of
from vitrail.weights.detect import Detected, detect
from vitrail.weights.fit import NO_CLASSIFIER, check_normalisers, fit
from vitrail.weights.infer import infer_config, name_of, with_overlap
from vitrail.weights.report import Entry as ReportEntry
from vitrail.weights.report import LoadReport
from vitrail.weights.rules import Reading
from vitrail.weights.sources import Source, read_source
from vitrail.weights.windows import window_of_rows

_log = logging.getLogger("vitrail.weights")
_MODELS: dict[str, type[Backbone]] = {"Swin": Swin, "SwinV2": SwinV2}
# What a model does with its weights, rather than which weights it has: a file of ours decides.
_BEHAVIOUR = ("window", "pretrained_window", "padding", "shift_rule", "mask_value", "bias_lookup",
              "patch_fit", "norm_eps", "global_pool")  # fmt: skip


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
    config: SwinConfig | None
    unclear: UsageError | None = None
    preprocessing: Preprocessing | None = None
    name: str | None = None
    notes: tuple[str, ...] = ()


def open_weights(source: Source, *, like: SwinConfig | None = None, window: Any = None) -> Weights:
    """Read weights from a source and turn them into our names.

    Args:
        source: see ``read_source``.
        like: a configuration that they are meant for; settles what shapes leave open.
        window: their window, where the file does not tell it.
    Raises:
        UsageError: unreadable, or in no known format.
    """
    content = read_source(source)
    detected = detect(content.state)
    grid = like.absolute_position if like is not None else None
    places = next((t.shape[1] for k, t in detected.state.items() if "pos" in k and t.ndim == 3), 0)
    if grid is not None and math.prod(grid) != places:
        grid = None
    reading = rules.read(detected.state, detected.format.rules(detected.stages, grid))
    if content.metadata and content.metadata.get("format") == "vitrail":
        config, preprocessing, name = _described(content.metadata)
        notes = tuple(content.notes)
        return Weights(detected, reading, config, None, preprocessing, name, notes)
    config, unclear = None, None
    try:
        config = infer_config(reading, window=window)
        if detected.format.name == "vitrail":
            config = with_overlap(config)
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
        UsageError: unreadable, not a Swin, or (strict) weights that do not fit.
    """
    return load_opened(model, open_weights(source, like=model.config), strict=strict)


def load_opened(model: Backbone, weights: Weights, *, strict: bool = True) -> LoadReport:
    """Load weights that ``open_weights`` has read; see ``load``."""
    config = model.config
    check_kind(weights, model)
    fitted = fit(weights.reading.state, model, _windows(weights, config), weights.config)
    entries = fitted.entries + check_normalisers(weights.config, config)
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
        UsageError: unreadable, not a Swin, or the window cannot be told.
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
    name: str, entry: Entry, config: SwinConfig, source: Source, *, fixed_classes: bool
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
    config = _keep_normalisers(config, known, entry.config, chosen)
    model = entry.model(config, preprocessing=entry.preprocessing, name=name)
    _tell(load_opened(model, weights))
    return model.eval()


def _keep_normalisers(
    config: SwinConfig, known: SwinConfig | None, named: SwinConfig, chosen: set[str]
) -> SwinConfig:
    """Keep the window in which Swin V2's coordinates span -1 to 1 when the window changes."""
    source = known if isinstance(known, SwinV2Config) else named
    if not isinstance(source, SwinV2Config) or not isinstance(config, SwinV2Config):
        return config
    if "pretrained_window" in chosen or source.normalisers == config.normalisers:
        return config
    return replace(config, pretrained_window=source.normalisers)


def _told(weights: Weights) -> tuple[str, ...]:
    """Return the fields that a source of weights decides."""
    if weights.detected.format.name == "vitrail" and weights.preprocessing is not None:
        return _BEHAVIOUR
    if weights.detected.format.kind == "video":
        return ("bias_lookup", "shift_rule")
    return ()


def _behaving(weights: Weights, config: SwinConfig) -> SwinConfig:
    """Return the configuration with what a format's models do and ours do not."""
    foreign = weights.detected.format.name != "vitrail"
    if foreign and weights.detected.format.kind == "video":
        # Their smaller windows look the bias up by a corner of the full index (ADR 8).
        return replace(config, bias_lookup="sliced", shift_rule="clamp")
    return config


def model_class_of(config: SwinConfig) -> type[Backbone]:
    """Return the class of the models with such a configuration."""
    return SwinV2 if isinstance(config, SwinV2Config) else Swin


def _described(metadata: Mapping[str, str]) -> tuple[SwinConfig, Preprocessing | None, str | None]:
    """Return what a file of ours says about its model."""
    model = _MODELS.get(metadata.get("model", ""))
    try:
        if model is None:
            raise ValueError(f"model {metadata.get('model')!r}")
        config, preprocessing = hub.described(metadata, model.config_class)  # type: ignore[attr-defined]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"a Vitrail file whose description cannot be used ({error})",
            f"a description of one of {', '.join(_MODELS)}",
            "it may come from a later version: upgrade vitrail",
        ) from error
    return config, preprocessing, metadata.get("name") or None


def _windows(weights: Weights, config: SwinConfig) -> dict[int, Size]:
    """Return the window of each stage's bias table in the file, where it can be told."""
    known = weights.config
    if known is not None and weights.detected.format.name == "vitrail":
        return dict(enumerate(known.windows))
    axes = weights.reading.state["embed.proj.weight"].ndim - 2
    found: dict[int, Size] = {}
    for stage in range(weights.detected.stages):
        table = weights.reading.state.get(f"stages.{stage}.blocks.0.attn.bias.table")
        if table is None:
            continue
        wanted = config.windows[stage] if stage < len(config.windows) else ()
        if config.axes == axes and table.shape[0] == math.prod(2 * m - 1 for m in wanted):
            found[stage] = wanted
        elif (told := window_of_rows(table.shape[0], axes)) is not None:
            found[stage] = told
    return found | windows_of(weights.reading.buffers, axes)


def check_kind(weights: Weights, model: Backbone) -> None:
    """Refuse weights of another family: nothing about them would fit.

    Raises:
        UsageError: weights of Swin V2 for a Swin, or the other way round.
    """
    theirs = "SwinV2" if weights.detected.format.kind == "swin_v2" else "Swin"
    state = weights.reading.state
    if weights.detected.format.name == "vitrail":
        theirs = "SwinV2" if any(k.endswith(".logit_scale") for k in state) else "Swin"
    if theirs != type(model).__name__:
        family = "swin_v2_..." if theirs == "SwinV2" else "swin_..."
        raise UsageError(
            f"weights of a {theirs} for {model.name or type(model).__name__}",
            f"weights of a {type(model).__name__}",
            f"create a model of their family: {family}",
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
