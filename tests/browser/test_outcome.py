"""The mask over the photo: what the page shows of a place is what Python computes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import costs_at_small_sizes
from tests.browser.pages import APP, put, state, until
from tests.browser.test_axe import axe as axe
from tests.browser.test_axe import serious
from tests.segmenters import segmenter
from vitrail.explain import rollout_from
from vitrail.explorer import Report, explore

SIZE = (24, 36)


@pytest.fixture(scope="module")
def masked(picture, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A report of a model of segmentation."""
    with costs_at_small_sizes():
        report = explore(segmenter(), picture, size=SIZE)
    return report.save(tmp_path_factory.mktemp("mask") / "report.html"), report


def click(page: Any, pixel: tuple[int, int]) -> None:
    """Click the middle of a pixel of the input."""
    canvas = page.locator("canvas[data-mask]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    y, x = ((n + 0.5) / length for n, length in zip(pixel, SIZE, strict=True))
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def drawn(page: Any) -> np.ndarray:
    """The picture's pixels, one for each of the input's, without the marks' lines."""
    return np.array(page.evaluate(
        """([h, w]) => {
          const from = document.querySelector("canvas[data-mask]");
          const to = Object.assign(document.createElement("canvas"), {width: w, height: h});
          const pen = to.getContext("2d");
          pen.drawImage(from, 0, 0, w, h);
          return [...pen.getImageData(0, 0, w, h).data];
        }""",
        list(SIZE),
    )).reshape(*SIZE, 4)[..., :3]  # fmt: skip


def test_a_click_shows_the_class_there_and_what_the_place_looked_at(masked, open_page) -> None:
    path, report = masked
    opened = open_page(path)
    page = opened.page
    assert state(page, "view") == "outcome"  # it comes first
    mask = report.arrays.get("outcome/mask")
    for pixel in ((3, 30), (20, 7)):
        click(page, pixel)
        label = report.manifest["outcome"]["classes"][mask[pixel]]["label"]
        said = page.locator('[data-figure="mask"] [data-readout]')
        said.get_by_text(f"row {pixel[0] + 1}, column {pixel[1] + 1}: {label}").wait_for()
        assert state(page, "cls") == mask[pixel]
        assert state(page, "block") == 1  # the last
        expected = rollout_from(report.trace, pixel).numpy()
        found = page.evaluate(
            f"async () => [...(await {APP}.trace.value.rollout(1, {APP}.state.token.value)).values]"
        )
        np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-3)
    until(page, "!!document.querySelector('[data-panel=looked] canvas')")
    page.locator(".outcome-looks [data-choice='0']").click()
    assert state(page, "block") == 0
    page.locator('[data-figure="mask"] [data-readout]').get_by_text("row 21, column 8").wait_for()
    assert not opened.console and not opened.outside[1:]


def test_the_mask_is_drawn_in_its_colours_and_goes_away(masked, open_page) -> None:
    path, report = masked
    page = open_page(path).page
    page.locator('input[type="range"]').last.fill("100")
    outcome, mask = report.manifest["outcome"], report.arrays.get("outcome/mask")
    until(page, "!!document.querySelector('canvas[data-mask]')?.width")
    page.wait_for_timeout(300)
    full = drawn(page)
    table = np.array([[*bytes.fromhex(row["colour"][1:])] for row in outcome["classes"]])
    things = mask > 0
    near = np.abs(full - table[mask]).max(-1) < 40
    assert things.any() and near[things].mean() > 0.6  # the rest: borders, and the marks
    page.locator("[data-mask-shown]").click()
    page.wait_for_timeout(300)
    assert np.abs(drawn(page) - table[mask]).max(-1)[things].mean() > 60


def test_by_keyboard_on_a_phone_and_without_barriers(masked, open_page, axe: str) -> None:
    path, report = masked
    page = open_page(path, bypass_csp=True, viewport={"width": 390, "height": 844}).page
    click(page, (10, 10))
    page.locator("canvas[data-mask]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    stride = report.trace.blocks[-1].stride
    words = f"row {11 + stride[0]}, column {11 + stride[1]}:"
    page.locator('[data-figure="mask"] [data-readout]').get_by_text(words).wait_for()
    page.locator("[data-live]").get_by_text(words).wait_for()
    page.locator('[data-mask-class="0"]').click()
    assert state(page, "cls") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for tool in page.locator('[data-view="outcome"] [data-tool="table"]').all():
        tool.click()
    page.wait_for_timeout(200)
    assert not serious(page, axe)
    put(page, view="reach")
    page.locator("[data-method-map]").wait_for()


def test_a_classifier_has_no_mask(session_report, open_page) -> None:
    page = open_page(session_report[0]).page
    assert page.locator('[data-tab="outcome"]').count() == 0
