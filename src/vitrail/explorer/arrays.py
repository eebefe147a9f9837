"""Arrays by name: the stored ones, and those that are made on demand.

Beside the stored names, these are understood:

- ``b{i}/attn``: the weights of block ``i``, u8 ``[groups, heads, queries, keys]`` in row code;
- ``b{i}/rows/{group}/{first}/{count}``: those of some queries of one group, u8 ``[count, heads,
  keys]``;
- ``b{i}/mean``: the mean of the heads, u8 ``[groups, queries, keys]``; ``b{i}/bias``, f16;
- ``map/{method}/{class}``, ``erf/{stage}/{y}/{x}``, ``rollout/{block}/{y}/{x}``: f16
  ``[height, width]``; of a mask also ``map/{method}/{class}/{y}/{x}``, of the class at a pixel.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8

from vitrail.errors import UsageError
from vitrail.explain import BlockTrace, Trace
from vitrail.explorer.coding import encode_rows

MOST = 64_000_000  # weights of one array that is made on demand: 64 MB
DTYPES = {"uint8": "u8", "int32": "i32", "float16": "f16", "float32": "f32"}

_NUMBER = r"(0|[1-9]\d{0,8})"
_NAMES = {
    "attention": rf"b{_NUMBER}/attn",
    "rows": rf"b{_NUMBER}/rows/{_NUMBER}/{_NUMBER}/{_NUMBER}",
    "mean": rf"b{_NUMBER}/mean",
    "bias": rf"b{_NUMBER}/bias",
    "map": rf"map/([a-z0-9_-]{{1,40}})/{_NUMBER}",
    "place": rf"map/([a-z0-9_-]{{1,40}})/{_NUMBER}/{_NUMBER}/{_NUMBER}",
    "erf": rf"erf/{_NUMBER}/{_NUMBER}/{_NUMBER}",
    "rollout": rf"rollout/{_NUMBER}/{_NUMBER}/{_NUMBER}",
}


@runtime_checkable
class Maps(Protocol):
    """What makes maps over the picture: ``vitrail.explorer.maps.Source``."""

    def make(self, kind: str, parts: tuple[str, ...]) -> Float[np.ndarray, "height width"] | None:
        """Return a map by the parts of its name, or None for one that there is not."""
        ...


@dataclass(slots=True, eq=False)
class Arrays:
    """The arrays of one trace.

    Args:
        trace: what blocks are computed from.
        maps: makes the maps that are not stored, for what needs the model to run again.
        stored: arrays by name; equal ones are kept once.
        facts: dtype, shape and digest of each stored array, as in the manifest.
    """

    trace: Trace
    maps: Maps
    stored: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(
        self, name: str, array: Shaped[np.ndarray, "*lengths"], media: str | None = None
    ) -> str:
        """Store an array and return the name under which it can be found.

        Args:
            name: what it is called, unless an equal one is there already.
            array: u8, i32, f16 or f32; of a file, its bytes.
            media: the media type of a file.
        """
        array = np.ascontiguousarray(array)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        sha = hashlib.sha256(little.tobytes()).hexdigest()
        kind = "bytes" if media else DTYPES[str(array.dtype)]
        key = f"{kind}{array.shape}{sha}"
        if key not in self._names:
            self._names[key] = name
            self.stored[name] = array
            self.facts[name] = {"dtype": kind, "shape": list(array.shape), "sha256": sha}
            if media:
                self.facts[name]["type"] = media
        return self._names[key]

    def get(self, name: str) -> Shaped[np.ndarray, "*lengths"]:
        """Return an array, which is made first if it is not stored.

        Args:
            name: of the array; bytes come as u8.
        Raises:
            KeyError: no array has this name.
            UsageError: an array too large to be made in one piece.
        """
        if name in self.stored:
            return self.stored[name]
        for kind, form in _NAMES.items():
            match = re.fullmatch(form, name)
            if match:
                made = self._made(kind, name, match.groups())
                if made is not None:
                    return made
        raise KeyError(name)

    def _made(self, kind: str, name: str, parts: tuple[str, ...]) -> np.ndarray | None:
        if kind in ("map", "place", "erf", "rollout"):
            return self.maps.make(kind, parts)
        number = int(parts[0])
        if number >= len(self.trace.blocks):
            return None
        block = self.trace.blocks[number]
        if kind == "bias":
            return None if block.bias is None else bias_of(block)
        if kind == "rows":
            group, first, count = (int(part) for part in parts[1:])
            groups, heads, queries, keys = block.shape
            if group >= groups or count < 1 or first + count > queries:
                return None
            _check(name, count * heads * keys)
            return encode_rows(_rows(block, group, first, count))
        groups, heads, queries, keys = block.shape
        _check(name, groups * queries * keys * (heads if kind == "attention" else 1))
        return mean_codes(block) if kind == "mean" else head_codes(block)


def mean_codes(block: BlockTrace) -> UInt8[np.ndarray, "groups queries keys"]:
    """Return the mean of a block's heads, coded; queries that are padding are left out."""
    groups, _, queries, keys = block.shape
    codes = np.zeros((groups, queries, keys), np.uint8)
    for some, picked, weights in block.chunks():
        real = (block.groups.q_index[some, picked] >= 0)[..., None]
        codes[some, picked] = encode_rows((weights.mean(1) * real).numpy())
    return codes


def head_codes(block: BlockTrace) -> UInt8[np.ndarray, "groups heads queries keys"]:
    """Return the weights of a block's heads, coded; queries that are padding are left out."""
    codes = np.zeros(block.shape, np.uint8)
    for some, picked, weights in block.chunks():
        real = (block.groups.q_index[some, picked] >= 0)[:, None, :, None]
        codes[some, :, picked] = encode_rows((weights * real).numpy())
    return codes


def bias_of(block: BlockTrace) -> Float[np.ndarray, "groups heads queries keys"]:
    """Return what position adds to a block's scores; one group stands for all that have it."""
    assert block.bias is not None
    bias = block.bias if block.bias.ndim == 4 else block.bias[None]
    return bias.numpy().astype(np.float16)


def _rows(
    block: BlockTrace, group: int, first: int, count: int
) -> Float[np.ndarray, "queries heads keys"]:
    rows = block.rows(group, first, count).transpose(0, 1)
    real = block.groups.q_index[group, first : first + count] >= 0
    return torch.where(real[:, None, None], rows, 0).numpy()


def _check(name: str, weights: int) -> None:
    if weights > MOST:
        raise UsageError(
            f"the array {name}: {weights / 1e6:.0f} million weights",
            f"at most {MOST / 1e6:.0f} million in one array",
            "request some rows of a group: b{block}/rows/{group}/{first}/{count}",
        )
