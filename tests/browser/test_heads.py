"""Every head: its numbers, its order, its parts, and what is said where heads are not kept."""

from typing import Any

import numpy as np
import pytest

from tests.browser.pages import put, state, until
from tests.mechanisms import MECHANISMS
from vitrail.explain import attention_stats
from vitrail.explorer import blocks as stored

HEADS = "#view=heads&block={}&token=0&head=mean&step=off"
STATS = ("distance", "entropy", "self", "padding", "wrap")


def opened_at(open_page, path, block: int = 1, **options: Any):
    opened = open_page(path, fragment=HEADS.format(block), **options)
    opened.page.wait_for_selector('[data-figure="heads"] .multiple')
    return opened


def order(page: Any) -> list[int]:
    heads = page.locator('[data-figure="heads"] [data-head]')
    return heads.evaluate_all("all => all.map((e) => Number(e.dataset.head)).filter((h) => h >= 0)")


def table(page: Any) -> list[dict[str, str]]:
    page.locator('[data-figure="heads"] [data-tool="table"]').click()
    page.wait_for_selector('[data-figure="heads"] tr[data-heads]')
    return page.locator('[data-figure="heads"] tr[data-heads]').evaluate_all(
        "rows => rows.map(row => ({...row.dataset}))"
    )


@pytest.mark.parametrize("name", ["swin_v2", "vit", "focal"])
def test_every_head_is_what_was_captured(name: str, saved, open_page) -> None:
    path, report = saved((21, 31), model=MECHANISMS[name](), name=name)
    opened = opened_at(open_page, path, len(report.trace.blocks) - 1)
    page = opened.page
    block = report.trace.blocks[-1]
    position: Any = 0 if block.pattern.prefix else (0, 0)
    expected = np.stack([block.row(position, head).numpy() for head in range(block.heads)])
    rows = table(page)
    assert [int(row["token"]) for row in rows] == block.groups.k_index[
        block.locate(position)[0]
    ].tolist()
    weights = np.array([[float(w) for w in row["heads"].split()] for row in rows]).T
    assert weights.shape == expected.shape
    assert np.abs(weights - expected).max() <= 2e-3
    assert order(page) == list(range(block.heads))
    assert opened.console == []


def test_the_five_statistics_are_pythons(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = opened_at(open_page, path).page
    expected = attention_stats(report.trace.blocks[1]).numpy()
    values = page.locator("[data-stats-head]").evaluate_all(
        """rows => rows.map((row) => {
             const cells = [...row.querySelectorAll('[data-value]')];
             return [row.dataset.statsHead, ...cells.map((cell) => cell.dataset.value)].map(Number);
           })"""
    )
    for head, *facts in values:
        assert facts == pytest.approx(expected[int(head)].tolist(), rel=1e-5, abs=1e-6)
    assert len(values) == report.trace.blocks[1].heads


@pytest.mark.parametrize("by", ["distance", "entropy"])
def test_heads_are_sorted_by_the_chosen_order(saved, open_page, by: str) -> None:
    path, report = saved((32, 48))
    page = opened_at(open_page, path, 3).page
    expected = np.argsort(attention_stats(report.trace.blocks[3]).numpy()[:, STATS.index(by)])
    page.locator(f'[data-choice="{by}"]').click()
    assert order(page) == expected.tolist()
    assert state(page, "sort") == by
    page.locator('[data-choice="index"]').click()
    assert order(page) == list(range(report.trace.blocks[3].heads))


def test_choosing_a_head_chooses_it_everywhere(saved, open_page) -> None:
    path, _ = saved((32, 48))
    page = opened_at(open_page, path).page
    page.locator('[data-figure="heads"] [data-head="1"]').focus()
    page.keyboard.press("Enter")
    assert state(page, "head") == 1
    assert page.locator('[data-stats-head="1"]').get_attribute("class") == "chosen"
    page.locator('[data-tab="canvas"]').click()
    drawn = "document.querySelector('[data-canvas]')?.dataset.painted"
    until(page, f"{drawn} === '1 0 1'")
    assert page.locator('.strip [data-head="1"]').get_attribute("aria-pressed") == "true"


def test_a_scores_two_parts_are_distinguished(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = opened_at(open_page, path).page
    token = 3 * 24 + 5
    put(page, token=token)
    until(
        page,
        "document.querySelector('[data-figure=\"heads\"] h3').textContent.includes('row 4 of')",
    )
    block = report.trace.blocks[1]
    assert block.bias is not None
    group, query = block.locate((3, 5))
    seen = (block.groups.labels[0][group, query] == block.groups.labels[1][group]).numpy()
    for head in range(block.heads):
        bias = block.bias.reshape(-1, *block.bias.shape[-3:])[0, head, query].numpy()[seen]
        weights = block.row((3, 5), head).numpy()[seen]
        data = np.log(weights) - bias
        most = max(np.abs(part - part.mean()).max() for part in (bias, data))
        facts = page.locator(f'[data-figure="heads"] [data-head="{head}"] .terms')
        # Weights travel in 8 bits: a small one's logarithm is not exact.
        assert float(facts.get_attribute("data-most")) == pytest.approx(most, rel=0.15, abs=0.05)
    assert "constant" in page.locator('[data-figure="heads"] figcaption').text_content()


def test_heads_that_are_not_kept_are_said_plainly(saved, open_page, monkeypatch) -> None:
    monkeypatch.setattr(stored, "PER_HEAD", 0)
    path, report = saved((32, 48), name="means")  # reports are kept by name
    opened = opened_at(open_page, path)
    page = opened.page
    said = page.locator("[data-no-heads]").text_content() or ""
    assert f"{report.trace.blocks[1].heads} heads" in said
    assert "--serve" in said
    assert "--size" in said
    assert order(page) == []
    assert page.locator('[data-figure="heads"] [data-head="-1"]').count() == 1
    assert page.locator("[data-stats-head]").count() == report.trace.blocks[1].heads
    page.locator('[data-tab="canvas"]').click()
    page.wait_for_selector(".strip [data-head]")
    assert page.locator(".strip [data-head]").count() == 1
    assert opened.console == []
