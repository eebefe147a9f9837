"""From areas to intervals and verdicts."""

import json
from importlib import resources

import numpy as np
import pytest

from tests.support import refuses
from vitrail import create_model
from vitrail.explain import digest
from vitrail.explain.study import REFERENCES, Areas, compare, published


def images(count: int = 100, **shifts: tuple[float, float]) -> list[Areas]:
    """Return areas that vary from image to image; a method differs from random by its shift."""
    generator = np.random.default_rng(5)
    found = []
    for _ in range(count):
        base, noise = generator.uniform(0.2, 0.8), generator.normal(0, 0.01, (9, 2))
        areas: dict[str, tuple[float, float]] = {"random": (base, base), "centre": (base, base)}
        for number, (name, (deletion, insertion)) in enumerate(shifts.items()):
            areas[name] = (
                base + deletion + float(noise[number, 0]),
                base + insertion + float(noise[number, 1]),
            )
        found.append(areas)
    return found


def test_a_paired_difference_is_seen_through_the_spread_of_the_images() -> None:
    rows = compare(images(good=(-0.02, 0.02), bad=(0.02, -0.02), half=(-0.02, -0.02)))
    by_name = {row["method"]: row for row in rows}
    assert [row["method"] for row in rows] == ["good", "bad", "half", *REFERENCES]
    assert by_name["good"]["beats"] == {"random": True, "centre": True}
    for name in ("bad", "half", *REFERENCES):
        assert by_name[name]["beats"] == {"random": False, "centre": False}
    mean, low, high = by_name["good"]["against"]["random"]["deletion"]
    assert low < -0.02 < high and low < mean < high
    wide = by_name["good"]["deletion"]
    assert wide[2] - wide[1] > 10 * (high - low)  # unpaired, the images' own spread hides it


def test_the_interval_is_that_of_the_standard_error() -> None:
    areas = images(400, method=(0, 0))
    (row, *_) = compare(areas)
    values = np.array([image["method"][0] for image in areas])
    error = values.std() / len(values) ** 0.5
    mean, low, high = row["deletion"]
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.15 * error)


def test_no_difference_is_mostly_found_to_be_none() -> None:
    rows = compare(images(100, **{f"m{i}": (0.0, 0.0) for i in range(9)}))
    assert not any(row["beats"]["random"] for row in rows)


def test_equal_seeds_give_equal_rows() -> None:
    areas = images(30, method=(0.01, 0))
    assert compare(areas) == compare(areas)
    assert compare(areas) != compare(areas, seed=1)


def test_what_cannot_be_compared_is_refused() -> None:
    with refuses("areas of 1 image(s)", "more images"):
        compare(images(1))
    odd = images(3)
    with refuses("image 3, which differs from the others in extra", "same methods"):
        compare([*odd, *images(1, extra=(0, 0))])
    with refuses("differs from the others in centre", "both references"):
        compare([{"random": (0.5, 0.5)}] * 3)


def test_the_studies_of_the_package_are_found_by_their_weights() -> None:
    assert published("0" * 64) is None
    folder = resources.files("vitrail.explain") / "studies"
    files = [file for file in folder.iterdir() if file.name.endswith(".json")]
    for file in files:
        study = json.loads(file.read_text(encoding="utf-8"))
        found = published(study["sha256"])
        assert found is not None and found["images"] >= 100
        assert set(found) == {"images", "dataset", "rows"}
        for row in found["rows"]:
            assert set(row) == {"method", "deletion", "insertion", "beats_random"}
            assert row["deletion"][1] <= row["deletion"][0] <= row["deletion"][2]


def test_the_bundled_weights_have_a_study() -> None:
    study = published(digest(create_model("swin_nano", weights="bundled")))
    assert study is not None
    assert {"random", "centre"} < {row["method"] for row in study["rows"]}
