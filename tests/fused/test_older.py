"""The kernels' other branches: built for processors without AVX-512, they pass the same tests."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from vitrail.attention.cpp import build

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).relative_to(ROOT)


@pytest.mark.skipif(build.why_not() is not None, reason=str(build.why_not()))
@pytest.mark.skipif(platform.machine() != "x86_64", reason="options of x86-64")
@pytest.mark.parametrize("march", ["x86-64", "x86-64-v3"])
def test_older_processors_pass_the_same_tests(march: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if "XDIST" not in key}
    environment["CXX"] = f"{build.compiler()} -O1 -march={march}"
    environment["VITRAIL_CACHE"] = str(tmp_path)
    run = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist",
            "-m", "not compile", str(HERE.parent), f"--ignore={HERE}",
        ],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    built = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    sources = {path.stem for path in (ROOT / "src/vitrail/fused/cpp").glob("*.cpp")}
    assert sources and built >= sources, "each kernel took part"
