"""One page for every mechanism: a small model of each, its numbers in Chromium and in Python."""

from typing import Any

import numpy as np
import pytest

from tests.browser.pages import (
    APP,
    VIEWS,
    choose,
    compare,
    everywhere,
    put,
    row,
    rows,
    sideways,
    table,
    token_of,
    until,
)
from tests.mechanisms import MECHANISMS
from vitrail.explain import BlockTrace

SIZE = (21, 31)


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_page_shows_what_was_captured(name: str, saved, open_page) -> None:
    path, report = saved(SIZE, model=MECHANISMS[name](), name=name)
    opened = open_page(path)
    page = opened.page
    for index, block in enumerate(report.trace.blocks):
        position = everywhere(block)[-1]
        token = token_of(block, position)
        choose(page, index, token)
        until(
            page,
            f"document.querySelector('[data-canvas]').dataset.painted === '{index} {token} -1'",
        )
        shown = [(int(key["token"]), float(key["weight"])) for key in table(page, "canvas")]
        compare(shown, block, position, None)
        each = row(page, index, token, heads=True)
        for head in range(block.heads):
            compare(
                list(zip(each["keys"], each["heads"][head], strict=True)), block, position, head
            )
        expected = np.stack([block.row(place).numpy() for place in everywhere(block)])
        assert np.abs(rows(page, index) - expected).max() <= 2e-3, block.name
        assert_every_box(page, index, block)
    page.set_viewport_size({"width": 320, "height": 700})
    for view in VIEWS:
        put(page, view=view)
        page.locator(f'[data-view="{view}"]').wait_for()
        page.wait_for_timeout(150)
        assert page.locator(".warning[role=alert]").count() == 0, view
        assert sideways(page) <= 0, view
    until(page, "document.querySelector('[data-check=decoded]')?.dataset.passed === 'true'")
    assert page.locator("[data-check]").count() == len(report.manifest["checks"]) + 1
    text = page.locator("body").inner_text()
    assert "undefined" not in text
    assert "NaN" not in text
    assert opened.console == []
    assert opened.outside == [path.as_uri()]


def assert_every_box(page: Any, index: int, block: BlockTrace) -> None:
    """Every key that has a place in the photo, as the page draws it."""
    drawn = page.evaluate(
        f"""async (index) => {{
          const grid = await {APP}.trace.value.block(index).load();
          return [...grid.keys].map((token, other) => (token < grid.prefix ? null
            : [...grid.box(Math.floor(other / grid.keysPerGroup), other % grid.keysPerGroup)]));
        }}""",
        index,
    )
    places = (block.groups.k_index - block.pattern.prefix).flatten().tolist()
    bounds = block.groups.k_box
    boxes = None if bounds is None else bounds.flatten(0, 1).tolist()
    for key, (token, box) in enumerate(zip(places, drawn, strict=True)):
        if token < 0:
            assert box is None
        elif boxes is not None:
            assert box == [boxes[key][side] for side in (0, 2, 1, 3)], (block.name, key)
        else:
            y, x = divmod(token, block.spatial[1])
            assert box == [y, x, y + 1, x + 1], (block.name, key)
