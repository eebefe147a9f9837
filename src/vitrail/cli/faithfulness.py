"""`vitrail faithfulness`: how far to trust each kind of map, measured on a data set."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._models import OptionalModel, OptionalWeights, choose_device, load_model
from vitrail.cli._shared import (
    DeviceOption,
    JsonOption,
    SizeOption,
    nearest,
    parse_size,
    print_json,
    progress,
)
from vitrail.errors import UsageError
from vitrail.files import check_folder, check_writable

if TYPE_CHECKING:
    from torch import Tensor

TARGETS = ("predicted", "label")


def run(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, zips of class folders ('test-*.zip'), or "
            "torchvision:CIFAR10 (its test part).",
        ),
    ],
    model: OptionalModel = None,
    weights: OptionalWeights = None,
    size: SizeOption = None,
    images: Annotated[int, typer.Option("--images", "-n", help="How many, drawn by --seed.")] = 100,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="A kind of map, several times for several; default all."),
    ] = None,
    target: Annotated[
        str, typer.Option(help="Class to explain: 'predicted', or the image's own 'label'.")
    ] = "predicted",
    baseline: Annotated[
        str, typer.Option(help="What stands where something was removed: 'blur' or 'mean'.")
    ] = "blur",
    steps: Annotated[int, typer.Option(help="Points on a curve.", min=2)] = 51,
    draws: Annotated[int, typer.Option(help="Random orders for each image.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Decides images, orders and the bootstrap.")] = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", help="Images a forward pass.", min=1)
    ] = 64,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the document, plots and numbers.")
    ] = Path("docs/faithfulness"),
    summary: Annotated[
        Path | None,
        typer.Option(help="Write a small JSON too, as the package has it for bundled weights."),
    ] = None,
    root: Annotated[Path, typer.Option(help="Where torchvision's data sets lie.")] = Path(
        "~/.cache/vitrail/data"
    ),
    download: Annotated[
        bool, typer.Option("--download", help="Download a torchvision data set that is missing.")
    ] = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how faithful each kind of map is: deletion and insertion over many images.

    The folder then holds README.md, faithfulness.json and two plots, and under measured/ one file
    for each image. A run that was stopped goes on with the same command: images and methods that
    were measured with the same settings are read, not measured again.
    """
    import matplotlib  # noqa: F401  # early: without it the hour before would be wasted

    from vitrail.cli._faithfulness_page import small, write
    from vitrail.explain import digest
    from vitrail.explain.methods import METHODS
    from vitrail.explain.study import FORMAT

    chosen = _chosen(method, METHODS)
    if target not in TARGETS:
        raise UsageError(f"--target {target}", " or ".join(TARGETS), "use --target predicted")
    lengths: Any = parse_size(size)
    check_folder(output)
    if summary is not None:
        check_writable(summary, "--summary")
    loaded, named = load_model(model, weights)
    lengths = lengths or loaded.preprocessing.size
    source = _source(data, loaded, root, download, target)
    count = _checked(images, len(source.labels))
    settings = {
        "model": loaded.name,
        "weights": Path(named).name,
        "sha256": digest(loaded),
        "dataset": _called(data),
        "size": list(lengths),
        "target": target,
        "baseline": baseline,
        "steps": steps,
        "draws": draws,
        "seed": seed,
    }
    loaded = loaded.to(choose_device(device))
    found: list[dict[str, Any]] = []
    with progress() as bar:
        task = bar.add_task("images", total=count)
        measured = _measure(loaded, source, chosen, settings, output / "measured", batch_size)
        for told in measured:
            found.append(told)
            bar.advance(task)
            if len(found) == count:
                break
    result = {"format": FORMAT, **settings, **_summed(found, chosen, seed)}
    write(result, output)
    if summary is not None:
        small(result, summary)
    if as_json:
        print_json({key: value for key, value in result.items() if key not in _LONG})
    else:
        typer.echo(str(output / "README.md"))


_LONG = ("per_image", "curves")


def _chosen(names: list[str] | None, methods: Any) -> dict[str, Any]:
    """Return the methods asked for, by name."""
    for name in names or ():
        if name not in methods:
            near = nearest(name, methods)
            raise UsageError(
                f"--method {name}",
                ", ".join(methods),
                f"use --method {near}" if near else "leave --method out for all",
            )
    return {name: methods[name] for name in dict.fromkeys(names or methods)}


def _source(data: list[str], model: Any, root: Path, download: bool, target: str) -> Any:
    from vitrail.data.sources import open_source, relabel

    source = open_source(data, train=False, root=root, download=download)
    if target == "predicted":
        return source  # any photos will do, whatever their folders are called
    names = model.preprocessing.classes or source.classes
    return relabel(source, names, model.config.num_classes)


def _checked(images: int, there: int) -> int:
    if not 2 <= images <= there:
        raise UsageError(
            f"--images {images} of a data set with {there:,}",
            f"2 to {there:,}; a hundred or more for an interval that says something",
            f"use --images {max(2, min(images, there))}",
        )
    return images


def _called(data: list[str]) -> str:
    """Return the data's name without the folders of this machine."""
    return ", ".join(
        item if item.startswith("torchvision:") else "/".join(Path(item).parts[-2:])
        for item in data
    )


def _measure(
    model: Any,
    source: Any,
    methods: dict[str, Any],
    settings: dict[str, Any],
    folder: Path,
    batch: int,
) -> Iterator[dict[str, Any]]:
    """Yield what each image says, in an order that the seed decides; unreadable ones are passed."""
    import hashlib

    from vitrail.data.dataset import Skipped
    from vitrail.data.images import ImageError
    from vitrail.data.rng import key, permutation
    from vitrail.data.transforms import eval_transform
    from vitrail.files import write_text

    folder = folder / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    transform = eval_transform(model.preprocessing, tuple(settings["size"]))
    skipped = Skipped(100)
    total = len(source.labels)
    for index in permutation(key(settings["seed"], 0xFA17), total).tolist():
        path = folder / f"{index}.json"
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        new = {
            name: method for name, method in methods.items() if name not in told.get("areas", ())
        }
        if new:
            try:
                picture = source.image(index)
            except ImageError as error:
                skipped.add(source.name(index), error)
                continue
            label = int(source.labels[index])
            # References that are known are kept: they cost as much as several methods.
            now = {**settings, "draws": 1} if told else settings
            answer = _image(model, transform(picture), label, new, now, batch)
            told = {"image": index, "class": source.classes[label], **_joined(told, answer)}
            text = json.dumps(told)
            write_text(path, text)
        yield {**told, **{key: _only(told[key], methods) for key in ("areas", "curves")}}
    raise UsageError(
        f"{len(skipped.reasons)} unreadable images among {total:,}",
        "as many readable images as --images says",
        f"use --images {total - len(skipped.reasons)}",
    )


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add new methods to what is known of an image; what is known, references too, is kept."""
    return {**new, **{key: {**new[key], **old.get(key, {})} for key in ("areas", "curves")}}


def _only(found: dict[str, Any], methods: dict[str, Any]) -> dict[str, Any]:
    """Return the methods asked for, in their order, and the references."""
    from vitrail.explain.study import REFERENCES

    return {name: found[name] for name in (*methods, *REFERENCES)}


def _image(
    model: Any,
    image: "Tensor",
    label: int,
    methods: dict[str, Any],
    settings: dict[str, Any],
    batch: int,
) -> dict[str, Any]:
    """Return the curves of one image."""
    from vitrail.explain import capture
    from vitrail.explain.faithfulness import curves

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


def _summed(found: list[dict[str, Any]], methods: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return what the images say together."""
    import numpy as np

    from vitrail.explain.study import compare

    names = found[0]["areas"]
    means = {name: np.mean([told["curves"][name] for told in found], axis=0) for name in names}
    return {
        "images": len(found),
        "rows": compare([told["areas"] for told in found], seed=seed),
        "titles": {name: method.title for name, method in methods.items()},
        "curves": {name: np.round(mean, 5).tolist() for name, mean in means.items()},
        "per_image": [
            {
                **{key: told[key] for key in ("image", "class", "explained", "probability")},
                "areas": {k: [round(a, 5) for a in v] for k, v in told["areas"].items()},
            }
            for told in found
        ],
    }
