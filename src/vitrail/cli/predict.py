"""`vitrail predict`: the classes of photos."""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._models import OptionalModel, OptionalWeights, choose_device, load_model
from vitrail.cli._shared import DeviceOption, JsonOption, SizeOption, parse_size, print_json
from vitrail.errors import UsageError

if TYPE_CHECKING:
    import torch

    from vitrail.models import Backbone


def run(
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTO...", help="Picture files: JPEG, PNG, WebP, ...")
    ],
    model: OptionalModel = None,
    weights: OptionalWeights = None,
    top: Annotated[int, typer.Option("--top", "-k", help="Classes to show for each photo.")] = 5,
    size: SizeOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: photo, rank, class, probability.")
    ] = False,
) -> None:
    """Classify photos and print the most probable classes of each.

    Among several photos, one that cannot be opened is reported on stderr and the others are still
    classified; the exit code is then 2.
    """
    if top < 1:
        raise UsageError(given=f"--top {top}", allowed="1 or more", fix="use --top 5")
    if as_json and as_csv:
        raise UsageError("--json and --csv together", "one of them", "leave one out")
    lengths: Any = parse_size(size)
    loaded, source = load_model(model, weights)
    chosen = choose_device(device)
    answers: list[dict[str, Any]] = []
    for photo in photos:
        try:
            answers.append(classify(loaded.to(chosen), photo, top, lengths))
        except UsageError as error:
            if len(photos) == 1:
                raise
            print(error, file=sys.stderr)
            answers.append({"photo": str(photo), "error": error.given})
    if as_json:
        print_json({"weights": source, "photos": answers})
    elif as_csv:
        print_csv(answers)
    else:
        print_text(answers, trained=loaded.preprocessing.trained)
    if any("error" in answer for answer in answers):
        raise typer.Exit(2)


def classify(
    model: "Backbone", photo: Path, top: int, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return the most probable classes of one photo.

    Args:
        model: a model with a head.
        photo: the file.
        top: how many classes, at most those the model knows.
        size: (height, width) to use instead of the model's own.
    Raises:
        UsageError: the photo cannot be opened, or the model does not take photos.
    """
    import torch

    from vitrail.data.images import open_photo

    opened = open_photo(photo)
    with torch.no_grad():
        logits = model(_input(model, opened.image, size))[0].float()
    best = logits.softmax(-1).topk(min(top, len(logits)))
    names = model.preprocessing.classes
    found = [
        {"class": names[index] if names else f"class {index}", "index": index, "probability": p}
        for p, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
    return {"photo": str(photo), "notes": list(opened.notes), "top": found}


def _input(model: "Backbone", image: Any, size: tuple[int, int] | None) -> "torch.Tensor":
    from vitrail.data.transforms import eval_transform

    if not model.takes_photos:
        raise UsageError(
            given=f"a photo for {model.name}, whose input has {model.config.axes} axes and "
            f"{model.config.in_channels} channels",
            allowed="a model of colour images",
            fix="use --model swin_nano, or another one that `vitrail list` shows with HxW",
        )
    if model.config.num_classes == 0:
        raise UsageError(
            given=f"weights of {model.name} without a classifier",
            allowed="weights with one",
            fix="train one: vitrail train DATA --weights FILE --freeze backbone",
        )
    device = next(model.parameters()).device
    return eval_transform(model.preprocessing, size)(image)[None].to(device)


def print_csv(answers: list[dict[str, Any]]) -> None:
    """Print one row a photo and class."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["photo", "rank", "class", "probability"])
    for answer in answers:
        for rank, row in enumerate(answer.get("top", ()), 1):
            writer.writerow([answer["photo"], rank, row["class"], f"{row['probability']:.6f}"])


def print_text(answers: list[dict[str, Any]], *, trained: bool) -> None:
    """Print each photo's classes with bars."""
    from rich.text import Text

    from vitrail.cli._shared import console
    from vitrail.explorer import plain

    out = console()
    if not trained:
        out.print(Text("These weights are untrained: the answers mean nothing.", style="yellow"))
    for answer in answers:
        if "error" in answer:
            continue
        out.print(Text(plain(answer["photo"]), style="bold"))
        for note in answer["notes"]:
            out.print(Text(f"  {note}", style="dim"))
        width = max(len(plain(row["class"])) for row in answer["top"])
        for row in answer["top"]:
            bar = "█" * round(30 * row["probability"])
            out.print(f"  {plain(row['class']):<{width}} {row['probability']:6.1%} ", end="")
            out.print(Text(bar, style="blue"))
