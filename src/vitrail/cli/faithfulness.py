"""`vitrail faithfulness`: how far to trust each kind of map, measured on a data set."""

from pathlib import Path
from typing import Annotated, Any

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
from vitrail.files import check_apart, check_folder, check_outside, check_writable

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

    from vitrail.bench.faithfulness import measure_images, summed
    from vitrail.cli._faithfulness_page import small, write
    from vitrail.explain import digest
    from vitrail.explain.methods import METHODS
    from vitrail.explain.study import FORMAT

    chosen = _chosen(method, METHODS)
    if target not in TARGETS:
        raise UsageError(f"--target {target}", " or ".join(TARGETS), "use --target predicted")
    lengths: Any = parse_size(size)
    check_outside(output, *data)
    check_folder(output)
    if summary is not None:
        check_apart(summary, model, weights, *data)
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
        measured = measure_images(loaded, source, chosen, settings, output / "measured", batch_size)
        for image in measured:
            found.append(image)
            bar.advance(task)
            if len(found) == count:
                break
    result = {"format": FORMAT, **settings, **summed(found, chosen, seed)}
    write(result, output)
    if summary is not None:
        small(result, summary)
    if as_json:
        print_json({key: value for key, value in result.items() if key not in _LONG})
    else:
        typer.echo(str(output / "README.md"))


_LONG = ("per_image", "curves")


def _chosen(names: list[str] | None, methods: Any) -> dict[str, Any]:
    """Return the requested methods, by name."""
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
