"""What the formats of one family of models are, and what its weights show: one record.

Adding a family means writing one file with one ``Family`` and naming it in ``families``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitrail.models import Backbone, BackboneConfig
from vitrail.shapes import Size
from vitrail.weights.report import Entry
from vitrail.weights.rules import AnyRule, Grids, Reading, State, rename

# (key, tensor, wanted shape) -> what to load and what was done; None where a tensor is like others.
Reshape = Callable[[str, Tensor, Size], tuple[Tensor | None, Entry | None] | None]


@dataclass(frozen=True)
class Format:
    """A checkpoint format for one kind of model.

    Args:
        name: what the command line calls it.
        kind: the models it holds.
        rules: builds the list of rules for a number of stages, and the grids of position tables
            (by our key) where they are known.
        inner: prefix of all keys but those in ``outside``; the first is written, all are read.
        outside: beginnings of the keys that stand beside the prefix.
        wrap: key under which a pickled file holds the state dict.
        stage: a pattern whose group is the stage of a key.
        fields: what its models do and no shape shows, as fields of the configuration, so that
            outputs are the same at every size.
        bare_fields: what a detector's backbone does besides.
        layout: what rules need of the keys, by name, beside the grids of position tables.
    """

    name: str
    kind: str
    rules: Callable[[int, Grids | None], list[AnyRule]]
    inner: tuple[str, ...] = ("",)
    outside: tuple[str, ...] = ()
    wrap: str | None = None
    stage: str = r"(?:\w+\.)?(?:layers|stages)\.(\d+)\."
    fields: Mapping[str, Any] = field(default_factory=dict)
    bare_fields: Mapping[str, Any] = field(default_factory=dict)
    layout: Callable[[State], Grids] = lambda _: {}

    def behaviour(self, *, bare: bool) -> dict[str, Any]:
        """Return what its models do, those of a detector if ``bare``."""
        return {**self.fields, **(self.bare_fields if bare else {})}


def _own_names(stages: int, grids: Grids | None) -> list[AnyRule]:
    del stages, grids
    return [rename("{rest}", "{rest}")]


def vitrail(kind: str) -> Format:
    """Return our own format for one kind of model."""
    return Format("vitrail", kind, _own_names)


@dataclass(frozen=True)
class Hints:
    """What is known of a model besides its weights.

    Args:
        window: its window.
        num_heads: its heads, stage by stage.
        like: a configuration that the weights are meant for; settles what shapes leave open.
        ours: the weights are in our own format.
        guess: what no shape shows does not matter: anything that fits will do.
    """

    window: Any = None
    num_heads: tuple[int, ...] | None = None
    like: BackboneConfig | None = None
    ours: bool = False
    guess: bool = False


def channels_last(out: Any) -> list[Tensor]:
    """Return the tensors of a peer's output whose channels come last already."""
    return [out] if isinstance(out, Tensor) else [*out]


def called(model: Any, x: Tensor) -> Any:
    """Return a model's outputs."""
    return model(x)


def unchanged(copied: Any) -> None:
    """Leave a copy of a peer as it is."""
    del copied


@dataclass(frozen=True)
class Departure:
    """A behaviour of a peer that its conversion does not have on purpose; an ADR says why.

    Args:
        remove: takes it out of a copy of the peer.
        fields: fields of the configuration that take out of ours what stands in its place.
    """

    remove: Callable[[Any], None]
    fields: Mapping[str, Any]


@dataclass
class Peer:
    """What a reader found out about a live module of a peer.

    Args:
        fields: fields of the configuration that say how it behaves.
        windows: its windows, stage by stage.
        num_heads: its heads, stage by stage.
        state: its state dict under other names than its own.
        grids: grids of its position tables, by our key.
        preprocessing: its input.
        other_size: lengths of another input that it takes, with padding wherever it pads; None
            where it takes its own size alone.
        answers: returns the tensors of what it returns, as the conversion returns them.
        reset: brings a copy back to what it was when it was built.
        departure: what the conversion does otherwise on purpose.
        notes: what its user has to know of the conversion.
        run: computes what ``answers`` returns with the conversion; default its outputs.
        head: fields of the configuration of its task's head that no shape shows.
        options: of its task.
    """

    fields: dict[str, Any]
    windows: list[Any] | None = None
    num_heads: tuple[int, ...] | None = None
    state: dict[str, Tensor] | None = None
    grids: Grids | None = None
    preprocessing: dict[str, Any] = field(default_factory=dict)
    other_size: Size | None = None
    answers: Callable[[Any], list[Tensor]] = channels_last
    reset: Callable[[Any], None] = unchanged
    departure: Departure | None = None
    notes: list[str] = field(default_factory=list)
    run: Callable[[Any, Tensor], Any] = called
    head: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)


Reader = Callable[[Any], Peer | None]


def _as_it_is(
    config: Any, known: BackboneConfig | None, named: BackboneConfig, chosen: set[str]
) -> Any:
    del known, named, chosen
    return config


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of models: how their weights are recognised, read, written and fitted.

    Args:
        kind: what formats call it.
        title: what a sentence calls it.
        model: its class.
        formats: its formats.
        anchors: keys, without prefix, of which every file has one: the patch embedding.
        recognise: returns the format of a state dict without prefixes, or None if it is not of
            this family.
        recognise_named: the same where the weights are said to be of this family; default
            ``recognise``.
        infer: returns the configuration that follows from shapes and hints.
        identity: properties of a configuration by which the catalog's models are distinguished.
        advised: fields to name where a file's model differs from the one it is loaded into.
        behaviour: fields of this family alone that a file of ours decides, not the model's name.
        holds: whether a configuration is of this family.
        readers: (package, class) of live peers -> what reads them.
        reshape: makes the function that brings tensors of its own kind into another shape.
        compare: returns how two configurations differ in what no shape shows.
        keep: changes a configuration to what the weights decide, unless it was chosen.
        grids: grids of a configuration's position tables, by our key.
        refuse: raises where a format has no place for such a configuration.
    """

    kind: str
    title: str
    model: type[Backbone]
    formats: tuple[Format, ...]
    anchors: tuple[str, ...]
    recognise: Callable[[State], str | None]
    infer: Callable[[Reading, Hints], BackboneConfig]
    identity: tuple[str, ...]
    advised: tuple[str, ...]
    holds: Callable[[BackboneConfig], bool]
    recognise_named: Callable[[State], str | None] | None = None
    behaviour: tuple[str, ...] = ()
    readers: Mapping[tuple[str, str], Reader] = field(default_factory=dict)
    reshape: Callable[[Reading, BackboneConfig | None, BackboneConfig], Reshape] | None = None
    compare: Callable[[BackboneConfig, BackboneConfig], list[Entry]] = lambda *_: []
    keep: Callable[[Any, BackboneConfig | None, BackboneConfig, set[str]], Any] = _as_it_is
    grids: Callable[[BackboneConfig], Grids] = lambda _: {}
    refuse: Callable[[BackboneConfig, str], None] = lambda *_: None
