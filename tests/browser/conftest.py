"""Chromium without a network, and a page that records everything it does."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.explorer import Report, costs, explore
from vitrail.models import Swin, SwinConfig
from vitrail.shapes import Size

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install '.[dev]'")

PATIENCE = 60_000  # ms; a loaded machine is slow, not wrong
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; missing, these tests are skipped, but in CI they fail."""
    with sync_api.sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None and Path(playwright.chromium.executable_path).exists():
            found = playwright.chromium.executable_path
        if found is None:
            reason = "no Chromium here; install one, e.g. apt-get install chromium"
            if os.environ.get("CI", "").lower() in ("true", "1"):
                pytest.fail(reason)
            pytest.skip(reason)
        browser = playwright.chromium.launch(executable_path=found, args=list(SWITCHES))
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, and what it said and requested."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """What was requested beyond the page itself."""
        return [url for url in self.requests if not url.startswith(("data:", "blob:"))]


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file, network off, and wait until the page has drawn itself."""
    contexts = []

    def open_page(path: Path, *, fragment: str = "", slower: int = 1, **options: Any) -> Opened:
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        context = browser.new_context(offline=True, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda said: opened.console.append(said.text))
        opened.page.on("pageerror", lambda e: opened.console.append(f"{e}\n{e.stack}"))
        opened.page.on("dialog", lambda dialog: opened.console.append(f"dialog {dialog.message}"))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        if slower > 1:  # as on a machine that is so many times slower
            devtools = context.new_cdp_session(opened.page)
            devtools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        opened.page.goto(path.as_uri() + fragment)
        opened.page.wait_for_selector("html[data-ready=true]", timeout=PATIENCE)
        return opened

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def small_model() -> Swin:
    config = SwinConfig(
        dim=8, depths=(2, 2), num_heads=(2, 4), window=(4, 4), patch=(2, 2), num_classes=7
    )
    model = Swin(config, name="small")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((240, 160), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def made() -> dict[Any, tuple[Report, Any]]:
    """Reports that were made before, each with its model, which keeps the model's id its own."""
    return {}


@pytest.fixture
def saved(
    small_model: Swin, picture: Image.Image, tmp_path: Path, made: dict[Any, tuple[Report, Any]]
) -> Callable[..., tuple[Path, Report]]:
    """Write a report and return its path and itself; maps are scored where a test says so."""

    def save(size: Size = (32, 48), model: Swin = small_model, **options: Any):
        options = {"scored": False, **options}
        key = (size, id(model), *options.items())
        if key not in made:
            made[key] = (explore(model, picture, size=size, **options), model)
        report = made[key][0]
        return report.save(tmp_path / "report.html"), report

    return save


@pytest.fixture(scope="session")
def session_report(
    small_model: Swin,
    picture: Image.Image,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Report]:
    """A report for tests that share one page."""
    with costs_at_small_sizes():
        report = explore(small_model, picture, size=(32, 48), scored=False)
    return report.save(tmp_path_factory.mktemp("report") / "report.html"), report


@contextmanager
def costs_at_small_sizes() -> Iterator[None]:
    """Each new model would have its curves computed otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "SIZES", (16, 32))
        patch.setattr(costs, "WINDOWS", (4,))
        yield


@pytest.fixture(autouse=True)
def few_costs() -> Iterator[None]:
    """For a test alone: others of this process may want the curves."""
    with costs_at_small_sizes():
        yield
