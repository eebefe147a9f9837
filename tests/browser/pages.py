"""How the tests read and work the page."""

import time
from typing import Any

import numpy as np
import pytest

from vitrail.explain import BlockTrace
from vitrail.explain.trace import Position
from vitrail.patterns import Window


def until(page: Any, condition: str) -> None:
    """Wait; Playwright's own wait would evaluate text inside the page, which its policy forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def choose(page: Any, index: int, block: BlockTrace, position: tuple[int, ...]) -> None:
    """Choose a block by its bead and a token by a click on its place in the photo."""
    page.locator(".bead").nth(index).click()
    until(page, f"block.index === {index} && state.block === {index}")
    if page.locator("#as-photo").is_visible():
        page.locator("#as-photo").click()
    click(page, block, position)


def click(page: Any, block: BlockTrace, place: tuple[int, ...]) -> None:
    """Click the cell at ``place`` of the padded grid."""
    until(page, f"block.index === {page.evaluate('state.block')}")
    padded = block.spatial
    if isinstance(block.pattern, Window):
        window, _ = block.pattern.fit(block.spatial)
        padded = [-(-n // m) * m for n, m in zip(block.spatial, window, strict=True)]
    box = page.locator("#canvas").bounding_box()
    y, x = ((p + 0.5) / n for p, n in zip(place, padded, strict=True))
    page.locator("#canvas").click(position={"x": x * box["width"], "y": y * box["height"]})


def numbers(page: Any) -> list[tuple[int, float]]:
    """Return token and weight of every key, as the table shows them."""
    page.evaluate("byId('all').open = true; show()")
    cells = page.locator("#all-keys td[data-weight]")
    return cells.evaluate_all(
        "c => c.map(d => [Number(d.dataset.token), Number(d.dataset.weight)])"
    )


def facts(page: Any) -> dict[str, str]:
    names = page.locator("#facts dt").all_text_contents()
    return dict(zip(names, page.locator("#facts dd").all_text_contents(), strict=True))


def compare(shown: Any, block: BlockTrace, position: Position, head: int | None) -> None:
    """Hold the shown tokens and weights against what was captured."""
    group, _ = block.locate(position)
    tokens, weights = zip(*shown, strict=True)
    assert list(tokens) == block.groups.k_index[group].tolist()
    expected = block.row(position, head).numpy()
    assert np.abs(np.array(weights) - expected).max() <= 2e-3
    assert sum(weights) == pytest.approx(1, abs=1e-4)
    assert [w == 0 for w in weights] >= [e == 0 for e in expected.tolist()]
