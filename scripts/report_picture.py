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

WIDTH = 1180
VIEW = "#block=3&token=129&head=mean"  # a shifted window on the cat's eye
LARGEST = 400_000  # bytes


def main(report: Path, target: Path) -> None:
    """Take the page from its top to the end of the picture, in few colours to stay small."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": 840}, color_scheme="light")
        page.goto(report.resolve().as_uri() + VIEW)
        page.wait_for_selector("html[data-ready=true]")
        page.locator("#steps").evaluate("list => list.closest('section').hidden = true")
        box = page.locator(".look").bounding_box()
        assert box is not None
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 16}
        shot = page.screenshot(full_page=True, clip=clip)
        browser.close()
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    for colours in (256, 160, 96, 64):
        picture.quantize(colours, kmeans=3).save(target, optimize=True)
        if target.stat().st_size <= LARGEST:
            break
    print(f"{target}: {picture.width} x {picture.height}, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
