"""The page as a whole: sealed, reachable by everyone, the same from a link."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.pages import (
    APP,
    VIEWS,
    choose,
    everywhere,
    painted,
    put,
    row,
    sideways,
    state,
    until,
)
from vitrail.explorer import Report, explore

HOSTILE = "<img src=x onerror=alert(1)>.png"


def test_it_requests_nothing_and_complains_of_nothing(saved, open_page) -> None:
    path, _ = saved(scored=True)
    opened = open_page(path)
    page = opened.page
    for view in VIEWS:
        page.locator(f'[data-tab="{view}"]').click()
        for tool in page.locator(f'[data-view="{view}"] [data-tool="table"]').all():
            tool.click()
        page.wait_for_timeout(150)
    for bead in page.locator("[data-bead]").all():
        bead.click()
    assert opened.console == []
    assert opened.outside == [path.as_uri()]


def test_the_policy_stops_what_it_should(saved, open_page) -> None:
    path, _ = saved()
    blocked = open_page(path).page.evaluate(
        """async () => {
          const seen = [];
          addEventListener('securitypolicyviolation', (e) => seen.push(e.effectiveDirective));
          const script = document.createElement('script');
          script.textContent = 'window.broken = true';
          document.body.append(script);
          await fetch('https://example.org/').catch(() => {});
          await new Promise((done) => setTimeout(done, 100));
          return [seen, window.broken];
        }"""
    )
    assert sorted(blocked[0]) == ["connect-src", "script-src-elem"]
    assert blocked[1] is None


# Windows and patches divide; neither do; one token.
@pytest.mark.parametrize("size", [(32, 48), (27, 43), (2, 2)])
def test_every_row_of_every_head_is_right_and_sums_to_one(saved, open_page, size) -> None:
    path, report = saved(size)
    page = open_page(path).page
    for index, block in enumerate(report.trace.blocks):
        places = everywhere(block)
        for token in {0, len(places) // 2, len(places) - 1}:
            facts = row(page, index, token, heads=True)
            rows = np.array([facts["mean"], *facts["heads"]])
            assert np.abs(rows.sum(-1) - 1).max() < 1e-5
            heads = [None, *range(block.heads)]
            right = np.stack([block.row(places[token], head).numpy() for head in heads])
            assert np.abs(rows - right).max() <= 2e-3
            group, query = block.locate(places[token])
            seen = block.groups.labels[0][group, query] == block.groups.labels[1][group]
            assert facts["allowed"] == seen.int().tolist()


def test_every_control_has_a_name_and_can_be_tabbed_to(saved, open_page) -> None:
    path, _ = saved()
    page = open_page(path).page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas[tabindex], summary')]
             .filter((e) => !e.getAttribute('aria-label') && !e.textContent.trim()
                            && !e.closest('label'))
             .map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.view") == "canvas"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached |= set(page.evaluate("Object.keys(document.activeElement.dataset)"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if page.evaluate("document.activeElement !== document.body"):
            assert outline != "none", page.evaluate("document.activeElement.outerHTML")
    assert {"canvas", "tool", "head"} <= reached


def test_tabs_are_walked_by_arrows(saved, open_page) -> None:
    path, _ = saved()
    page = open_page(path).page
    page.locator('[data-tab="canvas"]').focus()
    page.keyboard.press("ArrowRight")
    assert state(page, "view") == VIEWS[1]
    assert page.evaluate("document.activeElement.dataset.tab") == VIEWS[1]
    page.keyboard.press("End")
    assert state(page, "view") == VIEWS[-1]
    page.keyboard.press("ArrowRight")
    assert state(page, "view") == VIEWS[0]
    page.keyboard.press("Home")
    assert page.locator("[role=tab][aria-selected=true]").count() == 1
    assert page.locator(f'[role=tabpanel][data-view="{VIEWS[0]}"]').count() == 1


@pytest.mark.parametrize("width", [320, 768])
def test_nothing_scrolls_sideways(saved, open_page, width: int) -> None:
    name = "a_photo_with_a_very_long_name_without_any_space_in_it.jpeg"
    path, _ = saved((27, 43), name=name, scored=True)
    size = {"width": width, "height": 700}
    page = open_page(path, viewport=size).page
    for view in VIEWS:
        put(page, view=view)
        page.locator(f'[data-view="{view}"]').wait_for()
        for kind in ("table", "python"):
            for tool in page.locator(f'[data-view="{view}"] [data-tool="{kind}"]').all():
                tool.click()
            page.wait_for_timeout(80)
            assert sideways(page) <= 0, (view, kind)


def test_a_hostile_name_stays_text(small_model, picture: Image.Image, tmp_path: Path, open_page):
    photo = tmp_path / HOSTILE
    picture.save(photo, format="JPEG")
    model = type(small_model)(small_model.config, name="m")
    labels = (HOSTILE, "<script>alert(2)</script>", "c", "d", "e", "f", "g")
    model.preprocessing = replace(model.preprocessing, classes=labels)
    opened = open_page(explore(model, photo, size=32).save(tmp_path / "report.html"))
    page = opened.page
    assert HOSTILE in page.locator("h1").text_content()
    assert page.title().startswith(HOSTILE)
    names = page.locator(".bars .name").all_text_contents()
    assert names
    assert set(names) <= set(labels)
    for view in VIEWS:
        put(page, view=view)
        page.wait_for_timeout(100)
        assert page.locator("img").count() == 0
    assert opened.console == []
    assert opened.outside == [(tmp_path / "report.html").as_uri()]


def test_an_untrained_model_says_so_and_a_trained_one_does_not(saved, open_page, small_model):
    path, _ = saved()
    page = open_page(path).page
    assert "Untrained weights" in page.locator("[data-untrained]").text_content()
    trained = type(small_model)(small_model.config, name="m")
    trained.preprocessing = replace(trained.preprocessing, trained=True)
    path, report = saved(model=trained)
    page = open_page(path).page
    assert page.locator("[data-untrained]").count() == 0
    assert report.trace.model.sha256 in page.locator("[data-provenance]").text_content()


LINKS = [
    {"view": "canvas", "block": 3, "token": 61, "head": 1, "shift": 0.5},
    {"view": "heads", "block": 1, "token": 17, "head": 0, "sort": "entropy"},
    {"view": "reach", "block": 2, "token": 5, "cls": 3},
    {"view": "cost", "size": 512, "window": 8},
    {"view": "merge", "block": 3, "token": 40, "step": -1},
]


@pytest.mark.parametrize("wish", LINKS, ids=[wish["view"] for wish in LINKS])
def test_a_link_shows_the_same_view(saved, open_page, wish: dict) -> None:
    path, _ = saved()
    page = open_page(path).page
    put(page, **wish)
    page.wait_for_timeout(500)
    read = f"() => Object.fromEntries(Object.entries({APP}.state).map(([n, v]) => [n, v.value]))"
    before = page.evaluate(read)
    again = open_page(path, fragment="#" + page.url.split("#")[1]).page
    assert again.evaluate(read) == before
    assert before.items() >= wish.items()


def test_an_odd_address_does_no_harm(saved, open_page) -> None:
    path, _ = saved()
    for odd in ("#block=99&token=-3&head=x", "#%", "#block=0&token=99999&head=77&view=nothing"):
        opened = open_page(path, fragment=odd)
        assert opened.console == []
        assert opened.page.locator("[data-canvas]").count() == 1


def test_another_block_keeps_the_place_in_the_photo(saved, open_page) -> None:
    path, report = saved()
    page = open_page(path).page
    choose(page, 0, 10 * report.trace.blocks[0].spatial[1] + 20)
    page.locator('[data-bead="3"]').click()
    assert divmod(state(page, "token"), report.trace.blocks[3].spatial[1]) == (5, 10)
    painted(page, 3, state(page, "token"))


def test_nothing_moves_under_reduced_motion(saved, open_page) -> None:
    path, _ = saved()
    page = open_page(path, reduced_motion="reduce").page
    for view in VIEWS:
        put(page, view=view)
        page.wait_for_timeout(80)
        moving = page.evaluate(
            """() => [...document.querySelectorAll('*')].filter((e) => {
                 const s = getComputedStyle(e);
                 const lasts = (times) => times.split(',').some((time) => parseFloat(time) > 0);
                 return s.animationName !== 'none' || lasts(s.transitionDuration);
               }).length"""
        )
        assert moving == 0, view
    assert page.evaluate(f"{APP}.reduced") is True


def test_the_notebooks_frame_works_too(saved, open_page, tmp_path: Path) -> None:
    _, report = saved()
    assert isinstance(report, Report)
    host = tmp_path / "notebook.html"
    host.write_text(
        "<!doctype html><html data-ready=true><title>n</title>" + report._repr_html_(),
        encoding="utf-8",
    )
    opened = open_page(host)
    frame = opened.page.frame_locator("iframe")
    frame.locator("html[data-ready=true]").wait_for()
    assert frame.locator("[data-bead]").count() == len(report.trace.blocks)
    assert opened.console == []


def test_a_report_without_scripts_says_what_to_do(saved, browser) -> None:
    path, _ = saved((2, 2))
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert "Switch JavaScript on" in page.locator("body").inner_text()
    context.close()


def test_the_live_region_is_filled(saved, open_page) -> None:
    path, _ = saved()
    page = open_page(path).page
    live = page.locator("[data-live]")
    assert live.get_attribute("aria-live") == "polite"
    page.evaluate(f"{APP}.say('Hello <b>there</b>')")
    until(page, "document.querySelector('[data-live]').textContent === 'Hello <b>there</b>'")
