"""`vitrail explore --against ...`: two sides in one report, or three lines that say why not."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.support import refuses
from vitrail.cli.explore import run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "red.jpg"
    Image.new("RGB", (60, 40), (200, 30, 30)).save(path)
    return path


def sides(path: Path) -> list[dict]:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json" id="manifest:\d">(.*?)</script>', text)
    return [json.loads(manifest) for manifest in found]


def test_two_sizes(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    run(photo, weights="none", size="32", output=out, against_size="24x32")
    assert [side["photo"]["input"] for side in sides(out)] == [[32, 32], [24, 32]]
    assert len({side["model"]["sha256"] for side in sides(out)}) == 1


def test_two_models(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    run(photo, weights="none", size="32", output=out, against="pvt_v2_b0",
        against_weights="none", against_size="32")  # fmt: skip
    assert [side["model"]["name"] for side in sides(out)] == ["swin_nano", "pvt_v2_b0"]


def test_two_photos(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "blue.png"
    Image.new("RGB", (60, 40), (20, 30, 200)).save(other)
    out = tmp_path / "out.html"
    run(photo, weights="none", size="32", output=out, against_photo=other)
    assert [side["photo"]["name"] for side in sides(out)] == ["red.jpg", "blue.png"]
    with refuses("blue.png", "report.html"):
        run(photo, weights="none", size="32", output=other, against_photo=other)


def test_one_side_without(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    run(photo, weights="none", size="32", output=out)
    assert len(sides(out)) == 1


def test_what_cannot_be_compared_is_refused(photo: Path) -> None:
    with refuses("--against-weights none", "--against swin_nano"):
        run(photo, against_weights="none")
    with refuses(
        "--against-size 32 together with --serve", "or leave --against-size out and choose"
    ):
        run(photo, serve=True, against_size="32")
    with refuses("--against-photo", "leave --against-photo out and choose “Compared with”"):
        run(photo, serve=True, against_photo=photo)
    with refuses("--against vit_tiny together", "leave --serve out"):
        run(photo, serve=True, against="vit_tiny", against_size="32")
