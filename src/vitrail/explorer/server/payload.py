"""Arrays as bytes on the wire, made once and kept while there is room."""

import gzip
import threading
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from vitrail.explorer.arrays import DTYPES
from vitrail.explorer.server.answers import unknown
from vitrail.explorer.server.store import Kept

BUDGET = 128 * 2**20  # bytes of all payloads together
LARGEST = BUDGET // 4  # one larger than this is not kept
# Families of names whose arrays need the model itself, not only what it left in the trace.
OF_MODEL = ("map/", "erf/")


@dataclass(frozen=True, slots=True)
class Payload:
    """An array on the wire.

    Args:
        data: its bytes, little-endian, row-major.
        dtype: ``u8``, ``i32``, ``f16``, ``f32`` or ``bytes``.
        shape: its lengths, joined by commas.
        media: the media type.
    """

    data: bytes
    dtype: str
    shape: str
    media: str

    def headers(self) -> dict[str, str]:
        """Return what a reader needs beside the bytes."""
        return {"X-Dtype": self.dtype, "X-Shape": self.shape}


class Payloads:
    """Makes payloads, and keeps the last used ones.

    Args:
        running: held while a model runs.
        budget: bytes of all payloads together.
    """

    def __init__(self, running: AbstractContextManager | None = None, budget: int = BUDGET) -> None:
        self._running = running or nullcontext()
        self.budget = budget
        self._kept: OrderedDict[tuple[str, str], Payload] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, kept: Kept, name: str) -> Payload:
        """Return an array of a trace; may take a while, so it belongs into a worker thread.

        Raises:
            Refused: with 404 for a name that means nothing.
            UsageError: an array that is too large to be made.
        """
        key = (kept.id, name)
        found = self._find(key)
        if found is not None:
            return found
        with self._running if needs_model(kept, name) else nullcontext():
            found = self._find(key)  # another thread may have made it while this one waited
            if found is not None:
                return found
            payload = make(kept, name)
        self._keep(key, payload)
        return payload

    def _find(self, key: tuple[str, str]) -> Payload | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: tuple[str, str], payload: Payload) -> None:
        if len(payload.data) > LARGEST:
            return
        with self._lock:
            self._kept[key] = payload
            while sum(len(p.data) for p in self._kept.values()) > self.budget:
                self._kept.popitem(last=False)


def needs_model(kept: Kept, name: str) -> bool:
    """Return whether an array is made by running the model."""
    return name.startswith(OF_MODEL) and name not in kept.manifest["arrays"]


def make(kept: Kept, name: str) -> Payload:
    """Return an array of a trace as it travels.

    Raises:
        Refused: with 404 for a name that means nothing.
        UsageError: an array that is too large to be made.
    """
    try:
        array = kept.arrays.get(name)
    except KeyError:
        raise unknown(f"array {name[:200]!r}") from None
    facts = kept.manifest["arrays"].get(name, {})
    dtype = facts.get("dtype") or DTYPES[array.dtype.name]
    return Payload(
        np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes(),
        dtype,
        ",".join(map(str, array.shape)),
        facts.get("type", "application/octet-stream"),
    )


def squeezed(data: bytes) -> bytes | None:
    """Return data in gzip, or None where that does not pay."""
    if len(data) < 1400:  # one packet, whatever is done
        return None
    small = gzip.compress(data, compresslevel=1, mtime=0)
    return small if len(small) < 0.9 * len(data) else None
