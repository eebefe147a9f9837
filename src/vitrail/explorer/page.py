"""One HTML file with everything inside, which needs no network."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vitrail.explorer.coding import pack


@runtime_checkable
class ArraySource(Protocol):
    """Where a trace's arrays come from by name, e.g. ``vitrail.explorer.arrays.Arrays``."""

    def get(self, name: str) -> np.ndarray:
        """Return an array; a name that stands for none raises ``KeyError``."""
        ...


Side = tuple[Mapping[str, Any], ArraySource]


def report_page(sides: Sequence[Side]) -> str:
    """Put one trace, or two to compare, into one page.

    Args:
        sides: each trace's manifest and where its arrays come from.
    """
    first = sides[0][0]
    script, style = static("explorer.js"), static("explorer.css")
    title = f"{first['photo']['name']} · {first['model']['name']} · Vitrail"
    parts = {
        "policy": policy(script, style),
        "generator": html.escape(first["versions"], quote=True),
        "title": html.escape(title),
        "style": style,
        "script": script,
        "data": page_data(sides),
    }
    # One pass, so that nothing inserted is searched for further places.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], static("page.html"))


def page_data(sides: Sequence[Side]) -> str:
    """Return the elements that carry traces inside a page, numbered in the order of ``sides``."""
    manifests = (
        f'<script type="application/json" id="manifest:{i}">{as_json(_alone(facts))}</script>'
        for i, (facts, _) in enumerate(sides)
    )
    return "\n".join([*manifests, *_packed(sides)])


@cache
def static(name: str) -> str:
    """Return the text of a file that the front end's build wrote."""
    return (resources.files("vitrail.explorer") / "static" / name).read_text(encoding="utf-8")


def policy(script: str, style: str, more: str = "") -> str:
    """Allow this script, this style and pictures from the page itself; nothing else.

    Args:
        script: text of the one script.
        style: text of the one style sheet.
        more: further directives, for the server's page.
    """
    return (
        f"default-src 'none'; img-src data: blob:; script-src {_hash(script)}; "
        f"style-src {_hash(style)}; base-uri 'none'; form-action 'none'{more}"
    )


def as_json(value: Any) -> str:
    """Return JSON that no HTML parser can mistake for markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _alone(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A file has no server behind it: what it does not hold it does not name."""
    held = manifest["arrays"]
    blocks = [
        {**block, "bias": block["bias"] if block["bias"] in held else None}
        for block in manifest["blocks"]
    ]
    return {**manifest, "blocks": blocks, "on_demand": False}


def _packed(sides: Sequence[Side]) -> Iterator[str]:
    """Yield an element for every array that no element before it holds already."""
    written = set()
    for i, (manifest, arrays) in enumerate(sides):
        for name, facts in manifest["arrays"].items():
            key = (facts["dtype"], tuple(facts["shape"]), facts["sha256"])
            if key in written:
                continue
            written.add(key)
            place = html.escape(f"array:{i}/{name}", quote=True)
            data = pack(arrays.get(name))
            yield f'<script type="application/octet-stream" id="{place}">{data}</script>'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
