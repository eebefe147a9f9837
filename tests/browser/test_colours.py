"""Colours as others see them: what is drawn still rises in lightness with the weight."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.pages import choose, painted, table
from vitrail.explain import BlockTrace

KINDS = ("none", "protanopia", "deuteranopia", "tritanopia", "achromatopsia")
ASKS = 5  # a token at the upper edge


def seen(page: Any, devtools: Any, what: str, kind: str) -> np.ndarray:
    """Return an element's pixels as somebody with a deficiency of sight sees them."""
    devtools.send("Emulation.setEmulatedVisionDeficiency", {"type": kind})
    page.wait_for_timeout(60)
    shot = Image.open(io.BytesIO(page.locator(what).screenshot())).convert("RGB")
    return np.asarray(shot, np.float64)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """Return CIE L* of sRGB colours."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


@pytest.fixture(scope="module")
def opened(session_report, browser) -> Any:
    path, report = session_report
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.goto(f"{path.as_uri()}#view=canvas&block=1&step=off")
    page.wait_for_selector("html[data-ready=true]")
    page.get_by_label("Heat").fill("100")
    choose(page, 1, ASKS)
    painted(page, 1, ASKS)
    yield page, context.new_cdp_session(page), report.trace.blocks[1]
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_rises_in_lightness(opened, kind: str) -> None:
    page, devtools, _ = opened
    scale = seen(page, devtools, ".legend .scale", kind)
    line = scale[scale.shape[0] // 5, 4:-4]
    light = lightness(line)
    assert light[-1] - light[0] > 60
    assert np.diff(light[::4]).min() > 0, "every step is lighter than the one before"
    if kind == "achromatopsia":
        assert np.ptp(line, axis=-1).max() <= 2, "the simulation is at work"


@pytest.mark.parametrize("kind", KINDS)
def test_a_heavier_key_is_lighter_and_a_masked_one_is_hatched(opened, kind: str) -> None:
    page, devtools, block = opened
    keys = keys_of(page, block)
    picture = seen(page, devtools, "[data-canvas]", kind)
    unit = [n / m for n, m in zip(picture.shape[:2], block.spatial, strict=True)]

    def cell(y: int, x: int, part: float) -> np.ndarray:
        (top, left), (high, wide) = ((y + 0.5) * unit[0], (x + 0.5) * unit[1]), unit
        down, right = int(part * high / 2), int(part * wide / 2)
        return picture[
            int(top) - down : int(top) + down + 1, int(left) - right : int(left) + right + 1
        ]

    drawn = [(weight, lightness(cell(y, x, 0.3)).mean()) for weight, y, x in keys["seen"]]
    order = [light for _, light in sorted(drawn)]
    assert len(order) > 3
    assert min(np.diff(order)) > -0.6, "a heavier key is never darker"
    assert order[-1] - order[0] > 40
    for _, y, x in keys["masked"]:
        assert np.ptp(lightness(cell(y, x, 0.9))) > 35, "a hatch is seen without its colour"


def keys_of(page: Any, block: BlockTrace) -> dict[str, list[tuple[float, int, int]]]:
    found: dict[str, list[tuple[float, int, int]]] = {"seen": [], "masked": []}
    for row in table(page, "canvas"):
        token = int(row["token"])
        if token != ASKS:  # it carries a frame
            y, x = divmod(token, block.spatial[1])
            found[row["standing"]].append((float(row["weight"]), y, x))
    assert found["masked"], "block 1 is shifted: a window at the edge holds masked keys"
    return found
