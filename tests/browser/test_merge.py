"""The merge lens: which tokens become one, what each gives, and why some never merge."""

from typing import Any

import numpy as np
import pytest

from tests.browser.pages import put, state, until
from tests.mechanisms import MECHANISMS

MERGE = "#view=merge&block={}&token={}&step=off"


def opened_at(open_page, path, block: int, token: int = 0, **options: Any):
    opened = open_page(path, fragment=MERGE.format(block, token), **options)
    opened.page.wait_for_selector("[data-view=merge] h2")
    return opened


def children(page: Any) -> list[dict[str, str]]:
    button = page.locator('[data-figure="merge"] [data-tool="table"]')
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    page.wait_for_selector('[data-figure="merge"] tr[data-token]')
    return page.locator('[data-figure="merge"] tr[data-token]').evaluate_all(
        "rows => rows.map(row => ({...row.dataset}))"
    )


def chosen(page: Any, parent: tuple[int, int]) -> None:
    until(page, f"document.querySelector('[data-footprint=\"{parent[0]},{parent[1]}\"]') !== null")


@pytest.mark.parametrize("name", ["swin", "swin_v2", "pvt", "pvt_v2", "focal", "axial_tiny"])
def test_children_and_shares_are_what_was_captured(name: str, saved, open_page) -> None:
    path, report = saved((21, 31), model=MECHANISMS[name](), name=name)
    merge, block = report.trace.merges[0], report.trace.blocks
    first = next(i for i, one in enumerate(block) if one.stage == merge.stage)
    prefix, below = block[first].pattern.prefix, block[0].pattern.prefix
    opened = opened_at(open_page, path, first, prefix)
    page = opened.page
    assert merge.share is not None
    for parent in [(0, 0), tuple(n - 1 for n in merge.after)]:
        put(page, token=prefix + parent[0] * merge.after[1] + parent[1])
        chosen(page, parent)
        page.wait_for_timeout(100)
        rows = children(page)
        shares = np.array([float(row["weight"]) for row in rows])
        expected = merge.share[parent].flatten().numpy()
        assert np.abs(shares - expected).max() <= 5e-3
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        for child, row in enumerate(rows):
            y = parent[0] * merge.factor[0] + child // merge.factor[1]
            x = parent[1] * merge.factor[1] + child % merge.factor[1]
            inside = y < merge.before[0] and x < merge.before[1]
            assert int(row["token"]) == (below + y * merge.before[1] + x if inside else -1)
    overlap = report.manifest["stages"][merge.stage]["merge"]["overlap"]
    facts = page.locator("[data-view=merge] .note").first.text_content() or ""
    assert ("overlaps" in facts) == any(overlap)
    assert opened.console == []


def test_some_merge_overlaps(saved) -> None:
    """What the test above checks of the words holds for both kinds of merge."""
    _, overlapping = saved((21, 31), model=MECHANISMS["pvt_v2"]())
    assert any(overlapping.manifest["stages"][1]["merge"]["overlap"])
    _, plain = saved((21, 31), model=MECHANISMS["swin"]())
    assert not any(plain.manifest["stages"][1]["merge"]["overlap"])


def test_a_token_of_the_first_stage_shows_the_merge_that_it_goes_into(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = opened_at(open_page, path, 0, 5 * 24 + 9).page
    chosen(page, (2, 4))
    assert page.locator(".shares .own").get_attribute("data-child") == "3"
    assert "cut from the photo" in (
        page.locator("[data-view=merge] .note").first.text_content() or ""
    )
    assert report.trace.merges[0].after == (8, 12)


def test_a_click_and_arrows_choose_another_token(saved, open_page) -> None:
    path, _ = saved((32, 48))
    page = opened_at(open_page, path, 2).page
    chosen(page, (0, 0))
    canvas = page.locator("[data-footprint]")
    box = canvas.bounding_box()
    canvas.click(position={"x": 7.5 / 12 * box["width"], "y": 3.5 / 8 * box["height"]})
    chosen(page, (3, 7))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    chosen(page, (4, 6))
    assert state(page, "token") == 4 * 12 + 6
    page.locator('[data-tool="python"]').first.click()
    assert "merge.share[4, 6]" in (page.locator("[data-python]").first.text_content() or "")


def test_a_model_that_never_merges_says_so(saved, open_page) -> None:
    path, _ = saved((21, 31), model=MECHANISMS["vit"]())
    opened = opened_at(open_page, path, 0, 5)
    said = opened.page.locator("[data-unmerged]").text_content() or ""
    assert "never merges" in said
    put(opened.page, token=0)
    until(
        opened.page,
        "document.querySelector('[data-unmerged]').textContent.includes('prefix token')",
    )
    assert opened.console == []
