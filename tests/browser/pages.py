"""How the tests read and work the page: through its state, its tables and its controls."""

import time
from typing import Any

import numpy as np
import pytest

from vitrail.explain import BlockTrace
from vitrail.explain.trace import Position

APP = "window.vitrail.app"
VIEWS = ("canvas", "heads", "reach", "merge", "cost", "audit")


def until(page: Any, condition: str) -> None:
    """Wait; Playwright's own wait would evaluate text inside the page, which its policy forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def state(page: Any, name: str) -> Any:
    """Return one field of the page's state."""
    return page.evaluate(f"{APP}.state.{name}.value")


def put(page: Any, **fields: Any) -> None:
    """Set fields of the state, as the page's own controls do."""
    page.evaluate(
        f"(wish) => Object.entries(wish).forEach(([n, v]) => {{ {APP}.state[n].value = v; }})",
        fields,
    )


def choose(page: Any, block: int, token: int, head: int = -1) -> None:
    """Choose a block by its bead, then a token and a head."""
    page.locator(f'[data-bead="{block}"]').click()
    put(page, token=token, head=head)


def row(page: Any, block: int, token: int, *, heads: bool = False) -> dict[str, Any]:
    """Return one row as the views get it: keys, allowed, mean, and the heads where wanted."""
    return page.evaluate(
        f"""async ([block, token, heads]) => {{
          const row = await {APP}.trace.value.row(block, token, heads);
          const list = (numbers) => numbers && [...numbers];
          return {{ keys: list(row.keys), allowed: list(row.allowed), mean: list(row.mean),
                    heads: row.heads && row.heads.map(list) }};
        }}""",
        [block, token, heads],
    )


def rows(page: Any, block: int) -> np.ndarray:
    """Return every token's mean row, prefix tokens first."""
    return np.array(
        page.evaluate(
            f"""async (block) => {{
              const trace = {APP}.trace.value;
              const grid = await trace.block(block).load();
              const found = [];
              for (let token = 0; token < grid.total; token++) {{
                found.push([...(await trace.row(block, token)).mean]);
              }}
              return found;
            }}""",
            block,
        )
    )


def token_of(block: BlockTrace, position: Position) -> int:
    """Return the number of a token in the page's list: prefix tokens, then the grid."""
    if isinstance(position, int):
        return position
    return block.pattern.prefix + int(np.ravel_multi_index(position, block.spatial))


def everywhere(block: BlockTrace) -> list[Position]:
    return [*range(block.pattern.prefix), *np.ndindex(*block.spatial)]


def open_table(page: Any, figure: str) -> None:
    """Open a figure's data table; it is made a moment after the click."""
    tool = page.locator(f'[data-figure="{figure}"] [data-tool="table"]')
    if tool.get_attribute("aria-expanded") != "true":
        tool.click()
    page.locator(f'[data-figure="{figure}"] table.numbers tbody tr').first.wait_for()


def table(page: Any, figure: str) -> list[dict[str, str]]:
    """Open a figure's data table and return its rows' data."""
    open_table(page, figure)
    return page.locator(f'[data-figure="{figure}"] table.numbers tbody tr').evaluate_all(
        "rows => rows.map(row => ({...row.dataset}))"
    )


Shown = list[tuple[int, float]]


def painted(page: Any, block: int, token: int, head: int = -1) -> None:
    """Wait until the picture shows a row."""
    shown = "document.querySelector('[data-canvas]').dataset.painted"
    until(page, f"{shown} === '{block} {token} {head}'")


def compare(shown: Shown, block: BlockTrace, position: Position, head: int | None) -> None:
    """Hold the shown tokens and weights against what was captured."""
    group, _ = block.locate(position)
    tokens, weights = zip(*shown, strict=True)
    assert list(tokens) == block.groups.k_index[group].tolist()
    expected = block.row(position, head).numpy()
    assert np.abs(np.array(weights) - expected).max() <= 2e-3
    assert sum(weights) == pytest.approx(1, abs=1e-4)
    assert [w == 0 for w in weights] >= [e == 0 for e in expected.tolist()]


def sideways(page: Any) -> int:
    """Return how much wider the page is than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")
