"""What every test shares: fixed seeds, no network, the real data, the command line."""

import fcntl
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# Set before anything imports huggingface_hub, which reads them once.
HUB_HOME = tempfile.mkdtemp(prefix="vitrail-hub-")
os.environ["HF_HOME"] = HUB_HOME
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

# The same examples in every run: a red test stays red until it is mended.
settings.register_profile("vitrail", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("vitrail")

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores


def pytest_unconfigure() -> None:
    shutil.rmtree(HUB_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data: VITRAIL_DATA, or ../shared/data beside the checkout."""
    path = Path(os.environ.get("VITRAIL_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path}; set VITRAIL_DATA")
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The documentation site, built once for all workers; a warning is an error."""
    pytest.importorskip("sphinx", reason="the extra 'docs' is not installed")
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if hasattr(request.config, "workerinput") else base) / "site"
    with (out.with_suffix(".lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "index.html").exists():
            words = ["-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", out]
            env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run(
                [sys.executable, "-m", "sphinx", *words],
                capture_output=True,
                text=True,
                check=False,
                env=env,
            )
            assert done.returncode == 0, done.stderr
    return out


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `vitrail WORDS...` in a process of its own, in an empty folder."""

    def run(*words: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "100", "NO_COLOR": "1"}
        options = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True, **kwargs}
        return subprocess.run(  # pyright: ignore[reportCallIssue]
            [sys.executable, "-m", "vitrail.cli.main", *words],
            check=False,
            **options,  # pyright: ignore[reportArgumentType]
        )

    return run
