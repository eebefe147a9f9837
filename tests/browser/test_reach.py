"""Reach: what a token could see, fetched from and is moved by, equal to what Python says."""

import io
from typing import Any

import numpy as np
import pytest
import torch

from tests.browser.models import NAMES, mechanism
from tests.browser.pages import put, state, until
from vitrail.analysis import reach
from vitrail.explain import rollout, rollout_stages

# Patches and merges overlap, and perceptrons mix neighbours: the page, which knows neither kernels
# nor perceptrons, follows them to within the overlap, and says so.
OVERLAP = ("pvt_v2", "pvt_v2_linear", "focal_fast")


def looking(open_page, path, block: int, token: int, **options: Any):
    fragment = f"#view=reach&step=off&block={block}&token={token}"
    opened = open_page(path, fragment=fragment, **options)
    settled(opened.page, token)
    return opened


def settled(page, token: int) -> None:
    until(page, f"document.querySelector('[data-query-token=\"{token}\"]') !== null")
    until(page, "document.querySelector('.unfold')?.dataset.fresh === 'true'")
    until(page, "document.querySelector('[data-box]') !== null")


def theory(page) -> tuple[list[int], float]:
    shown = page.locator("[data-box]").evaluate("e => [e.dataset.box, e.dataset.share]")
    return [int(n) for n in shown[0].split()], float(shown[1])


def expected(model, report, block: int, token: int) -> torch.Tensor:
    facts = report.trace.blocks[block]
    place = token - facts.pattern.prefix
    position = divmod(place, facts.spatial[1]) if place >= 0 else token
    return reach(model, report.trace.spatial, facts.stage, facts.block, position)


def test_theory_is_what_the_analysis_says(saved, open_page, small_model) -> None:
    path, report = saved((27, 43))
    page = looking(open_page, path, 0, 0).page
    for block, token in [(0, 0), (1, 0), (1, 150), (2, 40), (3, 76), (3, 5)]:
        put(page, block=block, token=token)
        until(page, f"document.querySelector('[data-query-token=\"{token}\"]') !== null")
        seen = expected(small_model, report, block, token)
        rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
        box = [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]
        until(
            page,
            f"document.querySelector('[data-box]')?.dataset.box === '{' '.join(map(str, box))}'",
        )
        assert theory(page)[1] == pytest.approx(float(seen.double().mean()))


@pytest.mark.parametrize("name", NAMES)
def test_theory_for_every_mechanism(saved, open_page, name: str) -> None:
    model = mechanism(name)
    path, report = saved((27, 43), model=model)
    block = len(report.trace.blocks) - 1
    facts = report.trace.blocks[block]
    token = facts.pattern.prefix + 1
    opened = looking(open_page, path, block, token)
    seen = expected(model, report, block, token)
    _, share = theory(opened.page)
    if name in OVERLAP:
        assert share == pytest.approx(float(seen.double().mean()), abs=0.05)
        assert "to within their overlap" in opened.page.locator("[data-box]").text_content()
    else:
        assert share == pytest.approx(float(seen.double().mean()))
    assert opened.console == []


def test_the_unfolding_counts_every_token_that_gives_something(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = looking(open_page, path, 3, 40).page
    maps = rollout_stages(report.trace, 3, divmod(40, report.trace.blocks[3].spatial[1]))
    shown = page.locator("[data-unfolded][data-count]").evaluate_all(
        "e => e.map(x => [Number(x.dataset.unfolded), Number(x.dataset.count)])"
    )
    assert shown == [
        [stage, int((grid > 0).sum())] for stage, grid in zip((1, 0), maps, strict=True)
    ]


def test_the_rollout_is_pythons_and_can_be_taken_along(saved, open_page) -> None:
    path, report = saved((27, 43))
    page = looking(open_page, path, 3, 40).page
    until(page, "document.querySelector('[data-panel=rollout] [data-tool=npy]') !== null")
    with page.expect_download() as waiting:
        page.locator("[data-panel=rollout] [data-tool=npy]").click()
    with open(waiting.value.path(), "rb") as file:
        shown = np.load(io.BytesIO(file.read()))
    grid = rollout(report.trace, 3, divmod(40, report.trace.blocks[3].spatial[1]))
    assert shown.shape == tuple(grid.shape)
    assert np.abs(shown - grid.numpy()).max() <= 1e-3


def test_the_python_of_every_figure_runs(saved, open_page, small_model) -> None:
    path, report = saved((27, 43), scored=True)
    page = looking(open_page, path, 3, 40).page
    made = {}
    for view in ("reach", "cost", "audit"):
        put(page, view=view)
        until(page, f"document.querySelector('[data-view={view}] [data-tool=python]') !== null")
        page.wait_for_timeout(500)
        for figure in page.locator(f"[data-view={view}] [data-figure]").all():
            button = figure.locator("[data-tool=python]")
            if button.count():
                button.click()
                code = figure.locator("[data-python]").text_content()
                # The first lines open photo and model anew; here they are there already.
                lines = code[code.index("trace = report.trace") :].splitlines()[1:]
                names = {"trace": report.trace, "report": report, "model": small_model}
                exec("\n".join(lines), names)
                made[figure.get_attribute("data-figure")] = names
    position = divmod(40, report.trace.blocks[3].spatial[1])
    assert torch.equal(made["rollout"]["map"], rollout(report.trace, 3, position))
    assert torch.equal(made["could"]["pixels"], expected(small_model, report, 3, 40))
    assert made["erf"]["map"].shape == (27, 43)
    assert made["map"]["map"].ndim == 2
    assert len(made["deletion"]["curve"]) == len(made["deletion"]["found"]["steps"])
    assert len(made["leaks"]["leaks"]) == 4
    assert len(made["unfold"]["maps"]) == len(made["stages"]["stages"]) == 2


def test_keys_and_clicks_choose_the_token_that_unfolds(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = looking(open_page, path, 3, 0, reduced_motion="reduce").page
    rows, columns = report.trace.blocks[3].spatial
    canvas = page.locator("[data-query-token]")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    settled(page, columns + 1)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    settled(page, 1)
    box = canvas.bounding_box()
    canvas.click(position={"x": 4.5 / columns * box["width"], "y": 2.5 / rows * box["height"]})
    settled(page, 2 * columns + 4)
    page.locator(".reach .switch [data-choice='0']").click()
    until(page, "window.vitrail.app.state.block.value === 1")
    # The same place of the photo stays chosen.
    fine = report.trace.blocks[1].spatial[1]
    y, x = divmod(state(page, "token"), fine)
    assert (y // 2, x // 2) == (2, 4)


def test_it_unfolds_step_by_step_and_at_once_where_nothing_may_move(saved, open_page) -> None:
    path, _ = saved((32, 48))
    page = looking(open_page, path, 3, 0, reduced_motion="reduce").page
    shown = "Number(document.querySelector('.unfold').dataset.open)"
    assert page.evaluate(shown) == 4
    page.locator("[data-query-token]").focus()
    page.keyboard.press("ArrowRight")
    settled(page, 1)
    assert page.evaluate(shown) == 4
    for folded in (3, 2, 1):
        page.locator("[data-unfold=back]").click()
        until(page, f"{shown} === {folded}")
    assert page.locator("[data-unfold=back]").is_disabled()
    assert page.locator("[data-unfolded].folded").count() == 3
    page.locator("[data-unfold=next]").click()
    until(page, f"{shown} === 2")
    page.locator("[data-unfold=play]").click()
    until(page, f"{shown} === 4")


def test_a_new_token_unfolds_anew(saved, open_page) -> None:
    path, _ = saved((32, 48))
    page = looking(open_page, path, 3, 0).page
    page.locator("[data-query-token]").focus()
    page.keyboard.press("ArrowRight")
    until(page, "Number(document.querySelector('.unfold').dataset.open) < 4")
    until(page, "Number(document.querySelector('.unfold').dataset.open) === 4")


def test_no_map_comes_without_its_score(saved, open_page) -> None:
    path, report = saved((32, 48), scored=True)
    page = looking(open_page, path, 3, 0).page
    offered = {m["method"] for m in report.manifest["maps"]}
    buttons = page.locator("[data-method-map] .switch [data-choice]")
    assert buttons.count() == len(offered)
    found = report.manifest["faithfulness"]
    scored = {curve["method"]: curve for curve in found["curves"]}
    for i in range(buttons.count()):
        method = buttons.nth(i).get_attribute("data-choice")
        buttons.nth(i).click()
        until(page, f"document.querySelector('[data-method-map]').dataset.methodMap === '{method}'")
        assert page.locator("[data-scored]").count() == 1
        routing = next(m for m in report.manifest["methods"] if m["id"] == method)["layer"]
        tag = page.locator("[data-panel=map] .tag").text_content()
        assert ("routing, not importance" in tag) == (routing == "routing")
        assert (method in scored) == (page.locator("[data-scored=yes]").count() == 1)
        if method in scored:
            row = page.locator(f"[data-scored] tr[data-method='{method}']")
            shown = float(row.locator("[data-deletion]").get_attribute("data-deletion"))
            assert shown == scored[method]["deletion"]
            assert page.locator("[data-scored] tr[data-method=random]").count() == 1
            assert page.locator("[data-scored] tr[data-method=centre]").count() == 1
