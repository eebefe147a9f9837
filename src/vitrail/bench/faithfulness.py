"""How faithful maps are over many images: each image's curves, kept as they are found."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vitrail.data.batch import Unreadable
from vitrail.data.dataset import Skipped
from vitrail.data.images import ImageError
from vitrail.data.rng import key, permutation
from vitrail.data.transforms import eval_transform
from vitrail.errors import UsageError
from vitrail.explain import capture
from vitrail.explain.faithfulness import curves
from vitrail.explain.study import REFERENCES, compare
from vitrail.files import write_text


def measure_images(
    model: Any,
    source: Any,
    methods: dict[str, Any],
    settings: dict[str, Any],
    folder: Path,
    batch: int,
) -> Iterator[dict[str, Any]]:
    """Yield the curves of each image, in an order that the seed decides, without unreadable ones.

    Args:
        model: the model.
        source: where the images are.
        methods: of maps, by name.
        settings: as the result has them; they name the folder of what is kept.
        folder: where each image's numbers are kept, so that a run can go on.
        batch: images in a forward pass.
    Raises:
        UsageError: no image is left.
    """
    folder = folder / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    transform = eval_transform(model.preprocessing, tuple(settings["size"]))
    skipped = Skipped(100)
    total = len(source.labels)
    for index in permutation(key(settings["seed"], 0xFA17), total).tolist():
        path = folder / f"{index}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        new = {
            name: method for name, method in methods.items() if name not in known.get("areas", ())
        }
        if new:
            try:
                picture = source.image(index)
            except ImageError as error:
                skipped.add(Unreadable(source.name(index), error.given))
                continue
            label = int(source.labels[index])
            # References that are known are kept: they cost as much as several methods.
            now = {**settings, "draws": 1} if known else settings
            answer = _image(model, transform(picture), label, new, now, batch)
            known = {"image": index, "class": source.classes[label], **_joined(known, answer)}
            text = json.dumps(known)
            write_text(path, text)
        yield {**known, **{key: _only(known[key], methods) for key in ("areas", "curves")}}
    raise UsageError(
        f"{len(skipped.reasons)} unreadable images among {total:,}",
        "as many readable images as --images says",
        f"use --images {total - len(skipped.reasons)}",
    )


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add new methods to what is known of an image; what is known, references too, is kept."""
    return {**new, **{key: {**new[key], **old.get(key, {})} for key in ("areas", "curves")}}


def _only(found: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    """Return the requested methods, in their order, and the references."""
    return {name: found[name] for name in (*methods, *REFERENCES)}


def _image(
    model: Any,
    image: Tensor,
    label: int,
    methods: dict[str, Any],
    settings: dict[str, Any],
    batch: int,
) -> dict[str, Any]:
    """Return the curves of one image."""
    image = image.to(next(model.parameters()).device)
    trace = capture(model, image)
    probabilities = trace.logits.softmax(0)
    cls = label if settings["target"] == "label" else int(probabilities.argmax())
    maps = {name: method.map(model, image[None], trace, cls) for name, method in methods.items()}
    found = curves(
        model,
        image,
        maps,
        cls=cls,
        steps=settings["steps"],
        draws=settings["draws"],
        seed=settings["seed"],
        batch=batch,
        baseline=settings["baseline"],
    )
    every = {**found.maps, "random": found.random, "centre": found.centre}
    return {
        "explained": cls,
        "probability": float(probabilities[cls]),
        "areas": {name: list(curve.areas) for name, curve in every.items()},
        "curves": {name: curve.both().tolist() for name, curve in every.items()},
    }


def summed(found: list[dict[str, Any]], methods: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the figures over all images: means, intervals, and each image's areas."""
    names = found[0]["areas"]
    means = {name: np.mean([known["curves"][name] for known in found], axis=0) for name in names}
    return {
        "images": len(found),
        "rows": compare([known["areas"] for known in found], seed=seed),
        "titles": {name: method.title for name, method in methods.items()},
        "curves": {name: np.round(mean, 5).tolist() for name, mean in means.items()},
        "per_image": [
            {
                **{key: known[key] for key in ("image", "class", "explained", "probability")},
                "areas": {k: [round(a, 5) for a in v] for k, v in known["areas"].items()},
            }
            for known in found
        ],
    }
