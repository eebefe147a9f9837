"""The tutorial runs from top to bottom, and says in its outputs what its text claims."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "docs" / "tutorial.ipynb"

nbformat = pytest.importorskip("nbformat", reason="pip install '.[dev]'")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook with the outputs of a kernel of its own, in an empty home."""
    nbclient = pytest.importorskip("nbclient", reason="pip install '.[dev]'")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(home / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(home / "runtime"))
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        patch.setenv("OMP_NUM_THREADS", "1")
        notebook = nbformat.read(PATH, as_version=4)
        nbclient.NotebookClient(
            notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": home}}
        ).execute()
    return notebook


def printed(notebook: Any, word: str) -> str:
    """Return what the cell that holds ``word`` printed."""
    (cell,) = (c for c in notebook.cells if c.cell_type == "code" and word in c.source)
    return "".join(o.text for o in cell.outputs if o.output_type == "stream")


def test_it_is_short_and_kept_without_outputs() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 8 <= len(code) <= 12
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert PATH.stat().st_size < 30_000


def test_the_model_sees_a_cat(ran: Any) -> None:
    assert printed(ran, "probabilities").startswith("cat ")


def test_the_page_is_shown_as_a_widget_with_a_frame_beside_it(ran: Any) -> None:
    (cell,) = (c for c in ran.cells if c.cell_type == "code" and c.source.endswith("\nreport"))
    (output,) = cell.outputs
    assert "application/vnd.jupyter.widget-view+json" in output.data
    assert "<iframe" in output.data["text/html"]
    assert output.data["text/plain"].startswith("Vitrail: swin_nano on chelsea.png, cat ")
    assert "'token': 500" in printed(ran, "widget.selection")


def test_the_numbers_are_as_the_text_says(ran: Any) -> None:
    assert "sum 1.000000" in printed(ran, "explain.capture")
    assert "sum 1.000000" in printed(ran, "explain.rollout(")
    assert "gives (8, 6) 0.000" in printed(ran, "[8, 6]").splitlines()[0]
    grown = dict(re.findall(r"^(\w+).* x([\d.]+);", printed(ran, "vitrail.cost"), re.MULTILINE))
    assert float(grown["window_tiny"]) == pytest.approx(4, abs=0.05)
    assert float(grown["global_tiny"]) == pytest.approx(16, abs=0.05)


def test_a_score_stands_beside_the_map(ran: Any) -> None:
    lines = printed(ran, "scores = curves").splitlines()
    areas = {
        name: (float(d), float(i))
        for name, d, i in re.findall(
            r"^(\w+) +deletion ([\d.]+) +insertion ([\d.]+)", "\n".join(lines), re.MULTILINE
        )
    }
    assert set(areas) == {"rollout", "random", "centre"}
    beats = areas["rollout"][0] < areas["random"][0]
    assert lines[-1].endswith("beats random order." if beats else "does not beat random order.")
