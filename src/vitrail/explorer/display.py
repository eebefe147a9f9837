"""How a notebook shows an exploration: the live page where it can, else the report in a frame.

The kernel cannot know what the front end can draw, so it offers both and the front end takes the
richest that it knows. What is offered:

- anywidget installed (extra ``notebook``): the widget, which fetches arrays from Python as it needs
  them; beside it, for front ends without widgets and for saved notebooks, the framed report if it
  is small, or else a sentence that says how to get it;
- anywidget missing: the report in a sandboxed frame, whatever its size.

A broken installation of anywidget is an error, and is shown as one.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.errors import UsageError
from vitrail.explorer.page import Side
from vitrail.extras import install_words

if TYPE_CHECKING:
    from vitrail.explorer.widget import ExplorerWidget

WIDGET = "application/vnd.jupyter.widget-view+json"
# Bytes of arrays, before they are packed, up to which a saved notebook keeps the framed report too.
FRAMED = 2_000_000
HEIGHT = 900  # of the frame, in pixels


def bundle(
    sides: Sequence[Side],
    page: Callable[[], str],
    widget: Callable[[], "ExplorerWidget"],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a notebook's front end may choose from, by media type, and what to know of it.

    This is what ``_repr_mimebundle_`` returns.

    Args:
        sides: what is shown: one trace, or two to compare.
        page: makes the report, where it is needed.
        widget: makes the widget, or returns the one that there is.
    """
    said = "Vitrail: " + " against ".join(in_words(manifest) for manifest, _ in sides)
    data: dict[str, Any] = {"text/plain": said}
    if not available():
        return data | {"text/html": frame(page())}, {}
    view, metadata = widget()._repr_mimebundle_() or ({}, {})
    if sum(_stored_bytes(manifest) for manifest, _ in sides) <= FRAMED:
        spare = frame(page())
    else:
        spare = (
            f"<p>{html.escape(said)}: this front end shows no widgets, and the "
            "report is too large to keep in the notebook. <code>report.save('report.html')</code> "
            "writes it.</p>"
        )
    return {**view, **data, "text/html": spare}, metadata


def available() -> bool:
    """Return whether anywidget is installed."""
    return find_spec("anywidget") is not None


def make_widget(sides: Sequence[Side]) -> "ExplorerWidget":
    """Return a new widget that shows one trace, or two to compare.

    Args:
        sides: each trace's manifest and where its arrays come from.
    Raises:
        UsageError: anywidget is not installed.
    """
    if not available():
        raise UsageError(
            "a widget, without the package anywidget",
            "an environment with the extra 'notebook'; without it a notebook shows the report",
            install_words("notebook"),
        )
    from vitrail.explorer.widget import ExplorerWidget

    return ExplorerWidget(sides)


def frame(page: str) -> str:
    """Return HTML that shows a page in a frame of its own, which can reach nothing around it."""
    return (
        f'<iframe srcdoc="{html.escape(page, quote=True)}" sandbox="allow-scripts" '
        f'title="Vitrail report" width="100%" height="{HEIGHT}" style="border:0"></iframe>'
    )


def in_words(manifest: Mapping[str, Any]) -> str:
    """Say in one line what was explored and what the model answered."""
    line = f"{manifest['model']['name']} on {manifest['photo']['name']}"
    if manifest["answer"]:
        best = manifest["answer"][0]
        line += f", {best['label']} {best['probability']:.1%}"
    return line


def _stored_bytes(manifest: Mapping[str, Any]) -> int:
    width = {"i32": 4, "f32": 4, "f16": 2}
    return sum(
        width.get(facts["dtype"], 1) * int(np.prod(facts["shape"], dtype=np.int64))
        for facts in manifest["arrays"].values()
    )
