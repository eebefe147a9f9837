"""The tour: right in its questions and texts, walked by keyboard, for every mechanism."""

import math

import pytest

from tests.browser.models import mechanism
from tests.browser.pages import until
from vitrail.explain import Trace

AT = "document.querySelector('[data-tour]')?.dataset.step"
STATE = "(name) => window.vitrail.app.state[name].value"


def ids(page) -> list[str]:
    return page.locator("[data-tour-step]").evaluate_all("b => b.map(e => e.dataset.tourStep)")


def walk(page, step: str) -> None:
    page.locator(f"[data-tour-step={step}]").click()
    until(page, f"{AT} === '{step}'")
    until(page, "document.querySelector('.tour-scene canvas')?.width > 10")


def text(page) -> str:
    return (page.locator(".tour-words").text_content() or "").replace("\u00a0", " ")


def may(trace: Trace, block: int, query: int, other: int) -> bool:
    """Tell by the dense oracle, pooled keys included, whether a token may look at another."""
    facts = trace.blocks[block]
    allowed = facts.pattern.allowed(facts.spatial)[query]
    if bool(allowed[other]):
        return True
    groups, prefix = facts.groups, facts.pattern.prefix
    if groups.k_box is None:
        return False
    place = divmod(other - prefix, facts.spatial[1])
    total = prefix + math.prod(facts.spatial)
    for key, box in zip(groups.k_index.flatten(), groups.k_box.view(-1, 4), strict=True):
        y0, y1, x0, x1 = box.tolist()
        inside = y0 <= place[0] < y1 and x0 <= place[1] < x1
        if int(key) >= total and inside and bool(allowed[int(key)]):
            return True
    return False


def test_it_opens_at_its_first_step_and_teaches_without_a_click(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = open_page(path).page
    until(page, f"{AT} === 'image'")
    assert page.evaluate(STATE, "step") == 0
    assert "27 × 43 pixels" in text(page)
    assert report.top(1)[0][0] in text(page)
    # It stands in nobody's way: the picture below works while it is open.
    assert page.locator("[data-view=canvas]").count() == 1
    box = page.locator("[data-tour]").bounding_box()
    assert box["height"] < 360


def test_its_words_are_this_photos(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = open_page(path).page
    assert ids(page) == [
        "image", "patches", "groups", "shift", "mask", "merge", "repeat", "class", "cost"
    ]  # fmt: skip
    walk(page, "patches")
    assert "14 × 22 = 308 tokens" in text(page)
    walk(page, "groups")
    assert f"{report.trace.blocks[0].pattern.pairs((14, 22)):,}" in text(page)
    walk(page, "merge")
    assert "14 × 22 turn into 7 × 11" in text(page)
    assert page.evaluate(STATE, "view") == "merge"
    walk(page, "repeat")
    assert "14 × 22 → 7 × 11" in text(page)
    assert page.evaluate(STATE, "view") == "reach"
    walk(page, "class")
    assert report.top(1)[0][0] in text(page)
    walk(page, "cost")
    pairs = sum(block.pattern.pairs(block.spatial) for block in report.trace.blocks)
    assert f"{pairs:,}" in text(page)
    assert page.evaluate(STATE, "view") == "cost"


@pytest.mark.parametrize(("step", "right"), [("shift", "yes"), ("mask", "no")])
def test_the_question_comes_before_the_answer(saved, open_page, step: str, right: str) -> None:
    path, report = saved((32, 48))
    page = open_page(path).page
    walk(page, step)
    box = page.locator(".quiz")
    quiz = box.evaluate("e => ({...e.dataset})")
    block, query, other = (int(quiz[name]) for name in ("block", "queryToken", "other"))
    assert quiz["answer"] == right
    assert may(report.trace, block, query, other) == (right == "yes")
    assert report.trace.blocks[block].kind == "SW"
    # Neither the words nor the picture show it yet.
    assert page.locator("[data-verdict]").count() == 0
    assert page.locator(".tour-text").count() == 0
    until(page, f"window.vitrail.app.state.token.value === {query}")
    assert page.evaluate(STATE, "block") == 0
    page.locator("[data-reply=yes]").click()
    stated = page.locator("[data-verdict]").text_content()
    assert stated.startswith("Right." if right == "yes" else "Not so.")
    assert page.locator(".tour-text").count() == 1
    until(page, f"window.vitrail.app.state.block.value === {block}")
    assert page.evaluate(STATE, "token") == query
    assert page.evaluate(STATE, "shift") == (1 if step == "mask" else 0)
    until(page, f"document.querySelector('[data-live]').textContent.includes({stated[:20]!r})")


def test_the_first_question_is_about_neighbours_that_a_border_parts(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path).page
    walk(page, "shift")
    quiz = page.locator(".quiz").evaluate("e => ({...e.dataset})")
    query, other = int(quiz["queryToken"]), int(quiz["other"])
    columns = report.trace.blocks[0].spatial[1]
    (y, x), (v, h) = divmod(query, columns), divmod(other, columns)
    assert abs(y - v) + abs(x - h) == 1
    assert not may(report.trace, 0, query, other)
    assert "may not look at its neighbour" in text(page)


def test_the_whole_tour_by_keyboard(saved, open_page) -> None:
    path, _ = saved((32, 48))
    opened = open_page(path)
    page = opened.page
    page.locator("[data-tour-step=image]").focus()
    steps = ids(page)
    for at, step in enumerate(steps):
        until(page, f"{AT} === '{step}'")
        assert page.evaluate(STATE, "step") == at
        until(page, f"document.querySelector('[data-live]').textContent.startsWith('Step {at + 1}')"
              if at else "true")  # fmt: skip
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(50)
    assert page.evaluate(AT) == steps[-1]
    page.keyboard.press("Home")
    until(page, f"{AT} === 'image'")
    page.locator("[data-tour-next]").focus()
    for _ in range(3):
        page.keyboard.press("Enter")
    until(page, f"{AT} === 'shift'")
    until(page, "document.querySelector('.quiz') !== null")
    page.locator("[data-reply=no]").focus()
    page.keyboard.press("Space")
    until(page, "document.querySelector('[data-verdict]') !== null")
    page.keyboard.press("Escape")
    until(page, f"{AT} === undefined")
    assert page.evaluate(STATE, "step") == -1
    page.locator("[data-tour-start]").focus()
    page.keyboard.press("Enter")
    until(page, f"{AT} === 'image'")
    assert opened.console == []


def test_the_address_keeps_the_step(saved, open_page) -> None:
    path, _ = saved((32, 48))
    page = open_page(path).page
    walk(page, "merge")
    until(page, "location.hash.includes('step=5') && location.hash.includes('view=merge')")
    again = open_page(path, fragment="#" + page.url.split("#")[1]).page
    until(again, f"{AT} === 'merge'")
    assert again.evaluate(STATE, "view") == "merge"
    # A step alone selects its own.
    alone = open_page(path, fragment="#step=6").page
    until(alone, "window.vitrail.app.state.view.value === 'reach'")
    closed = open_page(path, fragment="#view=canvas&step=off").page
    assert closed.locator("[data-tour]").count() == 0


# One of each kind of pattern: the steps' words come from the pattern, not from the model.
KINDS = ["swin", "pvt_v2_linear", "vit", "axial_tiny", "sparse_tiny_fixed", "focal"]


@pytest.mark.parametrize("name", KINDS)
def test_it_walks_through_every_mechanism(saved, open_page, name: str) -> None:
    path, report = saved((27, 43), model=mechanism(name))
    opened = open_page(path)
    page = opened.page
    for step in ids(page):
        walk(page, step)
        box = page.locator(".quiz")
        if box.count():
            quiz = box.evaluate("e => ({...e.dataset})")
            pair = int(quiz["queryToken"]), int(quiz["other"])
            right = may(report.trace, int(quiz["block"]), *pair)
            assert quiz["answer"] == ("yes" if right else "no")
            page.locator(f"[data-reply={quiz['answer']}]").click()
            assert page.locator("[data-verdict]").text_content().startswith("Right.")
        assert "undefined" not in text(page) and "NaN" not in text(page)
    assert opened.console == []
