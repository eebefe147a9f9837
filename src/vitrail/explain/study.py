"""From areas of many images to a verdict: means, 95 % intervals, and which method is ahead.

Intervals are percentiles of a bootstrap over images: the images are drawn again, with replacement,
and all methods see the same draws. A method is compared with a reference image by image, so that
images that are easy for both do not blur the difference.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Float

from vitrail.errors import UsageError

REFERENCES = ("random", "centre")
LEVEL = 0.95
RESAMPLES = 10_000
FORMAT = "vitrail-faithfulness/1"

# Of one image: for each method, the areas under deletion and insertion.
Areas = Mapping[str, Sequence[float]]
# A mean and both ends of its interval.
Interval = list[float]


def compare(images: Sequence[Areas], *, seed: int = 0) -> list[dict[str, Any]]:
    """Return what many images say of each method, the references last.

    A method beats a reference when its deletion area is smaller *and* its insertion area is larger,
    both with an interval of the difference that leaves out zero.

    Args:
        images: areas of each image, all with the same methods, ``REFERENCES`` among them.
        seed: decides which images the bootstrap draws.
    Returns:
        One row a method: its name, ``deletion`` and ``insertion`` as mean, lower and upper end,
        and for each reference ``against`` (the differences, method minus reference) and
        ``beats``.
    Raises:
        UsageError: fewer than two images, or images with other methods than the first.
    """
    if len(images) < 2:
        raise UsageError(
            f"areas of {len(images)} image(s)",
            "two images or more; a hundred for an interval that says something",
            "measure more images",
        )
    names = [name for name in images[0] if name not in REFERENCES] + list(REFERENCES)
    for number, image in enumerate(images):
        if set(image) != set(names):
            odd = sorted(set(image) ^ set(names))
            raise UsageError(
                f"image {number}, which differs from the others in {', '.join(odd)}",
                f"areas of {', '.join(names)} for every image",
                "measure all images with the same methods, and with both references",
            )
    areas = {name: np.array([image[name] for image in images]) for name in names}
    weights = _resampling(len(images), seed)
    return [_row(name, areas, weights) for name in names]


def published(sha256: str) -> dict[str, Any] | None:
    """Return the study that comes with the package for weights of this digest, if there is one.

    Args:
        sha256: of the weights, see ``explain.digest``.
    Returns:
        ``images``, ``dataset`` and ``rows`` (``method``, ``deletion``, ``insertion`` and
        ``beats_random``), as a trace's manifest has them.
    """
    study = _studies().get(sha256)
    if study is None:
        return None
    kept = ("method", "deletion", "insertion")
    return {
        "images": study["images"],
        "dataset": study["dataset"],
        "rows": [
            {**{key: row[key] for key in kept}, "beats_random": row["beats"]["random"]}
            for row in study["rows"]
        ],
    }


@cache
def _studies() -> dict[str, dict[str, Any]]:
    """Return the package's studies by the digest of their weights."""
    folder = resources.files("vitrail.explain") / "studies"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    studies = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    assert all(study["format"] == FORMAT for study in studies), "a study of another format"
    return {study["sha256"]: study for study in studies}


def _resampling(count: int, seed: int) -> Float[np.ndarray, "resamples images"]:
    """Return how much each image weighs in each resample; rows sum to one."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count


def _row(
    name: str, areas: Mapping[str, np.ndarray], weights: Float[np.ndarray, "resamples images"]
) -> dict[str, Any]:
    against = {
        reference: _both(areas[name] - areas[reference], weights)
        for reference in REFERENCES
        if reference != name
    }
    return {
        "method": name,
        **_both(areas[name], weights),
        "against": against,
        "beats": {
            reference: reference in against and _beats(against[reference])
            for reference in REFERENCES
        },
    }


def _both(
    values: Float[np.ndarray, "images 2"], weights: Float[np.ndarray, "resamples images"]
) -> dict[str, Interval]:
    ends = (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2)
    low, high = np.percentile(weights @ values, ends, axis=0)
    return {
        kind: [float(values[:, i].mean()), float(low[i]), float(high[i])]
        for i, kind in enumerate(("deletion", "insertion"))
    }


def _beats(difference: Mapping[str, Interval]) -> bool:
    return difference["deletion"][2] < 0 < difference["insertion"][1]
