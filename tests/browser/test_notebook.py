"""The page in a real JupyterLab: its numbers are Python's, and each follows the other's choice."""

import importlib.util
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.lab import Notebook, open_notebook, running
from tests.browser.pages import APP, put, state
from tests.browser.serving import run, serving
from vitrail.explorer.display import WIDGET
from vitrail.explorer.page import static

PHOTO = """\
import json
import vitrail
from PIL import Image
import numpy as np

noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
photo = Image.fromarray(noise).resize((90, 60), Image.Resampling.BICUBIC)"""
SHOW = "report = vitrail.explore('swin_nano', photo, name='noise.png')\nreport"
ROW = """\
now = report.widget.selection
block = report.trace.blocks[now['block']]
place = tuple(map(int, np.unravel_index(now['token'], block.spatial)))
row = block.row(place, None if now['head'] < 0 else now['head'])
keys = block.groups.k_index[block.locate(place)[0]]
print(json.dumps({'selection': now, 'keys': keys.tolist(), 'row': row.tolist()}))"""
CHOOSE = "report.widget.selection = {'block': 5, 'head': 1, 'token': 17, 'view': 'canvas'}"
WRONG = """\
try:
    report.widget.selection = {'block': 99}
except vitrail.UsageError as error:
    print(error)"""
SIZES = """\
state = report.widget.get_state()
print(json.dumps({
    'manifests': len(json.dumps(state['manifests'])),
    'selection': len(json.dumps(state['selection'])),
    'binary': [n for n, v in state.items() if isinstance(v, (bytes, memoryview))],
}))"""
SAVE = "report.save('report.html')"
# What the hosts must agree on: block, head, token.
FIVE = [(0, -1, 0), (1, 0, 100), (4, 2, 33), (6, -1, 7), (7, 5, 15)]
CHOICES = [
    f"report.widget.selection = {{'block': {block}, 'head': {head}, 'token': {token}}}"
    for block, head, token in FIVE
]
CELLS = [PHOTO, SHOW, ROW, CHOOSE, WRONG, SIZES, SAVE, *CHOICES]
PAGE = ".vitrail[data-ready=true]"
# What a page is made of, whose looks must not change when the widget's style sheet arrives.
PROBE = """<h1>h</h1><h2>h</h2><p>p <a href="#">a</a> <b>b</b> <code>c</code></p><ul><li>l</li></ul>
<table><tbody><tr><th>h</th><td>d</td></tr></tbody></table><button>b</button><input><select></select>
<dl><dt>t</dt><dd>d</dd></dl><figure><figcaption>c</figcaption></figure><canvas></canvas><svg></svg>
<div class="card view bead stage tabs figure canvas readout warning note"></div>"""
AROUND = ("body", ".jp-NotebookPanel", ".jp-Toolbar", ".jp-InputArea", ".jp-SideBar")


@pytest.fixture(scope="module")
def notebook(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A notebook with the model's page shown under its second cell."""
    if importlib.util.find_spec("jupyterlab") is None:
        reason = "no JupyterLab here; pip install '.[dev]'"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("lab")) as lab:
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        try:
            notebook = open_notebook(context, lab, "explore.ipynb", CELLS)
            notebook.run(0)
            notebook.looks = looks(notebook.page)
            notebook.run(1)
            notebook.page.wait_for_selector(PAGE)
            yield notebook
        finally:
            context.close()


def looks(page: Any) -> list[dict[str, str]]:
    """Return every computed style of some elements outside the widget."""
    return page.evaluate(
        """([probe, selectors]) => {
            document.getElementById('probe')?.remove();
            const box = Object.assign(document.createElement('div'), { id: 'probe' });
            box.innerHTML = probe;
            document.body.append(box);
            const around = selectors.map((selector) => document.querySelector(selector));
            return [...around, ...box.querySelectorAll('*')].map((element) => {
                const style = getComputedStyle(element);
                const stated = [...style].map((name) => [name, style.getPropertyValue(name)]);
                return Object.fromEntries([['element', element.tagName], ...stated]);
            });
        }""",
        [PROBE, AROUND],
    )


def python(notebook: Notebook) -> dict[str, Any]:
    """Return the selection as Python knows it, and the row it stands for."""
    return json.loads(notebook.run(CELLS.index(ROW)))


def settled(notebook: Notebook, **wanted: object) -> dict[str, Any]:
    """Wait until Python knows of a choice."""
    end = time.monotonic() + 60
    while True:
        found = python(notebook)
        if wanted.items() <= found["selection"].items():
            return found
        assert time.monotonic() < end, (wanted, found["selection"])
        notebook.page.wait_for_timeout(100)


def shown(
    page: Any, block: int, token: int, head: int, within: str = PAGE
) -> list[tuple[int, float]]:
    """Return the numbers in the page's table of keys, once it shows this choice."""
    page.locator(f'{within} [data-painted="{block} {token} {head}"]').wait_for()
    tool = page.locator(f'{within} [data-figure="canvas"] [data-tool="table"]')
    if tool.get_attribute("aria-expanded") != "true":
        tool.click()
    rows = page.locator(f'{within} [data-figure="canvas"] [data-weight]')
    rows.first.wait_for()
    return rows.evaluate_all(
        "rows => rows.map((row) => [Number(row.dataset.token), Number(row.dataset.weight)])"
    )


def compare(numbers: list[tuple[int, float]], python: dict[str, Any]) -> None:
    tokens, weights = zip(*numbers, strict=True)
    assert list(tokens) == python["keys"]
    assert np.abs(np.array(weights) - python["row"]).max() <= 2e-3
    assert sum(weights) == pytest.approx(1, abs=1e-4)


def test_a_bead_and_a_token_show_pythons_numbers(notebook: Notebook) -> None:
    page = notebook.page
    page.locator(f'{PAGE} [data-tab="canvas"]').click()
    page.locator(f'{PAGE} [data-bead="3"]').click()
    canvas = page.locator(f"{PAGE} [data-canvas]")
    canvas.scroll_into_view_if_needed()
    page.locator(f'{PAGE} [data-painted^="3 "]').wait_for()
    before = page.locator(f"{PAGE} [data-painted]").get_attribute("data-painted")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.3, "y": box["height"] * 0.7})
    page.locator(f'{PAGE} [data-painted]:not([data-painted="{before}"])').wait_for()
    token = int(page.locator(f"{PAGE} [data-painted]").get_attribute("data-painted").split()[1])
    found = settled(notebook, block=3, head=-1, token=token)
    offered = page.evaluate(
        "jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON()[0].data"
    )
    assert WIDGET in offered, "and what is on the page is the widget, not the framed report"
    assert page.locator("iframe[title='Vitrail report']").count() == 0
    compare(shown(notebook.page, 3, token, -1), found)


def test_the_page_follows_python(notebook: Notebook) -> None:
    notebook.run(CELLS.index(CHOOSE))
    numbers = shown(notebook.page, 5, 17, 1)
    bead = notebook.page.locator(f'{PAGE} [data-bead="5"]')
    assert bead.get_attribute("aria-pressed") == "true"
    found = settled(notebook, block=5, head=1, token=17, view="canvas", step=-1)
    compare(numbers, found)


def test_the_three_hosts_show_the_same(notebook: Notebook, open_page: Any, browser: Any) -> None:
    """For each of five choices: the same state, and the numbers that Python has."""
    notebook.run(CELLS.index(SAVE))
    notebook.page.locator(f'{PAGE} [data-tab="canvas"]').click()
    report = open_page(notebook.folder / "report.html", fragment="#view=canvas").page
    facts = report.evaluate(f"{APP}.trace.value.manifest")
    with serving() as guard:
        size = "x".join(map(str, facts["photo"]["input"]))
        name = facts["model"]["name"]
        found = run(guard, noise(), model=name, weights="bundled", size=size, name="noise.png")
        assert found["model"]["sha256"] == facts["model"]["sha256"]
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        served = context.new_page()
        served.goto(f"{guard.link}#view=canvas")
        served.locator("[data-bead]").first.wait_for()
        for (block, head, token), cell in zip(FIVE, CHOICES, strict=True):
            notebook.run(CELLS.index(cell))
            here = shown(notebook.page, block, token, head)
            python = settled(notebook, block=block, head=head, token=token)
            compare(here, python)
            for page in (report, served):
                put(page, block=block, head=head, token=token)
                there = shown(page, block, token, head, "[data-ready=true]")
                assert [key for key, _ in there] == [key for key, _ in here]
                compare(there, python)
                for field in ("view", "block", "head", "token", "cls", "method", "side", "sort"):
                    assert state(page, field) == python["selection"][field], field
        context.close()


def noise() -> bytes:
    """The notebook's photo, as a file."""
    held: dict[str, Any] = {}
    lines = [line for line in PHOTO.splitlines() if line != "import vitrail"]
    exec("\n".join(lines), held)
    file = io.BytesIO()
    photo: Image.Image = held["photo"]
    photo.save(file, "PNG")
    return file.getvalue()


def test_a_wrong_choice_is_refused_and_changes_nothing(notebook: Notebook) -> None:
    before = python(notebook)["selection"]
    said = notebook.run(CELLS.index(WRONG))
    assert re.search(r"given: .*block=99\n.*\nfix: use block=\d", said)
    assert python(notebook)["selection"] == before


def test_traits_are_small_and_hold_no_arrays(notebook: Notebook) -> None:
    sizes = json.loads(notebook.run(CELLS.index(SIZES)))
    assert sizes["manifests"] <= 100_000
    assert sizes["selection"] <= 1000
    assert sizes["binary"] == []


def test_the_notebooks_own_looks_are_untouched(notebook: Notebook) -> None:
    now = looks(notebook.page)
    assert len(now) == len(notebook.looks) > 25
    # How large the notebook is depends on what it shows; all else must stay.
    sizes = re.compile(r"(block|inline)-size|height|width|inset|top|bottom|origin")
    for before, after in zip(notebook.looks, now, strict=True):
        changed = {n for n in before if before[n] != after[n] and not sizes.search(n)}
        assert not changed, (before["element"], changed)
    inside = notebook.page.evaluate(
        f"getComputedStyle(document.querySelector('{PAGE} [data-bead]')).cursor"
    )
    assert inside == "pointer", "and the widget has looks of its own"


def test_every_rule_of_the_style_sheet_is_the_widgets_own() -> None:
    text = re.sub(r"/\*.*?\*/", "", static("explorer.css"), flags=re.DOTALL)
    found = list(outermost(text))
    assert len(found) > 5
    for rule in found:
        for selector in re.split(r",(?![^()]*\))", rule):
            assert re.match(r"\.vitrail\b|@keyframes vitrail-", selector.strip()), rule


def outermost(text: str) -> Iterator[str]:
    """Yield what stands before the outermost braces; of conditions, before those inside."""
    depth, start = 0, 0
    for place in re.finditer(r"[{}]", text):
        if place[0] == "{":
            prelude = text[start : place.start()].strip()
            if depth == 0 and not re.match(r"@(media|supports|container|layer)\b", prelude):
                yield prelude
                depth = 1
            elif depth:
                depth += 1
        else:
            depth = max(0, depth - 1)
        start = place.end()


def test_nothing_was_requested_of_the_network_and_nothing_went_wrong(notebook: Notebook) -> None:
    assert notebook.outside == []
    assert notebook.errors == []


def test_a_second_view_follows_the_first_and_a_closed_one_leaves_no_trace(
    notebook: Notebook,
) -> None:
    page = notebook.page
    page.evaluate(
        """async () => {
            jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
            await jupyterapp.commands.execute('notebook:create-output-view');
        }"""
    )
    page.locator(PAGE).nth(1).wait_for()
    page.locator(f'{PAGE} [data-bead="2"]').first.click()
    for view in page.locator(f'{PAGE} [data-bead="2"]').all():
        view.and_(page.locator("[aria-pressed=true]")).wait_for()
    assert notebook.errors == []


def test_a_kernel_that_is_gone_is_reported(notebook: Notebook) -> None:
    page = notebook.page
    assert page.locator("[data-trouble]").count() == 0
    page.evaluate(
        """async () => {
            const open = [...jupyterapp.shell.widgets('main')];
            await open.find((widget) => widget.sessionContext).sessionContext.restartKernel();
        }"""
    )
    page.locator(f"{PAGE} [data-trouble]").first.wait_for()
    assert "run the cell again" in page.locator("[data-trouble]").first.text_content()
    assert notebook.errors == []


def test_a_folder_of_its_own(notebook: Notebook, tmp_path_factory: pytest.TempPathFactory) -> None:
    homes = list(Path(tmp_path_factory.getbasetemp()).glob("lab*/runtime/jpserver-*.json"))
    assert homes, "the server keeps what it writes in the test's own folder"
