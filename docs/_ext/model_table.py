"""The directive ``model-table``: models that match a wildcard, measured during the build."""

from typing import Any

import torch
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import vitrail

COLUMNS = ("name", "parameters", "G multiply-adds", "input", "stages: blocks", "channels")


def row(name: str) -> tuple[str, ...]:
    """Return the cells of one model; nothing is computed and no weight is allocated."""
    with torch.device("meta"):
        model = vitrail.create_model(name)
    size = model.preprocessing.size
    cost = vitrail.cost(model, size, training=False)
    return (
        name,
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M",
        f"{cost.macs / 1e9:.2f}",
        " x ".join(map(str, size)),
        "-".join(map(str, model.config.depths)),
        "-".join(map(str, model.dims)),
    )


class ModelTable(SphinxDirective):
    """``{model-table} swin_v2_*``: one row for each model that matches."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        names = [n for pattern in self.arguments[0].split() for n in vitrail.list_models(pattern)]
        assert names, f"no model matches {self.arguments[0]}"
        group = nodes.tgroup(cols=len(COLUMNS))
        group += [nodes.colspec(colwidth=1) for _ in COLUMNS]
        head, body = nodes.thead(), nodes.tbody()
        head += _row(COLUMNS)
        body += [_row(row(name), code_first=True) for name in names]
        group += [head, body]
        table = nodes.table()
        table += group
        return [table]


def _row(cells: tuple[str, ...], *, code_first: bool = False) -> nodes.row:
    line = nodes.row()
    for place, text in enumerate(cells):
        cell = nodes.entry()
        word = nodes.literal(text=text) if code_first and place == 0 else nodes.Text(text)
        paragraph = nodes.paragraph()
        paragraph += word
        cell += paragraph
        line += cell
    return line


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("model-table", ModelTable)
    return {"parallel_read_safe": True}
