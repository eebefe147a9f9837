"""The page looks as it did: committed pictures of a small report, within half a percent of pixels.

They were drawn by Debian's Chromium with DejaVu Sans. `VITRAIL_GOLDEN=write` draws them anew; look
at them before you commit them.
"""

import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.pages import painted, state

GOLDEN = Path(__file__).parent / "golden"
DIFFERS = 24  # of 255, in any channel: less is a matter of smoothing
SHARE = 0.005

LOOKS = {
    "light": {"viewport": {"width": 1100, "height": 1180}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1100, "height": 1180}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 1900}, "color_scheme": "light"},
}


def font() -> str:
    if shutil.which("fc-match") is None:
        return "unknown"
    done = subprocess.run(
        ["fc-match", "-f", "%{family}", "system-ui"], check=False, capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_looks_as_it_did(saved, open_page, look: str, tmp_path: Path) -> None:
    if "DejaVu Sans" not in font() and os.environ.get("VITRAIL_GOLDEN") != "write":
        pytest.skip(f"drawn with DejaVu Sans; this machine writes in {font()}")
    path, _ = saved((32, 48), name="photo.png")
    page = open_page(path, fragment="#block=1&token=70&view=canvas&step=off", **LOOKS[look]).page
    painted(page, 1, state(page, "token"))
    page.wait_for_timeout(600)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    golden = GOLDEN / f"{look}.png"
    if os.environ.get("VITRAIL_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        shot.save(golden, optimize=True)
        return
    assert golden.is_file(), f"no {golden.name}; draw it with VITRAIL_GOLDEN=write"
    wanted = Image.open(golden).convert("RGB")
    assert shot.size == wanted.size
    apart = np.abs(np.asarray(shot, np.int16) - np.asarray(wanted, np.int16)).max(-1) > DIFFERS
    if apart.mean() > SHARE:
        shot.save(tmp_path / f"{look}.png")
    assert apart.mean() <= SHARE, (
        f"{100 * apart.mean():.2f} % of the pixels differ; look at {tmp_path / f'{look}.png'}, "
        "then VITRAIL_GOLDEN=write if it is meant"
    )
