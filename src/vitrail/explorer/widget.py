"""The page in a notebook: an anywidget whose arrays travel as binary messages on request.

Only the manifests and the selection are traits. The page sends ``{id, kind: "array", side, name}``
(side 0, or 1 for the second of two that are compared), and is answered by one message a part,
``{id, dtype, shape, part, parts}`` with one buffer of at most ``PART`` bytes, or by
``{id, error}``. A kernel answers between cells: while one runs, the page waits.

Importing this module needs anywidget (extra ``notebook``); ``display`` imports it when needed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from vitrail.errors import UsageError
from vitrail.explorer.arrays import DTYPES
from vitrail.explorer.page import ArraySource, Side, static

PART = 4_000_000  # bytes of one message's buffer
VIEWS = ("canvas", "heads", "reach", "merge", "cost", "audit", "outcome")  # as in web/src/view.ts
METRICS = ("flops", "attention", "memory", "pairs", "time")  # as in web/src/costs.ts


class ExplorerWidget(anywidget.AnyWidget):
    """The explorer's page, live in a notebook.

    Args:
        sides: each trace's manifest and where its arrays come from, those made on demand too;
            one, or two to compare.
    Attributes:
        selection: what the page shows: block, head (-1 for their mean), token (prefix tokens
            first, then the grid row by row), view and so on. It follows the page; what is
            assigned is merged into it and changes the page, e.g.
            ``report.widget.selection = {"block": 3, "token": 17}``.
    """

    _esm = static("explorer.js")
    _css = static("explorer.css")
    manifests = traitlets.List().tag(sync=True)
    selection = traitlets.Dict().tag(sync=True)

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = tuple(sides)
        super().__init__(manifests=[dict(manifest) for manifest, _ in sides])
        self.on_msg(self._requested)

    @traitlets.validate("selection")
    def _merge(self, proposal: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse what cannot be chosen, and keep what was not mentioned."""
        old = self._trait_values.get("selection", {})
        chosen = {field: _plain(value) for field, value in proposal["value"].items()}
        new = {**old, **chosen}
        side = 1 if new.get("side") == "B" and len(self._sides) > 1 else 0
        check_selection(self._sides[side][0], chosen, new.get("block", 0))
        return new

    def _requested(self, _: object, content: Mapping[str, Any], buffers: object) -> None:
        if content.get("kind") != "array":
            return
        number = content.get("id")
        try:
            side = self._sides[1 if content.get("side") == 1 and len(self._sides) > 1 else 0]
            for words, part in answer(*side, content.get("name")):
                self.send({"id": number, **words}, buffers=[part])
        except Exception as error:
            # Whatever went wrong, the page must not wait for ever.
            self.send({"id": number, "error": _said(error)})
            if not isinstance(error, KeyError | UsageError):
                raise


def answer(
    manifest: Mapping[str, Any], arrays: ArraySource, name: object
) -> Iterator[tuple[dict[str, Any], memoryview]]:
    """Yield an array as the parts of a message, each with the words that go with it.

    Args:
        manifest: names the types of stored arrays; others have numpy's.
        arrays: where the array comes from.
        name: what the page requested, whatever that is.
    Raises:
        KeyError: no such array.
    """
    if not isinstance(name, str):
        raise KeyError(name)
    array = np.ascontiguousarray(arrays.get(name))
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    facts = manifest["arrays"].get(name, {})
    words = {
        "dtype": facts.get("dtype") or DTYPES[str(array.dtype)],
        "shape": list(array.shape),
    }
    data = array.reshape(-1).view(np.uint8).data
    parts = max(1, -(-len(data) // PART))
    for part in range(parts):
        yield (
            {**words, "part": part, "parts": parts},
            data[part * PART : (part + 1) * PART],
        )


def check_selection(manifest: Mapping[str, Any], chosen: Mapping[str, Any], block: int) -> None:
    """Refuse a selection that the page cannot show.

    Args:
        manifest: of the trace that is shown.
        chosen: the fields that were assigned.
        block: the block that will be shown, assigned or not.
    Raises:
        UsageError: an unknown field, or a value that is not there.
    """
    blocks = manifest["blocks"]
    _within("block", block, (0, len(blocks) - 1))
    tokens = blocks[block]["prefix"] + math.prod(blocks[block]["spatial"])
    limits = {
        "block": (0, len(blocks) - 1),
        "head": (-1, blocks[block]["heads"] - 1),
        "token": (0, tokens - 1),
        "cls": (0, max(0, manifest["model"]["classes"] - 1)),
        "step": (-1, 99),
        "size": (1, 100_000),
        "window": (1, 1000),
    }
    words = {
        "view": tuple(v for v in VIEWS if v != "outcome" or manifest["outcome"]["kind"] == "mask"),
        "method": tuple(method["id"] for method in manifest["methods"]),
        "side": ("A", "B"),
        "sort": ("index", "distance", "entropy"),
        "metric": METRICS,
    }
    for field, value in chosen.items():
        if field in limits:
            _within(field, value, limits[field])
        elif field in words:
            _among(field, value, words[field])
        elif field == "shift":
            _among(field, value, (value if _is_share(value) else 0.0,))
        else:
            known = ", ".join((*limits, *words, "shift"))
            raise UsageError(f"selection field {field!r}", known, "leave it out")


def _within(field: str, value: object, limits: tuple[int, int]) -> None:
    least, most = limits
    whole = value if isinstance(value, int) and not isinstance(value, bool) else None
    if whole is not None and least <= whole <= most:
        return
    raise UsageError(
        f"selection {field}={value!r}",
        f"a whole number from {least} to {most}",
        f"use {field}={least if whole is None else min(max(whole, least), most)}",
    )


def _among(field: str, value: object, allowed: tuple[object, ...]) -> None:
    if value in allowed:
        return
    raise UsageError(
        f"selection {field}={value!r}",
        "from 0 to 1" if field == "shift" else ", ".join(map(repr, allowed)) or "nothing",
        f"use {field}={allowed[0]!r}" if allowed else "leave it out",
    )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _plain(value: object) -> object:
    """Numpy's numbers are no numbers to JSON."""
    return value.item() if isinstance(value, np.generic) else value


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no such array: {error.args[0] if error.args else ''}"
    return f"{type(error).__name__}: {error}"
