"""Traces that the page may request, as long as there is room; the longest unused go first."""

import dataclasses
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

BUDGET = 2 * 2**30  # bytes of all traces together, models included


@runtime_checkable
class Arrays(Protocol):
    """Arrays by name, stored or made on demand."""

    def get(self, name: str) -> np.ndarray:
        """Return an array, or raise ``KeyError`` for a name that means nothing."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Kept:
    """One trace as the server keeps it.

    Args:
        manifest: what the page is given; names everything else.
        arrays: everything else.
        photo: the photo's file, as it came, for another run.
        name: the photo's name.
        weights: of the model, as the server's list calls them.
    """

    manifest: Mapping[str, Any]
    arrays: Arrays
    photo: bytes
    name: str
    weights: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def summary(self) -> dict[str, Any]:
        """Return the line for a list of traces."""
        return {
            "id": self.id,
            "name": self.name,
            "model": self.manifest["model"]["name"],
            "weights": self.weights,
            "size": self.manifest["photo"]["input"],
        }


class Store:
    """Traces by id, within a budget of memory; the newest one stays in any case.

    Args:
        budget: bytes of all traces together.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._kept: OrderedDict[str, Kept] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()

    def add(self, kept: Kept) -> str:
        """Keep a trace, let go of others if need be, and return its id.

        One of the same id, which was less complete, is replaced.
        """
        with self._lock:
            self._kept[kept.id] = kept
            self._kept.move_to_end(kept.id)
            while len(self._kept) > 1 and size_of(self._kept.values()) > self.budget:
                self._kept.popitem(last=False)
        return kept.id

    def get(self, id: str) -> Kept | None:
        """Return a trace, which counts as a use of it, or None."""
        with self._lock:
            if id in self._kept:
                self._kept.move_to_end(id)
            return self._kept.get(id)

    def newest(self) -> list[Kept]:
        """Return all traces, the last used first."""
        with self._lock:
            return list(reversed(self._kept.values()))


def size_of(things: Iterable[object]) -> int:
    """Count the bytes of all arrays, tensors and byte strings that things hold, each once.

    Whatever they are made of: a trace keeps queries and keys, pictures, and perhaps its model,
    which traces share.
    """
    total, seen, left = 0, set[Any](), list(things)
    while left:
        thing = left.pop()
        key, size = _own(thing)
        if key in seen:
            continue
        seen.add(key)
        total += size
        left.extend(_parts(thing))
    return total


def _own(thing: object) -> tuple[Any, int]:
    """Return what identifies a thing, and the bytes that it holds itself."""
    if isinstance(thing, Tensor):
        storage = thing.untyped_storage()
        return ("memory", storage.data_ptr()), storage.nbytes()
    if isinstance(thing, np.ndarray):
        return ("memory", thing.__array_interface__["data"][0]), thing.nbytes
    return id(thing), len(thing) if isinstance(thing, bytes | bytearray) else 0


def _parts(thing: object) -> Iterable[object]:
    if isinstance(thing, str | bytes | bytearray | int | float | Tensor | np.ndarray):
        return ()
    if isinstance(thing, type | FunctionType | ModuleType):
        return ()
    if isinstance(thing, Mapping):
        return thing.values()
    if isinstance(thing, list | tuple | set | frozenset):
        return thing
    if dataclasses.is_dataclass(thing):
        return [getattr(thing, f.name) for f in dataclasses.fields(thing)]
    return getattr(thing, "__dict__", {}).values()
