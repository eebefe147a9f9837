"""Draw docs/images/report.png, the README's picture of a report, from a report's file.

Usage: python scripts/report_picture.py reports/chelsea.html docs/images/report.png
Needs Playwright and Chromium, as the browser tests do.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1240, 1420
VIEW = "#view=canvas&block=1&token=500&head=mean&step=3"  # the tour at a shifted window: an eye
LARGEST = 400_000  # bytes


def main(report: Path, target: Path) -> None:
    """Take the top of the page, in few colours to stay small."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(report.resolve().as_uri() + VIEW)
        page.wait_for_selector("html[data-ready=true]")
        page.wait_for_timeout(800)  # of a picture that fades in
        shot = page.screenshot()
        browser.close()
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    for colours in (256, 160, 96, 64):
        picture.quantize(colours, kmeans=3).save(target, optimize=True)
        if target.stat().st_size <= LARGEST:
            break
    print(f"{target}: {picture.width} x {picture.height}, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
