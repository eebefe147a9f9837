"""The cost lab: its numbers are the cost functions' own, at the given sizes and nowhere else."""

import math

import pytest

from tests.browser.models import mechanism
from tests.browser.pages import open_table, until
from vitrail.analysis import cost

METRICS = {
    "flops": lambda facts: facts.flops.total,
    "attention": lambda facts: facts.flops.attention,
    "memory": lambda facts: facts.inference_peak,
    "pairs": lambda facts: facts.pairs,
}


def ranking(page) -> dict[str, float]:
    rows = page.locator(".ranking li").evaluate_all(
        "r => r.map(e => [e.dataset.mechanism, Number(e.dataset.value)])"
    )
    return dict(rows)


def opened_at(open_page, path, more: str = "", **options):
    opened = open_page(path, fragment=f"#view=cost&step=off{more}", **options)
    until(opened.page, "document.querySelector('.curves [data-line]') !== null")
    return opened


@pytest.mark.parametrize("metric", list(METRICS))
def test_the_models_own_curve_is_what_cost_says(saved, open_page, small_model, metric: str) -> None:
    path, report = saved((32, 48))
    sizes = report.manifest["cost"]["sizes"]
    page = opened_at(open_page, path, f"&metric={metric}&size={sizes[0]}").page
    slider = page.get_by_label("Image", exact=False).first
    slider.focus()
    for size in sizes[:2]:
        until(page, f"window.vitrail.app.state.size.value === {size}")
        expected = METRICS[metric](cost(small_model, size, training=False))
        assert ranking(page)["this"] == expected
        page.keyboard.press("ArrowRight")
    assert len(ranking(page)) == len(report.manifest["cost"]["mechanisms"])


def test_a_size_between_the_given_ones_is_snapped_and_shown(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = opened_at(open_page, path, "&size=100").page
    sizes = report.manifest["cost"]["sizes"]
    nearest = min(sizes, key=lambda n: abs(math.log(n / 100)))
    assert f"{nearest} is the nearest to 100" in page.locator("[data-figure=cost]").text_content()
    own = next(m for m in report.manifest["cost"]["mechanisms"] if m["id"] == "this")
    assert ranking(page)["this"] == own["flops"][sizes.index(nearest)]


def test_every_line_carries_its_name_and_the_table_every_number(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = opened_at(open_page, path).page
    facts = report.manifest["cost"]
    assert page.locator(".curves [data-line]").count() == len(facts["mechanisms"])
    assert page.locator(".curves svg .name").count() == len(facts["mechanisms"])
    open_table(page, "cost")
    rows = page.locator("[data-figure=cost] tr[data-mechanism]").evaluate_all(
        "r => r.map(e => [e.dataset.mechanism, Number(e.dataset.size), Number(e.dataset.value)])"
    )
    expected = [
        [m["id"], size, value]
        for m in facts["mechanisms"]
        for size, value in zip(facts["sizes"], m["flops"], strict=False)
        if value > 0
    ]
    assert rows == expected


def test_measured_points_are_drawn_over_the_lines(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = opened_at(open_page, path, "&metric=time").page
    measured = report.manifest["cost"]["measured"]
    assert measured
    dots = page.locator(".curves [data-dot]")
    assert dots.count() == len(measured)
    title = dots.first.locator("title").text_content()
    assert "measured" in title
    assert str(measured[0]["size"]) in title
    assert page.locator(".curves [data-line=this].dashed").count() == 0
    assert page.locator(".curves [data-line].dashed").count() > 0


def test_windows_and_stages_are_the_manifests(saved, open_page, small_model) -> None:
    path, report = saved((27, 43))
    page = opened_at(open_page, path).page
    facts = report.manifest["cost"]
    shown = page.locator(".windows tr[data-window]").evaluate_all(
        "r => r.map(e => Number(e.dataset.window))"
    )
    assert shown == [row["window"] for row in facts["windows"]]
    own = next(row for row in facts["windows"] if row["window"] == 4)
    here = cost(small_model, (27, 43), training=False)
    assert own["flops"] == here.flops.total
    assert own["padding"] == pytest.approx(here.waste)
    assert page.locator(".windows tr.chosen").get_attribute("data-window") == "4"
    open_table(page, "stages")
    cells = page.locator("[data-figure=stages] tr[data-stage]").evaluate_all(
        "r => r.map(e => [...e.cells].map(c => Number(c.textContent)))"
    )
    for at, (row, stage) in enumerate(zip(cells, here.stages, strict=True)):
        flops = stage.flops
        parts = [flops.attention, flops.projections, flops.mlp, flops.rest]
        expected = [at + 1, stage.tokens, stage.dim, *parts, stage.pairs]
        assert row[:8] == [pytest.approx(n, rel=1e-5) for n in expected]


def test_the_address_keeps_what_is_counted(saved, open_page) -> None:
    path, _ = saved((32, 48))
    page = opened_at(open_page, path).page
    page.locator("[data-choice=pairs]").click()
    until(page, "location.hash.includes('metric=pairs')")
    again = open_page(path, fragment="#" + page.url.split("#")[1]).page
    until(again, "document.querySelector('[data-choice=pairs][aria-pressed=true]') !== null")


@pytest.mark.parametrize("name", ["pvt_v2", "vit", "axial_tiny", "sparse_tiny", "focal_fast"])
def test_every_mechanism_has_its_costs(saved, open_page, name: str) -> None:
    path, report = saved((27, 43), model=mechanism(name))
    opened = opened_at(open_page, path, viewport={"width": 320, "height": 700})
    page = opened.page
    assert page.locator(".spent [data-stage]").count() == len(report.manifest["stages"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert opened.console == []
