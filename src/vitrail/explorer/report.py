"""The report: one HTML file with everything inside, which asks nothing of the network."""

import base64
import hashlib
import html
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vitrail.errors import UsageError
from vitrail.explain import Trace
from vitrail.explorer.coding import pack
from vitrail.explorer.manifest import describe
from vitrail.explorer.photo import Prepared, picture_bytes

# In the order in which they build on one another.
SCRIPTS = ("data.js", "grid.js", "colour.js", "draw.js", "words.js", "page.js", "start.js")


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A finished report, and the trace it shows.

    Args:
        html: the whole page.
        trace: what was captured.
    """

    html: str
    trace: Trace

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the most probable classes with their probabilities, best first."""
        return self.trace.top(count)

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, whole or not at all.

        Raises:
            UsageError: if the file cannot be written there.
        """
        path = Path(path)
        try:
            _write(path, self.html)
        except OSError as error:
            raise UsageError(
                f"{str(path)!r} as the report's file ({error.strerror or error})",
                "a file name in a folder that exists, can be written to and has room",
                "choose another place with -o, e.g. -o report.html",
            ) from None
        return path

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame of its own."""
        page = html.escape(self.html, quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="Vitrail report" '
            'width="100%" height="900" style="border:0"></iframe>'
        )


def build(trace: Trace, prepared: Prepared, name: str, versions: str) -> Report:
    """Put a trace and its photo into one page.

    Args:
        trace: of a two-dimensional input.
        prepared: the photo that was traced.
        name: the photo's name; treated as text, whatever it holds.
        versions: of the software, in words.
    Raises:
        UsageError: a trace that a page cannot show.
    """
    manifest, arrays = describe(
        trace, {"name": name, "original": list(prepared.original)}, versions
    )
    return Report(_page(manifest, arrays.by_name, prepared), trace)


@cache
def _static(name: str) -> str:
    return (resources.files("vitrail.explorer") / "static" / name).read_text(encoding="utf-8")


def _page(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray], photo: Prepared) -> str:
    style = _static("report.css")
    # Each file says "use strict" for itself; only the first of one script counts.
    script = "\n".join(_static(name) for name in SCRIPTS)
    title = f"{manifest['photo']['name']} · {manifest['model']['name']} · Vitrail"
    parts = {
        "policy": _policy(script, style),
        "generator": html.escape(manifest["versions"], quote=True),
        "title": html.escape(title),
        "style": style,
        "script": script,
        "manifest": _json(manifest),
        "seen": _data_url(photo.seen, exact=True),
        "shown": _data_url(photo.shown, exact=False),
        "arrays": "\n".join(
            f'<script type="application/octet-stream" id="array:{name}">{pack(array)}</script>'
            for name, array in arrays.items()
        ),
    }
    # One pass, so that nothing inserted is searched for further places.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _static("report.html"))


def _policy(script: str, style: str) -> str:
    """Allow this script, this style and pictures from the file itself; nothing else."""
    return (
        f"default-src 'none'; img-src data: blob:; script-src {_hash(script)}; "
        f"style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return JSON that no HTML parser can mistake for markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data_url(picture: Image.Image, *, exact: bool) -> str:
    kind, data = picture_bytes(picture, exact=exact)
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _write(path: Path, text: str) -> None:
    """Write beside the target, then rename: a reader sees the old file or the whole new one."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        # mkstemp makes files for the owner alone; a report may be read by whom the umask allows.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
