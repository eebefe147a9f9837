"""The audit: areas, leaks and sums are the trace's own, and a failed check shows."""

from dataclasses import replace

import numpy as np
import pytest

from tests.browser.pages import open_table, put, until
from vitrail.explain import attention_stats


def auditing(open_page, path, **options):
    opened = open_page(path, fragment="#view=audit&step=off", **options)
    until(opened.page, "document.querySelector('[data-check=decoded]')?.dataset.passed === 'true'")
    return opened


def leak_table(page) -> np.ndarray:
    open_table(page, "leaks")
    cells = page.locator("[data-figure=leaks] tbody tr[data-leak]").evaluate_all(
        "r => r.map(e => [Number(e.cells[2].textContent), Number(e.cells[3].textContent)])"
    )
    return np.array(cells)


def test_every_stored_row_is_decoded_and_sums_to_one(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = auditing(open_page, path).page
    count = sum(int((block.groups.q_index >= 0).sum()) for block in report.trace.blocks)
    assert f"{count:,} rows" in page.locator("[data-check=decoded]").text_content()


def test_every_check_of_the_trace_is_listed_as_it_went(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = auditing(open_page, path).page
    shown = page.locator("[data-check]").evaluate_all(
        "e => e.map(x => [x.dataset.check, x.dataset.passed])"
    )
    words = {True: "true", False: "false", None: "null"}
    expected = [[check["id"], words[check["passed"]]] for check in report.manifest["checks"]]
    assert shown == [*expected, ["decoded", "true"]]
    assert report.trace.model.sha256 in page.locator("[data-check=provenance]").text_content()


def test_padding_that_a_model_sees_is_shown_by_block_and_head(
    saved, open_page, small_model
) -> None:
    model = type(small_model)(replace(small_model.config, padding="visible"), name="peer")
    model.load_state_dict(small_model.state_dict())
    path, report = saved((27, 43), model=model.eval())
    page = auditing(open_page, path).page
    stats = [attention_stats(block) for block in report.trace.blocks]
    expected = np.concatenate([np.asarray(numbers)[:, 3:5] for numbers in stats])
    assert expected[:, 0].max() > 0.01
    assert np.abs(leak_table(page) - expected).max() <= 1e-5
    worst = [float(np.asarray(numbers)[:, 3].max()) for numbers in stats]
    shown = dict(
        page.locator(".leak-table tr[data-block]").evaluate_all(
            "r => r.map(e => [Number(e.dataset.block),"
            " Number(e.querySelector('[data-leak=padding]').dataset.worst)])"
        )
    )
    for block, most in shown.items():
        assert most == pytest.approx(worst[block], abs=1e-6)
    assert set(shown) == {block for block, most in enumerate(worst) if most > 0}
    assert page.locator("[data-check=padding]").get_attribute("data-passed") == "false"


def test_nothing_leaks_where_padding_is_masked(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = auditing(open_page, path).page
    text = page.locator("[data-figure=leaks]").text_content()
    assert "No head gives any weight to padding" in text
    assert np.abs(leak_table(page)).max() == 0
    assert len(leak_table_rows(page)) == sum(block.heads for block in report.trace.blocks)


def leak_table_rows(page) -> list[str]:
    return page.locator("[data-figure=leaks] tbody tr[data-leak]").all_text_contents()


def test_areas_are_those_under_the_drawn_curves(saved, open_page) -> None:
    path, report = saved((32, 48), scored=True)
    page = auditing(open_page, path).page
    found = report.manifest["faithfulness"]
    rows = page.locator("[data-scores] tr[data-method]").evaluate_all(
        "r => r.map(e => [e.dataset.method, Number(e.dataset.deletion),"
        " Number(e.dataset.insertion)])"
    )
    shown = {method: areas for method, *areas in rows}
    curves = [*found["curves"], found["centre"], {**found["random"], "method": "random"}]
    assert set(shown) == {curve["method"] for curve in curves}
    for curve in curves:
        drawn = report.arrays.get(curve["array"])
        areas = np.trapezoid(drawn, found["steps"], axis=1)
        assert np.abs(np.array(shown[curve["method"]]) - areas).max() <= 2e-3
    chosen = page.locator("[data-scores] tr.chosen").get_attribute("data-method")
    mine, random = shown[chosen], shown["random"]
    better = mine[0] < random[0] and mine[1] > random[1]
    said = page.locator("[data-verdict]")
    assert said.get_attribute("data-verdict") == str(better).lower()
    assert ("better than random orders, both ways" in said.text_content()) == better


def test_a_model_without_classes_says_why_nothing_was_scored(saved, open_page, small_model) -> None:
    model = type(small_model)(
        replace(small_model.config, out_indices=(0, 1)), name="features"
    ).eval()
    path, _ = saved((32, 48), model=model, scored=None)
    page = auditing(open_page, path).page
    assert "no classes" in page.locator("[data-unscored]").text_content()


@pytest.mark.parametrize("width", [320, 1240])
def test_no_word_of_a_chart_is_cut(saved, open_page, width: int) -> None:
    path, _ = saved((32, 48), scored=True)
    page = open_page(path, viewport={"width": width, "height": 900}).page
    for view in ("audit", "cost"):
        put(page, view=view)
        page.locator(f'[data-view="{view}"] .chart text').first.wait_for()
        page.wait_for_timeout(150)
        cut = page.evaluate(
            """() => [...document.querySelectorAll('.chart svg')].flatMap((svg) => {
                 const frame = svg.getBoundingClientRect();
                 return [...svg.querySelectorAll('text')].filter((text) => {
                   const box = text.getBoundingClientRect();
                   return box.left < frame.left - 1 || box.right > frame.right + 1;
                 }).map((text) => text.textContent);
               })"""
        )
        assert cut == [], view
    named = page.locator(".chart .letters li").count()
    assert (named > 0) == (width == 320), "where names have no room, letters stand for them"
