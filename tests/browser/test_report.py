"""The report in a real browser: sealed, right in its numbers, open to everyone."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.pages import choose, click, compare, facts, numbers, until
from vitrail.explorer import Report, explore

HOSTILE = "<img src=x onerror=alert(1)>.png"
# Windows and patches divide; neither do; one token.
SIZES = [(32, 48), (27, 43), (2, 2)]


def test_it_asks_for_nothing_and_complains_of_nothing(saved, open_page) -> None:
    path, _ = saved()
    opened = open_page(path)
    page = opened.page
    for step in range(page.locator("#steps button").count()):
        page.locator("#steps button").nth(step).click()
    for bead in page.locator(".bead").all():
        bead.click()
    page.locator("#heads button").nth(1).click()
    page.locator("#as-rolled").click()
    page.locator("#pixels").check()
    page.wait_for_timeout(400)
    assert opened.console == []
    outside = [url for url in opened.requests if not url.startswith(("data:", "blob:"))]
    assert outside == [path.as_uri()]


def test_the_policy_stops_what_it_should(saved, open_page) -> None:
    path, _ = saved()
    opened = open_page(path)
    blocked = opened.page.evaluate(
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


@pytest.mark.parametrize("size", SIZES)
def test_a_click_shows_the_captured_numbers(saved, open_page, size: tuple[int, int]) -> None:
    path, report = saved(size)
    page = open_page(path).page
    for index, block in enumerate(report.trace.blocks):
        last = tuple(n - 1 for n in block.spatial)
        position = last
        for position in [(0, 0), tuple(n // 2 for n in last), last]:
            choose(page, index, block, position)
            compare(numbers(page), block, position, None)
        head = block.heads - 1
        page.locator("#heads button").nth(head + 1).click()
        compare(numbers(page), block, position, head)
        page.locator("#heads button").first.click()


def test_every_row_that_is_decoded_sums_to_one_and_is_right(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = open_page(path).page
    for index, block in enumerate(report.trace.blocks):
        for head in range(-1, block.heads):
            rows = page.evaluate(
                """async ([index, head]) => {
                  const block = await loadBlock(index);
                  return [...block.grid.slotOf].map((slot) => [...weights(block, slot, head)]);
                }""",
                [index, head],
            )
            decoded = np.array(rows)
            assert np.abs(decoded.sum(-1) - 1).max() < 1e-9
            everywhere = np.ndindex(*block.spatial)
            expected = [block.row(p, None if head < 0 else head).numpy() for p in everywhere]
            assert np.abs(decoded - np.stack(expected)).max() <= 2e-3


def test_masked_and_padding_keys_are_told_apart(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = open_page(path).page
    block = report.trace.blocks[1]
    assert block.kind == "SW"
    choose(page, 1, block, (0, 0))
    numbers(page)
    kinds = page.locator("#all-keys tr").evaluate_all("rows => rows.map(row => row.className)")
    group, _ = block.locate((0, 0))
    index = block.groups.k_index[group].tolist()
    allowed = block.pattern.allowed(block.spatial)[0]
    expected = ["seen" if i >= 0 and bool(allowed[i]) else "masked" for i in index]
    assert kinds == expected
    padding = sum(i < 0 for i in index)
    told = re.findall(r"\d+", facts(page)["keys"])
    assert list(map(int, told)) == [
        expected.count("seen"), expected.count("masked") - padding, padding
    ]  # fmt: skip


def test_a_wrapped_window_is_shown_as_its_parts(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path).page
    block = report.trace.blocks[1]
    choose(page, 1, block, (0, 0))
    told = facts(page)
    assert told["keys"] == "4 seen, 12 masked"
    assert told["window"] == "24 of 24, part 4 of 4"


def test_padding_that_a_model_sees_is_shown(saved, open_page, small_model) -> None:
    model = type(small_model)(replace(small_model.config, padding="visible"), name="peer")
    path, report = saved((27, 43), model=model)
    page = open_page(path).page
    block = report.trace.blocks[0]
    last = tuple(n - 1 for n in block.spatial)
    choose(page, 0, block, last)
    leak = 1 - float(block.attends(last).sum())
    assert float(facts(page)["to padding"].rstrip(" %")) == pytest.approx(100 * leak, abs=1)
    assert "take part" in page.locator("#block-text").text_content()


def test_the_rolled_arrangement_is_the_one_that_is_computed(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path).page
    block = report.trace.blocks[1]
    page.locator(".bead").nth(1).click()
    page.locator("#as-rolled").click()
    across = block.spatial[1] // 4
    for group, key in [(0, 0), (across - 1, 5), (2 * across + 1, 14), (4 * across - 1, 10)]:
        place = (group // across * 4 + key // 4, group % across * 4 + key % 4)
        click(page, block, place)
        token = int(block.groups.q_index[group, key])
        assert page.evaluate("state.token") == token
        position = (token // block.spatial[1], token % block.spatial[1])
        compare(numbers(page), block, position, None)


def test_colours_follow_the_weights(saved, open_page) -> None:
    path, report = saved()
    page = open_page(path).page
    block = report.trace.blocks[0]
    choose(page, 0, block, (5, 6))
    page.evaluate("state.strength = 1; show()")
    weights = block.attends((5, 6))
    best = divmod(int(weights.argmax()), block.spatial[1])
    assert best != (5, 6)
    pixel = """([y, x, rows, columns]) => {
      const canvas = byId('canvas');
      const [h, v] = [(x + .5) / columns * canvas.width, (y + .5) / rows * canvas.height];
      const at = [Math.floor(h), Math.floor(v)];
      return [...canvas.getContext('2d').getImageData(...at, 1, 1).data];
    }"""
    assert page.evaluate(pixel, [*best, *block.spatial]) == [253, 231, 37, 255]


def test_the_keyboard_reaches_every_token_and_block(saved, open_page) -> None:
    path, report = saved((28, 44))
    page = open_page(path, fragment="#block=0&token=0&head=mean").page
    page.locator("#canvas").focus()

    def press(*keys: str) -> tuple[int, int]:
        for key in keys:
            page.keyboard.press(key)
        return divmod(page.evaluate("state.token"), page.evaluate("block.spatial[1]"))

    rows, columns = report.trace.blocks[0].spatial
    assert press("ArrowUp", "ArrowLeft") == (0, 0)
    assert press("ArrowDown", "ArrowDown", "ArrowRight") == (2, 1)
    assert press("End") == (2, columns - 1)
    assert press("ArrowRight") == (2, columns - 1)
    assert press("Home") == (2, 0)
    assert press(*["ArrowDown"] * rows) == (rows - 1, 0)
    page.keyboard.press("PageDown")
    until(page, "block.index === 1")
    until(page, "byId('live').textContent.includes('block 2, shifted windows')")
    live = page.locator("#live")
    assert live.get_attribute("aria-live") == "polite"
    assert f"row {rows} of {rows}, column 1 of {columns}" in live.text_content()
    page.keyboard.press("PageUp")
    until(page, "block.index === 0")
    assert page.evaluate("document.activeElement.id") == "canvas"


def test_every_control_has_a_name_and_can_be_tabbed_to(saved, open_page) -> None:
    path, _ = saved()
    page = open_page(path).page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, canvas[tabindex], summary')]
             .filter((e) => !e.getAttribute('aria-label') && !e.textContent.trim()
                            && !e.closest('label'))
             .map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"canvas", "as-photo", "as-rolled", "strength", "pixels", "bead w", "bead sw"} <= reached


def test_a_finger_chooses_a_token(saved, open_page) -> None:
    path, report = saved()
    options = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    page = open_page(path, fragment="#block=0&token=0&head=mean", **options).page
    box = page.locator("#canvas").bounding_box()
    rows, columns = report.trace.blocks[0].spatial
    canvas = page.locator("#canvas")
    canvas.tap(position={"x": 6.5 / columns * box["width"], "y": 3.5 / rows * box["height"]})
    assert page.evaluate("state.token") == 3 * columns + 6


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (320, "dark"), (768, "light")])
def test_nothing_scrolls_sideways(saved, open_page, width: int, scheme: str) -> None:
    path, _ = saved((27, 43), name="a_photo_with_a_very_long_name_without_any_space_in_it.jpeg")
    size = {"width": width, "height": 700}
    page = open_page(path, viewport=size, color_scheme=scheme).page
    for step in range(page.locator("#steps button").count()):
        page.locator("#steps button").nth(step).click()
        page.evaluate("byId('all').open = true; show()")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, step


def test_a_hostile_name_stays_text(small_model, picture: Image.Image, tmp_path: Path, open_page):
    photo = tmp_path / HOSTILE
    picture.save(photo, format="JPEG")
    model = type(small_model)(small_model.config, name="m")
    labels = (HOSTILE, "<script>alert(2)</script>", "c", "d", "e", "f", "g")
    model.preprocessing = replace(model.preprocessing, classes=labels)
    report = explore(model, photo, size=32)
    opened = open_page(report.save(tmp_path / "report.html"))
    page = opened.page
    assert HOSTILE in page.locator("h1").text_content()
    assert page.title().startswith(HOSTILE)
    assert page.locator(".classes .name").first.text_content() in labels
    assert page.locator("img").count() == 2
    assert opened.console == []


def test_an_untrained_model_says_so_and_a_trained_one_does_not(saved, open_page, small_model):
    path, _ = saved()
    page = open_page(path).page
    assert page.locator("#untrained").is_visible()
    assert "Untrained weights" in page.locator("#untrained").text_content()
    trained = type(small_model)(small_model.config, name="m")
    trained.preprocessing = replace(trained.preprocessing, trained=True)
    path, report = saved(model=trained)
    page = open_page(path).page
    assert not page.locator("#untrained").is_visible()
    assert report.trace.model.sha256 in page.locator("#provenance").text_content()


def test_the_address_keeps_the_view(saved, open_page) -> None:
    path, report = saved()
    page = open_page(path).page
    choose(page, 3, report.trace.blocks[3], (5, 7))
    page.locator("#heads button").nth(2).click()
    page.locator("#as-rolled").click()
    fragment = "#" + page.url.split("#")[1]
    again = open_page(path, fragment=fragment).page
    assert again.evaluate("[state.block, state.token, state.head, state.rolled]") == [
        3, 5 * report.trace.blocks[3].spatial[1] + 7, 1, True
    ]  # fmt: skip
    for odd in ("#block=99&token=-3&head=x", "#%", "#block=0&token=99999&head=77"):
        opened = open_page(path, fragment=odd)
        assert opened.console == []
        assert opened.page.locator("#facts dd").count() > 5


def test_the_steps_tell_the_story_of_this_model(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = open_page(path).page
    steps = page.locator("#steps button")
    assert [t[1:] for t in steps.all_text_contents()] == [
        "Photo", "Patches", "Windows", "Shift", "Mask", "Merge", "Answer"
    ]  # fmt: skip
    said = []
    for i in range(7):
        steps.nth(i).click()
        until(page, f"state.step === {i} && block.index === steps[{i}].block")
        said.append((page.locator("#step-text").text_content() or "").replace("\u00a0", " "))
    assert "27 × 43 pixels" in said[0]
    assert "14 × 22 = 308 tokens" in said[1]
    assert f"{report.trace.blocks[0].pattern.pairs((14, 22)):,}" in said[2]
    assert "around it" not in said[1]
    assert "2 × 2 tokens" in said[3]
    assert "14 × 22 become 7 × 11" in said[5]
    label, _ = report.top(1)[0]
    assert label in said[6]
    assert page.locator("#steps [aria-current=step]").count() == 1


def test_overlapping_patches_are_told(saved, open_page, small_model) -> None:
    model = type(small_model)(replace(small_model.config, patch_overlap=(1, 1)), name="m")
    path, _ = saved(model=model)
    page = open_page(path).page
    page.locator("#steps button").nth(1).click()
    until(page, "state.step === 1")
    assert "and of the 1 pixel around it" in page.locator("#step-text").text_content()


def test_nothing_moves_under_reduced_motion(saved, open_page) -> None:
    path, _ = saved()
    page = open_page(path, reduced_motion="reduce").page
    moving = page.evaluate(
        """() => [...document.querySelectorAll('*')].filter((e) => {
             const s = getComputedStyle(e);
             const lasts = (times) => times.split(',').some((time) => parseFloat(time) > 0);
             return s.animationName !== 'none' || lasts(s.transitionDuration);
           }).length"""
    )
    assert moving == 0


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
    assert frame.locator("#facts dd").count() > 5
    assert opened.console == []
