"""Tables of the catalog: measured models (model-table), published weights (weights-table)."""

from typing import Any

import torch
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import vitrail
from vitrail.weights.published import PUBLISHED

WEIGHTS = ("model", "weights=", "input", "classes", "licence", "top-1, as published")
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
        return [_table(COLUMNS, [row(name) for name in _names(self.arguments[0])])]


class WeightsTable(SphinxDirective):
    """``{weights-table} swin_v2_*``: one row for each published file of the models that match."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = [
            (
                name,
                found.tag,
                str(found.size),
                "" if found.classes is None else f"{found.classes:,}",
                found.licence or "",
                "" if found.top1 is None else f"{found.top1:.2f} %",
            )
            for name in _names(self.arguments[0])
            for found in PUBLISHED.get(name, {}).values()
        ]
        return [_table(WEIGHTS, rows)]


def _names(patterns: str) -> list[str]:
    names = [name for pattern in patterns.split() for name in vitrail.list_models(pattern)]
    assert names, f"no model matches {patterns}"
    return names


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> nodes.table:
    group = nodes.tgroup(cols=len(columns))
    group += [nodes.colspec(colwidth=1) for _ in columns]
    head, body = nodes.thead(), nodes.tbody()
    head += _row(columns)
    body += [_row(cells, code_first=True) for cells in rows]
    group += [head, body]
    table = nodes.table()
    table += group
    return table


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
    """Register the directives."""
    app.add_directive("model-table", ModelTable)
    app.add_directive("weights-table", WeightsTable)
    return {"parallel_read_safe": True}
