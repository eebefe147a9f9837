"""Stages and blocks, always in sight: their sizes, their beads, their colours, the keyboard."""

from typing import Any

import numpy as np
import pytest

from tests.browser.pages import put, state, until
from tests.mechanisms import MECHANISMS

FIRST = "#view=canvas&block=0&token=0&head=mean&step=off"


@pytest.mark.parametrize("name", ["swin", "pvt_v2", "vit", "axial_tiny", "focal"])
def test_it_lists_every_stage_and_block(name: str, saved, open_page) -> None:
    path, report = saved((21, 31), model=MECHANISMS[name](), name=name)
    opened = open_page(path, fragment=FIRST)
    page = opened.page
    stages, blocks = report.manifest["stages"], report.manifest["blocks"]
    for index, stage in enumerate(stages):
        column = page.locator(f'[data-stage="{index}"]')
        spatial, stride = ("x".join(map(str, stage[part])) for part in ("spatial", "stride"))
        assert column.locator("[data-tokens]").get_attribute("data-tokens") == spatial
        assert column.locator("[data-stride]").get_attribute("data-stride") == stride
        assert column.locator("[data-dim]").get_attribute("data-dim") == str(stage["dim"])
        beads = column.locator("[data-bead]")
        numbers = beads.evaluate_all("beads => beads.map((bead) => Number(bead.dataset.bead))")
        assert numbers == stage["blocks"]
        assert beads.all_text_contents() == [blocks[number]["label"] for number in stage["blocks"]]
    assert page.locator('[data-bead][aria-pressed="true"]').count() == 1
    assert page.locator('[data-bead][tabindex="0"]').count() == 1
    assert opened.console == []


def test_a_bead_chooses_its_block_and_the_same_place(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path, fragment=FIRST).page
    put(page, token=9 * 24 + 20)
    page.locator('[data-bead="2"]').click()
    columns = report.trace.blocks[2].spatial[1]
    assert divmod(state(page, "token"), columns) == (4, 10)
    assert "stage 2, block 1" in (page.locator('[data-bead="2"]').get_attribute("aria-label") or "")
    until(page, "document.querySelector('[data-live]').textContent.includes('stage 2, block 1')")


def test_arrows_walk_along_the_beads_and_between_stages(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path, fragment=FIRST).page
    last = len(report.trace.blocks) - 1
    page.locator('[data-bead="0"]').focus()
    steps = {
        "ArrowLeft": 0, "ArrowRight": 1, "ArrowDown": 3, "ArrowUp": 1, "End": last, "Home": 0,
    }  # fmt: skip
    for key, expected in steps.items():
        page.keyboard.press(key)
        assert state(page, "block") == expected, key
        until(page, f"document.activeElement.dataset.bead === '{expected}'")
        tabbable = page.locator('[data-bead][tabindex="0"]')
        assert tabbable.get_attribute("data-bead") == str(expected)


def test_planes_carry_the_blocks_features(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path, fragment=FIRST).page
    facts = report.manifest["blocks"][0]
    rgb = report.arrays.get(facts["rgb"])
    for place in [(4, 5), (12, 18)]:
        colour = plane_colour(page, 0, place, facts["spatial"])
        assert np.abs(colour - rgb[place].astype(int)).max() <= 3, place


def plane_colour(page: Any, block: int, place: tuple[int, int], spatial: list[int]) -> np.ndarray:
    """Return the colour of a token on a plane, which is drawn aslant."""
    until(page, f"document.querySelector('[data-plane=\"{block}\"]').width > 20")
    page.wait_for_timeout(200)
    found = page.evaluate(
        """([block, y, x, rows, columns]) => {
          const canvas = document.querySelector(`[data-plane="${block}"]`);
          const deep = canvas.clientHeight - 6;  // half of the depth
          const slant = deep / .5 * .42;
          const wide = canvas.clientWidth - 4 - slant;
          const [v, u] = [(y + .5) / rows, (x + .5) / columns];
          const at = [2 + slant * (1 - v) + u * wide, 1 + v * deep];
          const scale = canvas.width / canvas.clientWidth;
          const [h, w] = at.map((n) => Math.floor(n * scale));
          return [...canvas.getContext('2d').getImageData(h, w, 1, 1).data].slice(0, 3);
        }""",
        [block, *place, *spatial],
    )
    return np.array(found)


def test_planes_are_to_scale(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path, fragment=FIRST).page
    widths = page.locator("[data-plane]").evaluate_all(
        "planes => planes.map(p => p.clientWidth - 4)"
    )
    spatial = [stage["spatial"][1] for stage in report.manifest["stages"]]
    assert widths[0] / widths[1] == pytest.approx(spatial[0] / spatial[1], rel=0.03)


def test_it_fits_a_phone(saved, open_page) -> None:
    path, _ = saved((32, 48))
    size = {"width": 320, "height": 700}
    page = open_page(path, fragment=FIRST, viewport=size).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    outside = page.locator('[data-view="pyramid"] *').evaluate_all(
        "all => all.filter((e) => e.getBoundingClientRect().right > innerWidth).length"
    )
    assert outside == 0
