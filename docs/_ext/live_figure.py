"""The directive ``live``: a view of the explorer inside a page, on a real photo.

The models run while the site is built; the page carries their traces and the explorer's own script,
and asks nothing of the network.
"""

import html
import sys
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import torch
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import vitrail
from vitrail.explorer.page import page_data, static

# The figures follow the page's switch between light and dark.
STYLE = """
.live { margin: 1.5rem 0; }
.live .vitrail { border-radius: 12px; padding: 16px clamp(8px, 2.5vw, 20px); }
.live figcaption { font-size: .9rem; margin-top: .4rem; }
body[data-theme="dark"] .live .vitrail { color-scheme: dark; }
body[data-theme="light"] .live .vitrail { color-scheme: light; }
"""

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))


# The mechanism is what these show: few blocks are enough, and quick to build.
SMALL: dict[str, dict[str, Any]] = {
    "pvt_v2_b0": {"depths": (1, 1, 1, 1)},
    "focal_tiny": {"depths": (1, 1, 1, 1)},
    "axial_tiny": {"depths": (2, 1, 1, 1)},
    "maxvit_tiny": {"depths": (1, 1, 1, 1)},
    "hiera_tiny": {"depths": (1, 2, 2, 2)},
}


@cache
def report(model: str) -> Any:
    """Run a model on the photo of a cat, with its bundled weights where it has some."""
    from demo_photo import photo

    if model == "swin_nano":
        return vitrail.explore(model, photo, size=(96, 128), scored=False)
    torch.manual_seed(0)
    built = vitrail.create_model(model, num_classes=10, **SMALL[model]).eval()
    return vitrail.explore(built, photo, size=(112, 112), scored=False)


class LiveFigure(SphinxDirective):
    """``{live} canvas`` with the model, block, shift (0 to 1) and a caption as options."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "model": directives.unchanged,
        "block": directives.nonnegative_int,
        "shift": directives.unchanged,
        "corner": directives.unchanged,
        "caption": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Return the element that the script fills, and remember the model."""
        options = dict(self.options)
        model, caption = options.pop("model", "swin_nano"), options.pop("caption", "")
        models = self.env.metadata[self.env.docname].setdefault("live_models", [])
        if model not in models:
            models.append(model)
        asked = html.escape(urlencode({"view": self.arguments[0], **options}), quote=True)
        text = (
            f'<figure class="live"><div data-vitrail-figure="{asked}"'
            f' data-trace="{models.index(model)}">A figure of the explorer; it needs JavaScript.'
            f"</div><figcaption>{html.escape(caption)}</figcaption></figure>"
        )
        return [nodes.raw("", text, format="html")]


def add_traces(app: Sphinx, page: str, template: str, context: dict[str, Any], _: object) -> None:
    """Put traces, style and script at the end of each page with live figures."""
    models = app.env.metadata.get(page, {}).get("live_models", [])
    if models:
        sides = [side for model in models for side in report(model).sides]
        style, script = static("explorer.css") + STYLE, static("explorer.js")
        context["body"] += (
            f'<style>{style}</style>{page_data(sides)}<script type="module">{script}</script>'
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("live", LiveFigure)
    app.connect("html-page-context", add_traces)
    return {"parallel_read_safe": True}
