"""Two traces in one page: models, sizes or images side by side."""

from pathlib import Path

import pytest
from PIL import Image

from tests.browser.pages import APP, VIEWS, choose, put, state, until
from tests.mechanisms import MECHANISMS
from vitrail.explorer import explore


@pytest.mark.parametrize("other", ["size", "model", "photo"])
def test_a_and_b_are_one_click_apart(
    other: str, small_model, picture: Image.Image, open_page, tmp_path: Path
) -> None:
    def look(model=small_model, photo=picture, size=(32, 48), name="first.png"):
        return explore(model, photo, size=size, name=name, scored=False)

    flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    first = look()
    second = {
        "size": lambda: look(size=(27, 43)),
        "model": lambda: look(MECHANISMS["pvt"]()),
        "photo": lambda: look(photo=flipped, name="second.png"),
    }[other]()
    path = first.against(second).save(tmp_path / "both.html")
    opened = open_page(path)
    page = opened.page
    choose(page, 3, 37, head=1)
    for side, report in (("B", second), ("A", first), ("B", second)):
        page.locator(f'[data-choice="{side}"]').click()
        assert page.locator(f'[data-choice="{side}"]').get_attribute("aria-pressed") == "true"
        assert page.evaluate(f"{APP}.trace.value.manifest.photo.input") == list(
            report.trace.spatial
        )
        blocks = report.trace.blocks
        assert state(page, "block") < len(blocks)
        assert page.locator("[data-bead]").count() == len(blocks)
        assert report.manifest["photo"]["name"] in page.locator("h1").text_content()
        for view in VIEWS:
            put(page, view=view)
            page.wait_for_timeout(60)
    page.wait_for_timeout(400)
    assert opened.console == []
    assert opened.outside == [path.as_uri()]
    # The link names the side.
    again = open_page(path, fragment="#" + page.url.split("#")[1]).page
    assert state(again, "side") == "B"
    until(again, f"{APP}.trace.value === {APP}.traces[1]")


def test_a_report_of_one_has_no_sides(saved, open_page) -> None:
    path, _ = saved((2, 2))
    page = open_page(path, fragment="#side=B").page
    assert page.locator("[data-choice=B]").count() == 0
    assert state(page, "side") == "A"
