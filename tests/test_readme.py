"""What the README shows works as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vitrail.cli.main import VERBS, run

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = re.findall(r"^vitrail (.+?)(?:\s+#.*)?$", TEXT, flags=re.MULTILINE)


def photo() -> str:
    """Return the path of the demo's photo, found as `make demo` finds it."""
    words = [sys.executable, str(ROOT / "scripts" / "demo_photo.py")]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_the_first_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cat.png").write_bytes(Path(photo()).read_bytes())
    monkeypatch.chdir(tmp_path)
    (code,) = PYTHON
    assert len([line for line in code.splitlines() if line.strip()]) == 8
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_options_it_is_shown_with(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *words = shlex.split(command)
    assert verb in VERBS
    assert run([verb, "--help"]) == 0
    text = capsys.readouterr().out
    for word in words:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}\b", text), f"{verb} has no {word}"


def test_the_two_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", TEXT, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile
