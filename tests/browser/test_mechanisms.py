"""One page for every mechanism: a small model of each, its numbers in Chromium and in Python."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.pages import choose, compare, facts, numbers, until
from tests.mechanisms import MECHANISMS
from vitrail.explain import BlockTrace

SIZE = (21, 31)


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_page_shows_what_was_captured(name: str, saved, open_page) -> None:
    path, report = saved(SIZE, model=MECHANISMS[name](), name=name)
    opened = open_page(path)
    page = opened.page
    for index, block in enumerate(report.trace.blocks):
        last = tuple(n - 1 for n in block.spatial)
        for position in [tuple(n // 2 for n in last), last]:
            choose(page, index, block, position)
            compare(numbers(page), block, position, None)
        page.locator("#heads button").nth(block.heads).click()
        compare(numbers(page), block, last, block.heads - 1)
        page.locator("#heads button").first.click()
        assert_every_row(page, block)
        assert_every_box(page, block)
    for step in range(page.locator("#steps button").count()):
        page.locator("#steps button").nth(step).click()
        until(page, f"state.step === {step} && block.index === steps[{step}].block")
    assert "undefined" not in page.locator("body").inner_text()
    assert opened.console == []
    outside = [url for url in opened.requests if not url.startswith(("data:", "blob:"))]
    assert outside == [path.as_uri()]


def assert_every_row(page: Any, block: BlockTrace) -> None:
    """Every token's mean row, prefix tokens first, as the page decodes it."""
    rows = page.evaluate(
        "() => [...block.grid.slotOf].map((slot) => [...weights(block, slot, -1)])"
    )
    everywhere = [*range(block.pattern.prefix), *np.ndindex(*block.spatial)]
    expected = np.stack([block.row(position).numpy() for position in everywhere])
    assert np.abs(np.array(rows) - expected).max() <= 2e-3, block.name


def assert_every_box(page: Any, block: BlockTrace) -> None:
    """Every key that has a place in the photo, as the page draws it."""
    drawn = page.evaluate(
        """() => [...block.grid.keys].map((token, other) =>
             (token < block.prefix ? null : tokenBox(block.grid, other)))"""
    )
    index = (block.groups.k_index - block.pattern.prefix).flatten().tolist()
    bounds = block.groups.k_box
    boxes = None if bounds is None else bounds.flatten(0, 1).tolist()
    for key, (token, box) in enumerate(zip(index, drawn, strict=True)):
        if token < 0:
            assert box is None
        elif boxes is not None:
            assert box == [boxes[key][side] for side in (0, 2, 1, 3)], (block.name, key)
        else:
            y, x = divmod(token, block.spatial[1])
            assert box == [y, x, y + 1, x + 1], (block.name, key)


def test_prefix_tokens_stand_beside_the_picture(saved, open_page) -> None:
    path, report = saved(SIZE, model=MECHANISMS["vit"]())
    page = open_page(path, viewport={"width": 320, "height": 700}).page
    block = report.trace.blocks[0]
    buttons = page.locator("#prefix button")
    assert buttons.count() == block.pattern.prefix == 2
    buttons.nth(1).click()
    compare(numbers(page), block, 1, None)
    assert facts(page)["token"].startswith("prefix token 2 of 2")
    assert "distance" not in facts(page)
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    until(page, "byId('live').textContent.includes('prefix token 2 of 2')")
    shown = float((buttons.nth(0).get_attribute("aria-label") or "").split()[-2])
    assert shown == pytest.approx(100 * float(block.row(1)[0]), abs=0.2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    # The next block is asked by the same token; any arrow leads from it into the picture.
    page.locator(".bead").nth(1).click()
    until(page, "block.index === 1")
    compare(numbers(page), report.trace.blocks[1], 1, None)
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("state.token") == 2
    compare(numbers(page), report.trace.blocks[1], (0, 0), None)


def test_a_pooled_key_is_painted_over_its_box(saved, open_page, picture: Image.Image) -> None:
    path, report = saved((40, 60), model=MECHANISMS["pvt"]())
    page = open_page(path).page
    block = report.trace.blocks[0]
    choose(page, 0, block, (0, 0))
    page.evaluate("state.strength = 1; show()")
    row = block.row((0, 0))
    assert block.groups.k_box is not None
    y0, y1, x0, x1 = block.groups.k_box[0, int(row.argmax())].tolist()
    assert (y1 - y0, x1 - x0) == (3, 2)
    pixel = """([y, x, rows, columns]) => {
      const canvas = byId('canvas');
      const [h, v] = [(x + .5) / columns * canvas.width, (y + .5) / rows * canvas.height];
      return [...canvas.getContext('2d').getImageData(Math.floor(h), Math.floor(v), 1, 1).data];
    }"""
    for y in range(y0, y1):
        for x in range(x0, x1):
            if (y, x) != (0, 0):
                shown = page.evaluate(pixel, [y, x, *block.spatial])
                assert shown == [253, 231, 37, 255], (y, x)
    assert "pooled" in page.locator("#keys").text_content()
    assert page.locator("#arrangement").is_hidden()
