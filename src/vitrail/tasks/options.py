"""A task's options from words such as ``balance=true``, each of the type of its field."""

import difflib
import inspect
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vitrail.errors import UsageError
from vitrail.tasks.base import Task

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def options_of(task: type[Task], words: Iterable[str]) -> Any:
    """Return a task's options.

    Args:
        task: the task.
        words: ``name=value`` each; the last one of a name counts. A value is ``true`` or ``false``,
            a number, text, one of some words, ``none`` where that is allowed, or several of one
            kind joined by commas, as the option has it.
    Raises:
        UsageError: no such option, or a value of another type.
    """
    kinds = get_type_hints(task.Options)
    known = {field.name: kinds[field.name] for field in fields(task.Options)}
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            raise _unknown(task, word, name, known)
        found[name] = _typed(known[name], value, word, name)
    return task.Options(**found)


def described(task: type[Task]) -> list[dict[str, str]]:
    """Return the name, default and meaning of each of a task's options, as ``--set`` takes them.

    What they mean is what the docstring of the task's ``Options`` says of its fields.
    """
    meanings = _arguments(inspect.getdoc(task.Options) or "")
    default = task.Options()
    return [
        {
            "name": field.name,
            "default": _word(getattr(default, field.name)),
            "help": meanings.get(field.name, ""),
        }
        for field in fields(task.Options)
    ]


def _arguments(doc: str) -> dict[str, str]:
    """What a docstring's section ``Args:`` says of each argument, on one line."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.DOTALL | re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", section[1] if section else "",
                         re.DOTALL | re.MULTILINE)  # fmt: skip
    return {name: " ".join(text.split()) for name, text in entries}


def _word(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(_word, value))
    return str(value).lower() if isinstance(value, bool) or value is None else f"{value}"


def options_from(task: type[Task], stored: Mapping[str, Any]) -> Any:
    """Return a task's options from a file's description; names of another version are an error.

    Args:
        task: the task.
        stored: values by name as JSON has them: lists for tuples.
    Raises:
        UsageError: unknown names, or values of another type.
    """
    kinds = get_type_hints(task.Options)
    strange = sorted(stored.keys() - kinds.keys())
    if strange:
        raise UsageError(
            given=f"a file of task {task.name} with the option {strange[0]}",
            allowed=f"the options {', '.join(kinds)}",
            fix="it may come from a later version: upgrade vitrail",
        )
    try:
        return task.Options(**{name: _stored(kinds[name], value) for name, value in stored.items()})
    except ValueError as error:
        raise UsageError(
            given=f"a file of task {task.name} whose options cannot be used ({error})",
            allowed=f"values of the types of the options {', '.join(kinds)}",
            fix="it may be damaged: fetch or copy it again",
        ) from None


def _stored(kind: Any, value: Any) -> Any:
    """A value of a type from what JSON has of it.

    Raises:
        ValueError: it is none.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _stored(next(one for one in inner if one is not type(None)), value)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_stored(inner[0], one) for one in value)
    if kind is float and type(value) is int:
        return float(value)
    if value not in inner if origin is Literal else type(value) is not kind:
        raise ValueError(f"{value!r}"[:100])
    return value


def _unknown(task: type[Task], word: str, name: str, known: Mapping[str, Any]) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or [*known][:1]
    return UsageError(
        given=f"--set {word} for task {task.name}",
        allowed="NAME=VALUE with NAME one of " + ", ".join(known) if known else "no --set at all",
        fix=f"write --set {close[0]}=VALUE" if close else "leave --set out",
    )


def _typed(kind: Any, value: str, word: str, name: str) -> Any:
    try:
        return _read(kind, value)
    except ValueError as error:
        raise UsageError(
            given=f"--set {word}", allowed=str(error), fix=f"write --set {name}={_example(kind)}"
        ) from None


def _read(kind: Any, value: str) -> Any:
    """Read a value of a type.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value.lower() == "none" and type(None) in inner:
            return None
        return _read(next(one for one in inner if one is not type(None)), value)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"one of {', '.join(map(str, inner))}")
        return value
    if origin is tuple:
        return tuple(_read(inner[0], part) for part in value.split(",")) if value else ()
    if kind is bool:
        if value.lower() not in _TRUTH:
            raise ValueError("true or false")
        return _TRUTH[value.lower()]
    if kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            raise ValueError("a whole number" if kind is int else "a number") from None
    assert kind is str, f"an option of type {kind}"
    return value


def _example(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return str(inner[0])
    if origin is tuple:
        return f"{_example(inner[0])},{_example(inner[0])}"
    if origin in (Union, types.UnionType):
        return "none" if type(None) in inner else _example(inner[0])
    return {bool: "true", int: "1", float: "0.5"}.get(kind, "text")
