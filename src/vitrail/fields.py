"""Check a config's fields against their annotations: a file's JSON may hold anything."""

import math
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from vitrail.errors import UsageError, shown

LARGEST = 2**31 - 1  # of any whole number in a config; torch's own sizes end not far above it


def check_fields(config: Any) -> None:
    """Refuse a dataclass whose values are not of the types that its fields are annotated with.

    A whole number stands for a tuple of whole numbers too: lengths along every axis.

    Args:
        config: an instance, with tuples for lists.
    Raises:
        UsageError: a value of another type, a number that is not finite or too large, or a word
            that is none of the allowed ones.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if not _fits(value, field.type):
            raise UsageError(
                f"{field.name}={shown(value)}", _words(field.type), _fix(field.name, value, field)
            )


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in args)
    if origin is tuple:
        if args[0] is int and not isinstance(value, tuple):
            return _fits(value, int)
        return isinstance(value, tuple) and all(_fits(item, args[0]) for item in value)
    if hint is bool:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if hint is int:
        return isinstance(value, int) and abs(value) <= LARGEST
    if hint is float:
        return isinstance(value, int | float) and abs(value) <= 1e30 and math.isfinite(value)
    return isinstance(value, hint)


def _words(hint: Any, many: bool = False) -> str:
    """Return an annotation as a sentence has it."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(arg, many) for arg in args))
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin is tuple:
        inner = _words(args[0], many=True)
        return f"tuples of {inner}" if many else f"a tuple of {inner}"
    one, several = {
        int: (f"a whole number up to {LARGEST:,}", "whole numbers"),
        float: ("a finite number", "finite numbers"),
        bool: ("True or False", "True or False"),
        str: ("text", "texts"),
        NoneType: ("None", "None"),
    }[hint]
    return several if many else one


def _fix(name: str, value: Any, field: Any) -> str:
    """Name a value that works: the number that a text spells, or the default."""
    for convert in (int, float) if isinstance(value, str) and len(value) < 20 else ():
        try:
            meant = convert(value)
        except ValueError:
            continue
        if _fits(meant, field.type):
            return f"use {name}={meant!r}, a number instead of text"
    return f"use {name}={field.default!r}, the default"
