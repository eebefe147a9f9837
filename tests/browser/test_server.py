"""The page from the local server: it opens by its link, stays there, and runs other photos."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import PATIENCE
from tests.browser.serving import call_api, serving
from vitrail.explorer.server.guard import Guard
from vitrail.models import Swin


@pytest.fixture
def served(small_model: Swin) -> Iterator[Guard]:
    with serving(small_model) as guard:
        yield guard


def test_from_the_link_to_a_photo_that_was_chosen_in_the_page(
    browser: Any, served: Guard, picture: Image.Image, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page, said, calls = context.new_page(), list[str](), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: calls.append(request.url))
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    picture.save(hostile)

    page.goto(served.link)
    page.wait_for_selector("html[data-ready=true]")
    assert page.url == served.address.url, "the token is gone from the address"
    page.set_input_files("[data-field=photo]", str(hostile))
    page.fill("[data-field=size]", "32x48")
    page.click("[data-run] button.strong")
    page.wait_for_selector("[data-bead], [role=alert]", timeout=3 * PATIENCE)
    assert page.query_selector("[data-run] [role=alert]") is None, page.inner_text("[data-run]")
    (trace,) = call_api(served, "api/traces")
    assert trace["size"] == [32, 48]
    assert hostile.name in page.inner_text("body"), "a hostile name is text"
    assert page.evaluate("window.vitrail.app.host") == "server"
    assert said == []
    assert all(url.startswith((served.address.url, "data:", "blob:")) for url in calls)
    assert not [url for url in calls[1:] if served.token in url]

    reloaded = context.new_page()
    reloaded.goto(page.url)
    reloaded.wait_for_selector("[data-bead]", timeout=2 * PATIENCE)
    context.close()


def test_a_browser_without_the_link_gets_nothing(browser: Any, served: Guard) -> None:
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(served.address.url)
    assert answer.status == 403
    assert "vitrail explore --serve" in page.inner_text("body")
    context.close()
