"""The photo with its tokens: right in its numbers, by mouse, finger and keyboard."""

import math
from typing import Any

import numpy as np
import pytest

from tests.browser.pages import choose, put, state, until
from tests.mechanisms import MECHANISMS
from vitrail.explain import BlockTrace

CANVAS = "#view=canvas&block=0&token=0&head=mean&step=off"
SIZE = (21, 31)


def painted(page: Any, block: int, token: int, head: int = -1) -> None:
    """Wait until the picture shows a row."""
    drawn = "document.querySelector('[data-canvas]').dataset.painted"
    until(page, f"{drawn} === '{block} {token} {head}'")


def table(page: Any) -> list[dict[str, str]]:
    """Return the data of every key, as the figure's table holds it."""
    button = page.locator('[data-figure="canvas"] [data-tool="table"]')
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    page.wait_for_selector('[data-figure="canvas"] tr[data-weight]')
    return page.locator('[data-figure="canvas"] tr[data-weight]').evaluate_all(
        "rows => rows.map(row => ({...row.dataset}))"
    )


def shown(page: Any, block: int, token: int, head: int = -1) -> list[dict[str, str]]:
    put(page, token=token, head=head)
    painted(page, block, token, head)
    return table(page)


def compare(rows: list[dict[str, str]], block: BlockTrace, token: int, head: int) -> None:
    """Hold the shown keys, weights, standings and places against what was captured."""
    groups, prefix = block.groups, block.pattern.prefix
    position: Any = token if token < prefix else divmod(token - prefix, block.spatial[1])
    group, query = block.locate(position)
    index = groups.k_index[group].tolist()
    assert [int(row["token"]) for row in rows] == index
    weights = np.array([float(row["weight"]) for row in rows])
    expected = block.row(position, None if head < 0 else head).numpy()
    assert np.abs(weights - expected).max() <= 2e-3
    assert weights.sum() == pytest.approx(1, abs=1e-4)
    seen = (groups.labels[0][group, query] == groups.labels[1][group]).tolist()
    standings = [
        "masked" if not may else "padding" if key < 0 else "seen"
        for may, key in zip(seen, index, strict=True)
    ]
    assert [row["standing"] for row in rows] == standings


def at(page: Any, place: tuple[float, float], padded: tuple[int, int]) -> dict[str, float]:
    """Return where the middle of a cell of the picture lies, in CSS pixels of the canvas."""
    box = page.locator("[data-canvas]").bounding_box()
    y, x = ((p + 0.5) / n for p, n in zip(place, padded, strict=True))
    return {"x": x * box["width"], "y": y * box["height"]}


def fact(page: Any, name: str) -> str:
    return page.locator(f'[data-fact="{name}"] dd').text_content() or ""


# Every mechanism's rows, heads and boxes are held against Python in test_mechanisms.py.
@pytest.mark.parametrize("name", ["swin", "pvt", "vit", "focal", "sparse_tiny_fixed"])
def test_every_mechanism_shows_what_was_captured(name: str, saved, open_page) -> None:
    path, report = saved(SIZE, model=MECHANISMS[name](), name=name)
    opened = open_page(path, fragment=CANVAS)
    page = opened.page
    table(page)
    for index, block in enumerate(report.trace.blocks):
        prefix, total = block.pattern.prefix, math.prod(block.spatial)
        middle, last = prefix + total // 2, prefix + total - 1
        calls = [(0, -1), (middle, -1), (last, block.heads - 1)]
        found = page.evaluate(LOOK, [index, calls])
        for (token, head), (rows, keys) in zip(calls, found, strict=True):
            compare(rows, block, token, head)
            facts = [int(word) for word in keys.replace(",", " ").split() if word.isdigit()]
            kinds = [row["standing"] for row in rows if int(row["token"]) >= 0]
            assert facts[0] == kinds.count("seen")
            assert "masked" not in keys or facts[1] == kinds.count("masked")
        assert_boxes(found[1][0], block, middle)
    assert opened.console == []


# Choose a block, then tokens and heads in turn; read the table and the number of keys of each.
LOOK = """async ([block, calls]) => {
  const { state } = window.vitrail.app;
  const frame = () => new Promise(requestAnimationFrame);
  const find = (name) => document.querySelector(name);
  document.querySelector(`[data-bead="${block}"]`).click();
  const found = [];
  for (const [token, head] of calls) {
    [state.token.value, state.head.value] = [token, head];
    const end = performance.now() + 30000;
    const mark = `${block} ${token} ${head}`;
    while (find('[data-canvas]').dataset.painted !== mark && performance.now() < end) await frame();
    for (let i = 0; i < 4; i++) await frame();
    const rows = document.querySelectorAll('[data-figure="canvas"] tr[data-weight]');
    const keys = find('[data-fact="keys"] dd').textContent;
    found.push([[...rows].map((row) => ({ ...row.dataset })), keys]);
  }
  return found;
}"""


def assert_boxes(rows: list[dict[str, str]], block: BlockTrace, token: int) -> None:
    """Every key of the token's group lies where the pattern says."""
    prefix, columns = block.pattern.prefix, block.spatial[1]
    group, _ = block.locate(divmod(token - prefix, columns))
    for key, row in enumerate(rows):
        index = int(row["token"]) - prefix
        if index < 0:
            continue
        box = [int(side) for side in row["box"].split(",")]
        if index < math.prod(block.spatial):
            y, x = divmod(index, columns)
            assert box == [y, x, y + 1, x + 1]
        else:
            assert block.groups.k_box is not None
            y0, y1, x0, x1 = block.groups.k_box[group, key].tolist()
            assert box == [y0, x0, y1, x1]


@pytest.mark.parametrize(("size", "kind"), [((32, 48), "masked"), ((27, 43), "padding")])
def test_masked_and_padding_keys_are_counted(saved, open_page, size, kind: str) -> None:
    path, report = saved(size)
    page = open_page(path, fragment=CANVAS).page
    block = report.trace.blocks[1]
    choose(page, 1, 0)
    rows = shown(page, 1, 0)
    allowed = block.pattern.allowed(block.spatial)[0]
    index = [int(row["token"]) for row in rows]
    padding = sum(i < 0 for i in index)
    seen = sum(i >= 0 and bool(allowed[i]) for i in index)
    masked = len(index) - seen - padding
    words = f"{seen} seen, {masked} masked" + (f", {padding} padding" if padding else "")
    assert fact(page, "keys") == words
    assert {"masked": masked, "padding": padding}[kind] > 0
    assert page.locator(".legend .hatch").count() == (masked > 0)
    assert page.locator(".legend .dots").count() == (padding > 0)


def test_a_click_chooses_the_token_under_it_rolled_or_not(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path, fragment=CANVAS).page
    block = report.trace.blocks[1]
    page.locator('[data-bead="1"]').click()
    painted(page, 1, state(page, "token"))
    canvas = page.locator("[data-canvas]")
    for place in [(0, 0), (5, 6), (15, 23)]:
        put(page, shift=0)
        canvas.click(position=at(page, place, block.spatial))
        assert state(page, "token") == place[0] * block.spatial[1] + place[1]
        put(page, shift=1)
        canvas.click(position=at(page, place, block.spatial))
        y, x = ((p + s) % n for p, s, n in zip(place, (2, 2), block.spatial, strict=True))
        assert state(page, "token") == y * block.spatial[1] + x
    painted(page, 1, state(page, "token"))


def test_the_pointer_chooses_then_reads_the_keys_of_a_kept_token(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path, fragment=CANVAS).page
    block = report.trace.blocks[0]
    canvas = page.locator("[data-canvas]")
    canvas.hover(position=at(page, (5, 6), block.spatial))
    painted(page, 0, 5 * 24 + 6)
    assert state(page, "token") == 0
    assert "row 6, column 7" in page.locator('[data-figure="canvas"] [data-readout]').text_content()
    page.mouse.move(1, 1)
    painted(page, 0, 0)
    canvas.click(position=at(page, (5, 6), block.spatial))
    canvas.hover(position=at(page, (6, 4), block.spatial))
    page.wait_for_selector("[data-key]")
    key = 2 * 4 + 0
    assert page.locator("[data-key]").get_attribute("data-key") == str(key)
    said = page.locator("[data-key]").text_content() or ""
    weight = float(said.split(",")[-1].replace("\u00a0", " ").split()[0])
    assert weight == pytest.approx(100 * float(block.row((5, 6))[key]), abs=0.25)
    assert state(page, "token") == 5 * 24 + 6
    page.mouse.move(1, 1)
    page.locator("[data-let-go]").click()
    canvas.hover(position=at(page, (0, 0), block.spatial))
    painted(page, 0, 0)


def test_the_keyboard_reaches_every_token_and_block(saved, open_page) -> None:
    path, report = saved((28, 44))
    page = open_page(path, fragment=CANVAS).page
    page.locator("[data-canvas]").focus()
    rows, columns = report.trace.blocks[0].spatial

    def press(*keys: str) -> tuple[int, int]:
        for key in keys:
            page.keyboard.press(key)
        return divmod(state(page, "token"), columns)

    assert press("ArrowUp", "ArrowLeft") == (0, 0)
    assert press("ArrowDown", "ArrowDown", "ArrowRight") == (2, 1)
    assert press("End") == (2, columns - 1)
    assert press("ArrowRight") == (2, columns - 1)
    assert press("Home") == (2, 0)
    assert press(*["ArrowDown"] * rows) == (rows - 1, 0)
    page.keyboard.press("PageDown")
    painted(page, 1, state(page, "token"))
    live = "document.querySelector('[data-live]').textContent"
    until(page, f"{live}.includes('stage 1, block 2, shifted windows')")
    assert f"row {rows} of {rows}, column 1 of {columns}" in page.evaluate(live)
    assert page.evaluate("document.activeElement.dataset.canvas") is not None
    # Rolled, the picture's edges lie elsewhere, and arrows follow the picture.
    put(page, shift=1, token=2 * columns + 2)
    assert press("ArrowUp") == (2, 2)
    assert press("ArrowDown") == (3, 2)
    page.keyboard.press("PageUp")
    until(page, "window.vitrail.app.state.block.value === 0")


def test_enlarged_a_click_still_finds_its_token(saved, open_page) -> None:
    path, report = saved((32, 48))
    page = open_page(path, fragment=CANVAS).page
    spatial = report.trace.blocks[0].spatial
    canvas = page.locator("[data-canvas]")
    canvas.focus()
    for _ in range(2):
        page.keyboard.press("+")
    assert page.locator(".zoom output").text_content() == "2.3×"
    canvas.click(position=at(page, (0.02, 0.02), (1, 1)))
    middle = (spatial[0] // 2) * spatial[1] + spatial[1] // 2
    assert state(page, "token") == middle
    corner = canvas.bounding_box()
    canvas.click(position={"x": 2, "y": 2})
    share = (1 - 1 / 2.25) / 2
    sides = (corner["height"], corner["width"])
    y, x = (int((share + 2 / side / 2.25) * n) for side, n in zip(sides, spatial, strict=True))
    assert state(page, "token") == y * spatial[1] + x
    page.keyboard.press("0")
    assert page.locator(".zoom output").text_content() == "1.0×"
    page.mouse.wheel(0, -30)  # alone, the wheel scrolls the page
    page.wait_for_timeout(50)
    assert page.locator(".zoom output").text_content() == "1.0×"


def test_a_finger_chooses_a_token_and_two_enlarge(saved, open_page) -> None:
    path, report = saved()
    options = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    page = open_page(path, fragment=CANVAS, **options).page
    spatial = report.trace.blocks[0].spatial
    page.locator("[data-canvas]").tap(position=at(page, (3, 6), spatial))
    assert state(page, "token") == 3 * spatial[1] + 6
    page.evaluate(
        """() => {
          const canvas = document.querySelector('[data-canvas]');
          const box = canvas.getBoundingClientRect();
          const send = (type, id, x) => canvas.dispatchEvent(new PointerEvent(type, {
            pointerId: id, pointerType: 'touch', bubbles: true,
            clientX: box.left + x * box.width, clientY: box.top + box.height / 2 }));
          send('pointerdown', 1, .4); send('pointerdown', 2, .6);
          send('pointermove', 1, .2); send('pointermove', 2, .8);
          send('pointerup', 1, .2); send('pointerup', 2, .8);
        }"""
    )
    until(page, "document.querySelector('.zoom output').textContent === '3.0×'")


def test_a_finger_reads_single_weights(saved, open_page) -> None:
    path, report = saved()
    options = {"viewport": {"width": 390, "height": 1600}, "has_touch": True, "is_mobile": True}
    opened = open_page(path, fragment=CANVAS, **options)
    page, block = opened.page, report.trace.blocks[0]
    canvas = page.locator("[data-canvas]")
    canvas.tap(position=at(page, (5, 6), block.spatial))
    chosen = 5 * block.spatial[1] + 6
    painted(page, 0, chosen)
    weights = block.row((5, 6)).tolist()

    def facts(key: int) -> None:
        page.wait_for_selector(f'[data-key="{key}"]')
        said = (page.locator("[data-key]").text_content() or "").replace("\u00a0", " ")
        assert float(said.split(",")[-1].split()[0]) == pytest.approx(100 * weights[key], abs=0.25)
        assert state(page, "token") == chosen

    # Sliding over the picture reads the keys on the way; the last one stays.
    box, devtools = canvas.bounding_box(), page.context.new_cdp_session(page)
    for kind, place in (("Start", (6, 5)), ("Move", (6, 5.6)), ("Move", (6, 6)), ("End", None)):
        points = []
        if place:
            y, x = ((p + 0.5) / n for p, n in zip(place, block.spatial, strict=True))
            points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}]
        devtools.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    facts(2 * 4 + 2)
    # So does a tap on the keys that are cut out.
    close = page.locator("[data-close]")
    size = close.bounding_box()
    close.tap(position={"x": 3.5 / 4 * size["width"], "y": 0.5 / 4 * size["height"]})
    facts(3)
    assert opened.console == []


def test_colours_follow_the_weights(saved, open_page) -> None:
    path, report = saved()
    page = open_page(path, fragment=CANVAS).page
    block = report.trace.blocks[1]
    choose(page, 1, 0)
    full_heat(page)
    weights = block.attends((5, 6))
    best = divmod(int(weights.argmax()), block.spatial[1])
    assert best != (5, 6)
    painted(page, 1, 0)
    put(page, token=5 * block.spatial[1] + 6)
    painted(page, 1, 5 * block.spatial[1] + 6)
    assert pixels(page, best, block.spatial).mean((0, 1)).tolist() == [253, 231, 37]
    # Rolled, the same colour has moved with the photo.
    put(page, shift=1)
    page.wait_for_timeout(100)
    moved = tuple((p - 2) % n for p, n in zip(best, block.spatial, strict=True))
    assert pixels(page, moved, block.spatial).mean((0, 1)).tolist() == [253, 231, 37]


def test_masked_keys_are_hatched(saved, open_page) -> None:
    path, report = saved()
    page = open_page(path, fragment=CANVAS).page
    block = report.trace.blocks[1]
    choose(page, 1, 0)
    painted(page, 1, 0)
    last = tuple(n - 1 for n in block.spatial)
    patch = pixels(page, last, block.spatial, 9).astype(float).mean(-1)
    assert patch.max() > 190
    assert patch.min() < 110


def full_heat(page: Any) -> None:
    page.get_by_label("Heat").fill("100")


def pixels(page: Any, place: tuple[int, ...], padded: tuple[int, ...], side: int = 1) -> np.ndarray:
    """Return the colours around the middle of a cell of the picture."""
    found = page.evaluate(
        """([y, x, rows, columns, side]) => {
          const canvas = document.querySelector('[data-canvas]');
          const h = Math.floor((x + .5) / columns * canvas.width - side / 2);
          const v = Math.floor((y + .5) / rows * canvas.height - side / 2);
          return [...canvas.getContext('2d').getImageData(h, v, side, side).data];
        }""",
        [*place, *padded, side],
    )
    return np.array(found).reshape(side, side, 4)[..., :3]


def test_the_roll_jumps_under_reduced_motion_and_moves_otherwise(saved, open_page) -> None:
    path, _ = saved()
    still = open_page(path, fragment="#view=canvas&block=1&step=off", reduced_motion="reduce").page
    still.locator("[data-roll]").click()
    assert state(still, "shift") == 1
    still.locator("[data-roll]").click()
    assert state(still, "shift") == 0
    moving = open_page(path, fragment="#view=canvas&block=1&step=off").page
    moving.evaluate(
        """() => {
          window.seen = [];
          const { shift } = window.vitrail.app.state;
          const look = () => { window.seen.push(shift.peek()); requestAnimationFrame(look); };
          look();
        }"""
    )
    moving.locator("[data-roll]").click()
    until(moving, "window.vitrail.app.state.shift.value === 1")
    steps = moving.evaluate("window.seen.filter((t) => t > 0 && t < 1)")
    assert steps  # as many as the machine can paint
    assert steps == sorted(steps)


def test_a_block_without_a_shift_has_nothing_to_roll(saved, open_page) -> None:
    path, _ = saved()
    page = open_page(path, fragment=CANVAS).page
    assert page.locator("[data-roll]").count() == 0


def test_prefix_tokens_stand_beside_the_picture(saved, open_page) -> None:
    path, report = saved(SIZE, model=MECHANISMS["vit"]())
    page = open_page(path, fragment=CANVAS, viewport={"width": 320, "height": 700}).page
    block = report.trace.blocks[0]
    chips = page.locator("[data-prefix]")
    assert chips.count() == block.pattern.prefix == 2
    chips.nth(1).click()
    painted(page, 0, 1)
    compare(table(page), block, 1, -1)
    assert fact(page, "token").startswith("prefix token 2 of 2")
    assert page.locator('[data-fact="distance"]').count() == 0
    assert chips.nth(1).get_attribute("aria-pressed") == "true"
    facts = float((chips.nth(0).get_attribute("title") or "").split()[-2])
    assert facts == pytest.approx(100 * float(block.row(1)[0]), abs=0.2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.locator("[data-canvas]").focus()
    page.keyboard.press("ArrowDown")
    assert state(page, "token") == 2
    # The same token is the query of the next block.
    chips.nth(1).click()
    page.locator('[data-bead="1"]').click()
    assert state(page, "token") == 1


def test_pooled_keys_are_painted_over_their_boxes(saved, open_page) -> None:
    path, report = saved((40, 60), model=MECHANISMS["pvt"]())
    page = open_page(path, fragment=CANVAS).page
    block = report.trace.blocks[0]
    painted(page, 0, 0)
    full_heat(page)
    row = block.row((0, 0))
    assert block.groups.k_box is not None
    y0, y1, x0, x1 = block.groups.k_box[0, int(row.argmax())].tolist()
    assert (y1 - y0, x1 - x0) == (3, 2)
    page.wait_for_timeout(100)
    for y, x in np.ndindex(y1 - y0, x1 - x0):
        if (y0 + y, x0 + x) != (0, 0):
            colour = pixels(page, (y0 + y, x0 + x), block.spatial)[0, 0]
            assert colour.tolist() == [253, 231, 37], (y, x)
    assert "pooled" in page.locator(".top-keys").text_content()
