"""The documentation site builds without a warning, and what its how-tos show runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vitrail
from vitrail.cli.main import VERBS, run

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
HOWTOS = sorted([*(DOCS / "howto").glob("*.md"), DOCS / "learn" / "index.md"])
COMMANDS = sorted(
    {
        re.sub(r"\s+#.*", "", line)
        for page in HOWTOS
        for block in re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("vitrail ")
    }
)


def test_the_site_names_every_model_and_every_public_function(site: Path) -> None:
    pages = "".join(p.read_text("utf-8") for p in (site / "models").glob("*.html"))
    missing = [name for name in vitrail.list_models() if f">{name}</span>" not in pages]
    assert not missing, f"no page under docs/models lists {missing}"
    reference = (site / "reference" / "vitrail.html").read_text("utf-8")
    public = [name for name in vitrail.__all__ if not name.startswith("_")]
    assert not [name for name in public if f'id="vitrail.{name}"' not in reference]


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        sources = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', text)
        sources += re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="([^"]+)"', text)
        assert not [s for s in sources if s.startswith(("http", "//"))], page.name


@pytest.mark.parametrize("page", HOWTOS, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [sys.executable, str(ROOT / "scripts" / "demo_photo.py")]
    photo = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "photo.jpg").write_bytes(Path(photo).read_bytes())
    monkeypatch.chdir(tmp_path)
    batch = (torch.rand(2, 3, 32, 32), torch.tensor([0, 4]))
    names: dict[str, object] = {"batches": [batch, batch]}
    for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(code, page.name, "exec"), names)
    if page.stem == "backbone":
        shapes = str([tuple(m.shape) for m in names["maps"]])  # pyright: ignore
        assert f"# {shapes}" in page.read_text("utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_page_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, verb, *words = shlex.split(command)
    assert verb in VERBS
    assert run([verb, "--help"]) == 0
    text = capsys.readouterr().out
    for word in words:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}\b", text), f"{verb} has no {word}"
