"""What is taken along: pictures, drawings, numbers, and Python that runs."""

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitrail
from tests.browser.pages import VIEWS, choose, put, state, table
from vitrail.explorer import explore


def figures(page) -> list[str]:
    return page.locator("[role=tabpanel] [data-figure]").evaluate_all(
        "all => all.map((figure) => figure.dataset.figure)"
    )


def save(page, figure: str, tool: str) -> bytes:
    with page.expect_download() as waiting:
        page.locator(f'[data-figure="{figure}"] [data-tool="{tool}"]').click()
    assert waiting.value.suggested_filename == f"vitrail-{figure}.{tool}"
    return Path(waiting.value.path()).read_bytes()


@pytest.mark.parametrize("view", VIEWS)
def test_every_figure_can_be_taken_along(saved, open_page, view: str) -> None:
    path, _ = saved(scored=True)
    opened = open_page(path, accept_downloads=True)
    page = opened.page
    put(page, view=view, block=2)
    page.locator(f'[data-view="{view}"] [data-figure]').first.wait_for()
    page.wait_for_timeout(400)
    found = figures(page)
    assert found
    for figure in found:
        drawing = ET.fromstring(save(page, figure, "svg"))
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(drawing) > 1, figure
        assert b"http" not in re.sub(rb"http://www\.w3\.org/[\w/]+", b"", ET.tostring(drawing)), (
            figure
        )
        picture = Image.open(io.BytesIO(save(page, figure, "png")))
        assert min(picture.size) > 20
        colours = picture.convert("RGB").getcolors(1 << 20)
        assert colours is None or len(colours) > 2, figure
        assert table(page, figure) is not None
        tools = page.locator(f'[data-figure="{figure}"] [data-tool]').evaluate_all(
            "all => all.map((tool) => tool.dataset.tool)"
        )
        assert {"table", "python", "png", "svg", "npy"} <= set(tools), figure
        array = np.load(io.BytesIO(save(page, figure, "npy")))
        assert array.size > 0
    assert opened.console == []


def test_the_saved_numbers_are_the_shown_ones(saved, open_page) -> None:
    path, report = saved()
    page = open_page(path, accept_downloads=True).page
    choose(page, 3, 37, head=1)
    page.wait_for_timeout(300)
    array = np.load(io.BytesIO(save(page, "canvas", "npy")))
    block = report.trace.blocks[3]
    place = divmod(37, block.spatial[1])
    assert np.abs(array - block.row(place, 1).numpy()).max() <= 2e-3


def test_the_python_of_the_view_runs(open_page, picture: Image.Image, tmp_path: Path) -> None:
    """The page's own text, in a fresh process, gives the page's numbers."""
    picture.save(tmp_path / "photo.png")
    model = vitrail.create_model("swin_nano", weights="bundled")
    report = explore(model, tmp_path / "photo.png", size=(32, 48), source="bundled", scored=False)
    page = open_page(report.save(tmp_path / "report.html")).page
    choose(page, 3, 37, head=1)
    page.locator('[data-figure="canvas"] [data-tool="python"]').click()
    code = page.locator('[data-figure="canvas"] [data-python]').inner_text()
    shown = [float(key["weight"]) for key in table_again(page)]
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(','.join(str(float(w)) for w in row))"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    weights = np.array(list(map(float, done.stdout.strip().splitlines()[-1].split(","))))
    assert np.abs(weights - np.array(shown)).max() <= 2e-3
    assert state(page, "head") == 1


def table_again(page) -> list[dict[str, str]]:
    page.locator('[data-figure="canvas"] [data-tool="table"]').click()
    return table(page, "canvas")
