"""What is installed: the wheel holds what the code reads, and every requirement is pinned."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "vitrail"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {
    *("torch", "numpy", "pillow", "safetensors", "huggingface-hub"),
    *("jaxtyping", "typer", "rich"),
}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~;\s]", requirement)[0].lower() for requirement in requirements}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    here = {
        str(file.relative_to(ROOT / "src"))
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    there = {name for name in wheel.namelist() if name.startswith("vitrail/")}
    assert there == here
    assert "vitrail/py.typed" in there
    assert "vitrail/weights/bundled/cifar10.safetensors" in there
    page = ("explorer.js", "explorer.css", "page.html")
    assert {f"vitrail/explorer/static/{name}" for name in page} <= there
    assert "vitrail/explorer/schema.json" in there


def test_the_wheel_is_small(wheel: zipfile.ZipFile) -> None:
    sizes = {info.filename: info.compress_size for info in wheel.infolist()}
    assert sum(sizes.values()) < 23e6
    assert sum(n for name, n in sizes.items() if "/weights/bundled/" not in name) < 3e6
    assert not [name for name in sizes if name.startswith("benchmarks") or "/speed/" in name]


def test_the_wheel_installs_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    texts = {Path(n).name: wheel.read(n).decode() for n in wheel.namelist() if ".dist-info" in n}
    assert "vitrail = vitrail.cli.main:main" in texts["entry_points.txt"]
    assert "Apache License" in texts["LICENSE"]


def test_the_core_needs_few_packages() -> None:
    assert names(PROJECT["dependencies"]) == CORE


def test_every_requirement_is_pinned_and_no_host_is_named() -> None:
    text = (ROOT / "constraints.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)$", text, flags=re.MULTILINE))
    wanted = names(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        wanted |= names(extra)
    assert wanted - {"vitrail"} <= set(pins)
    assert "://" not in text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(pins)


def test_the_version_is_the_same_everywhere() -> None:
    import vitrail

    assert vitrail.__version__ == PROJECT["version"]
