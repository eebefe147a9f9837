"""The formats of whole models of a task: which there are, and what reads and writes their heads."""

from collections.abc import Mapping
from typing import Any

from vitrail.errors import UsageError
from vitrail.models import HeadFacts, TaskFacts
from vitrail.weights import rules
from vitrail.weights.beside import Beside
from vitrail.weights.detect import Detected
from vitrail.weights.families import FAMILIES, Family
from vitrail.weights.head_formats import segformer, upernet
from vitrail.weights.head_formats.base import HeadFormat, OpenedHead
from vitrail.weights.rules import State

__all__ = [
    "HEAD_FORMATS",
    "HeadFormat",
    "OpenedHead",
    "family_in",
    "format_for",
    "names_for",
    "read_head",
]

HEAD_FORMATS: tuple[HeadFormat, ...] = (*segformer.FORMATS, *upernet.FORMATS)


def format_for(name: str, kind: str, head: str) -> HeadFormat | None:
    """Return the format of that name that holds such a head on a backbone of that kind."""
    known = (f for f in HEAD_FORMATS if (f.name, f.kind, f.head) == (name, kind, head))
    return next(known, None)


def names_for(kind: str, head: str) -> list[str]:
    """Return the names of the formats that hold such a head on a backbone of that kind."""
    return [f.name for f in HEAD_FORMATS if (f.kind, f.head) == (kind, head)]


def family_in(state: Mapping[str, Any]) -> Family | None:
    """Return the family of backbones that the head among a file's keys goes with, if one does."""
    kinds = {f.kind for f in HEAD_FORMATS for key in state if _at(key, f.anchor)}
    return next((family for family in FAMILIES if {family.kind} == kinds), None)


def read_head(
    state: State,
    detected: Detected,
    ours: State,
    beside: Beside | None = None,
    known: Mapping[str, Any] | None = None,
) -> OpenedHead | None:
    """Return the head beside a backbone; None where there is none, or an unknown one.

    Args:
        state: the whole file.
        detected: the backbone in it.
        ours: the backbone's weights in our names; what the head owns is taken out of them.
        beside: what the file, or those beside it, say of the classes.
        known: fields of the head's configuration that no shape shows.
    Raises:
        UsageError: parts are missing, or shapes are of no such head.
    """
    others = {key: state[key] for key in detected.beside}
    there = [(f, key.removesuffix(f.anchor)) for f in HEAD_FORMATS
             if f.kind == detected.family.kind for key in others if _at(key, f.anchor)]  # fmt: skip
    if not there:
        return None
    found, prefix = next((f for f in there if f[0].backbone == detected.format.name), there[0])
    inner = {k.removeprefix(prefix): t for k, t in others.items() if k.startswith(prefix)}
    reading = rules.read(inner, found.rules(detected.stages))
    for theirs, own in found.moved(detected.stages).items():
        for key in [key for key in ours if key.startswith(theirs)]:
            reading.state[own + key.removeprefix(theirs)] = ours.pop(key)
    try:
        config = found.infer(reading.state, known or {})
        count = int(reading.state["classify.weight"].shape[0])
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"weights whose shapes are of no {found.head} head ({str(error)[:200]})",
            "the weights of one model, whole",
            "check where the file comes from; it may be damaged",
        ) from error
    if count < 2:
        raise UsageError(
            f"a head of {found.head} with one output, for a threshold",
            "an output for each of two or more classes",
            "load its backbone alone: drop the head's keys from the state dict",
        )
    names, options = None, dict(found.options)
    if beside is not None and beside.classes and len(beside.classes) == count:
        names = beside.classes
        options["background"] = names[0].lower() in ("background", "unlabeled", "unlabelled")
        if beside.colours:
            options["colours"] = beside.colours
    used = {prefix + key for keys in reading.origin.values() for key in keys}
    left = tuple(k for k in others if k not in used | {prefix + key for key in reading.ignored})
    task = TaskFacts(name="segment", classes=count, options=options)
    return OpenedHead(
        task, HeadFacts(name=found.head, config=config), reading.state, names, found.name, left
    )


def _at(key: str, anchor: str) -> bool:
    return key == anchor or key.endswith("." + anchor)
