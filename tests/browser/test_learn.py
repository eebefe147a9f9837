"""The course: every figure draws itself offline, by pointer, keyboard and on a phone."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_axe import axe, serious

__all__ = ["axe"]  # the fixture


def drawn(page: Any) -> list[Any]:
    """Scroll to every figure and wait until it has drawn itself."""
    figures = page.locator("[data-vitrail-figure]").all()
    for figure in figures:
        figure.scroll_into_view_if_needed()
        page.wait_for_function("e => e.dataset.ready === 'true'", arg=figure.element_handle())
    return figures


def test_every_figure_draws_itself_offline(site: Path, open_page: Any) -> None:
    opened = open_page(site / "learn" / "index.html")
    assert len(drawn(opened.page)) >= 10
    assert not opened.console
    assert not [url for url in opened.outside if not url.startswith(site.as_uri())]


def test_a_token_is_chosen_by_keyboard_in_one_figure_alone(site: Path, open_page: Any) -> None:
    page = open_page(site / "learn" / "index.html").page
    _, first, _, second, *_ = drawn(page)
    readouts = [figure.locator("[data-readout]").first for figure in (first, second)]
    before = [readout.inner_text() for readout in readouts]
    first.locator("[tabindex='0']").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([e, text]) => e.innerText !== text", arg=[readouts[0].element_handle(), before[0]]
    )
    assert readouts[1].inner_text() == before[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_and_axe_finds_nothing_serious_in_a_figure(
    site: Path, open_page: Any, axe: str, scheme: str
) -> None:
    size = {"width": 360, "height": 740}
    path = site / "learn" / "index.html"
    page = open_page(path, viewport=size, color_scheme=scheme, has_touch=True).page
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    found = [finding for finding in serious(page, axe) if "vitrail" in finding[1]]
    assert not found
