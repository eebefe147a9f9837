"""Classification of photos: one class an image."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from vitrail.data.augment import BatchAugment, Mix
from vitrail.data.batch import Batch, Samples, WholeBatches
from vitrail.data.dataset import ImageSamples, MemorySource, Skipped, Subset, load_into_memory
from vitrail.data.dataset import split as split_by_class
from vitrail.data.images import SUFFIXES, Photo, as_photo
from vitrail.data.outline import Outline
from vitrail.data.sources import LabelledImages, open_source
from vitrail.data.transforms import eval_transform, train_transform
from vitrail.errors import UsageError
from vitrail.files import check_writable, write_text, write_whole
from vitrail.models import Backbone, Preprocessing, backbone_of
from vitrail.shapes import Size
from vitrail.tasks.base import LOSS, Column, Forward, Line, Prediction, Recipe, Score, Task

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing


_SHOWN, _ROW = 640, 24  # longest side of a drawn photo, height of a bar; pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyOptions:
    """What classification may do otherwise.

    Args:
        balance: weigh each class in the loss by the inverse of its share of the training images,
            for data in which some classes are rare.
    """

    balance: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Classification(Prediction):
    """The classes of a photo.

    Args:
        probabilities: of each class.
        classes: their names.
        photo: what was classified.
        shown: how many of the most probable classes it answers with.
    """

    ranked: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ("rank", "class", "probability")

    probabilities: Float[Tensor, "classes"]
    classes: tuple[str, ...]
    photo: Photo
    shown: int = 5

    def top(self, count: int | None = None) -> list[dict[str, Any]]:
        """The most probable classes: ``class``, its number ``index``, and ``probability``."""
        best = self.probabilities.topk(min(count or self.shown, len(self.classes)))
        return [
            {"class": self.classes[index], "index": index, "probability": probability}
            for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def best(self, count: int) -> "Classification":
        """With so many classes at most."""
        return replace(self, shown=count)

    def as_dict(self) -> dict[str, Any]:
        """The most probable classes, and notes on what was done to the photo."""
        return {"notes": list(self.photo.notes), "top": self.top()}

    @classmethod
    def rows(cls, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """One for each class."""
        return [{"rank": rank, **row} for rank, row in enumerate(answer["top"], 1)]

    @classmethod
    def lines(cls, answer: dict[str, Any]) -> list[Line]:
        """One for each class."""
        return [Line(row["class"], row["probability"]) for row in answer["top"]]

    def draw(self) -> Image.Image:
        """The photo above bars of the most probable classes."""
        rows, picture = self.top(), self.photo.image.copy()
        picture.thumbnail((_SHOWN, _SHOWN))
        width = max(picture.width, _SHOWN // 2)
        page = Image.new("RGB", (width, picture.height + _ROW * len(rows)), "white")
        page.paste(picture, ((width - picture.width) // 2, 0))
        pen, font = ImageDraw.Draw(page), ImageFont.load_default(_ROW * 2 // 3)
        for number, row in enumerate(rows):
            top = picture.height + number * _ROW
            bar = round(row["probability"] * (width - 1))
            pen.rectangle((0, top + 2, bar, top + _ROW - 3), fill=(168, 198, 250))
            name = " ".join(row["class"].split())
            pen.text((6, top + 4), f"{name}  {row['probability']:.1%}", fill="black", font=font)
        return page

    def save(self, path: str | Path) -> Path:
        """Write JSON (``.json``), or what ``draw`` returns (``.png``, ``.jpg``, ``.webp``)."""
        path = Path(path)
        if path.suffix.lower() not in (".json", ".png", ".jpg", ".jpeg", ".webp"):
            raise UsageError(
                given=f"{str(path)!r}, a file ending in {path.suffix or 'nothing'}",
                allowed="a file ending in .json, .png, .jpg or .webp",
                fix=f"write {str(path.with_suffix('.json'))!r}",
            )
        check_writable(path, "the file")
        if path.suffix.lower() == ".json":
            text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
            write_text(path, text.encode("utf-8", "backslashreplace").decode() + "\n")
        else:
            write_whole(path, self.draw().save)
        return path


@dataclass(frozen=True)
class Classify(Task):
    """Classification of photos.

    Args:
        weights: of the classes in the loss, their mean over the training images being 1; None
            for none.
    """

    name: ClassVar[str] = "classify"
    layout: ClassVar[str] = "one folder of images a class, zips of such, or torchvision:NAME"
    best: ClassVar[str] = "top1"
    train_columns: ClassVar = (Column("top1", "accuracy", share=True),)
    val_columns: ClassVar = (
        LOSS,
        Column("top1", "top-1", share=True),
        Column("top5", "top-5", share=True, shown=False),
    )
    Options: ClassVar = ClassifyOptions
    answers: ClassVar = Classification

    weights: tuple[float, ...] | None = None

    @classmethod
    def recognises(cls, data: Outline) -> str | None:
        """Folders of images, by whose names nothing else is meant."""
        if data.name.startswith("torchvision:"):
            return "a data set of torchvision"
        if data.tar:
            labelled = any(name.endswith((".cls", ".json")) for name in data.files)
            return "shards of images with classes" if labelled else None
        other = data.lower & {"images", "jpegimages", "annotations"}
        return None if other or not data.holds(SUFFIXES) else "folders of images"

    @classmethod
    def open(
        cls, data: Sequence[str], *, train: bool, root: Path, download: bool
    ) -> LabelledImages:
        """Open class folders, zips of them, or a data set of torchvision; see ``open_source``."""
        source = open_source(data, train=train, root=root, download=download)
        if source.classes in (("images", "labels"), ("images", "masks")):
            raise UsageError(
                given=f"images with {source.classes[1]}, to classify",
                allowed="one folder of images a class",
                fix="add --task segment, or rename the folders if they are two classes",
            )
        return source

    @classmethod
    def split(
        cls, source: LabelledImages, share: float, seed: int
    ) -> tuple[Subset[LabelledImages], Subset[LabelledImages]]:
        """Cut each class in the same proportion."""
        return split_by_class(source, share, seed)

    @classmethod
    def build(cls, part: Subset[LabelledImages], options: ClassifyOptions) -> Self:
        """The task of labelled images."""
        classes, weights = part.source.classes, None
        if options.balance:
            labels = part.source.labels[part.indices]
            counts = np.maximum(np.bincount(labels, minlength=len(classes)), 1)
            weights = tuple((len(part) / len(classes) / counts).tolist())
        return cls(classes, options, weights)

    @classmethod
    def of(cls, model: Backbone) -> Self:
        """The task of a classifier of photos.

        Raises:
            UsageError: another kind of input, or no head.
        """
        name = model.name or type(model).__name__
        if not model.takes_photos:
            raise UsageError(
                given=f"a photo for {name}, whose input has {model.config.axes} axes and "
                f"{model.config.in_channels} channels",
                allowed="a model of colour images",
                fix="use swin_nano, or another model that `vitrail list` shows with HxW",
            )
        if model.bare or model.num_classes == 0:
            raise UsageError(
                given=f"weights of {name} without a classifier",
                allowed="weights with one",
                fix="train one: vitrail train DATA --weights FILE --freeze backbone",
            )
        numbered = tuple(f"class {number}" for number in range(model.num_classes))
        return cls(model.preprocessing.classes or numbered, ClassifyOptions())

    def input_size(self, model: Any, size: Size | None) -> Size:
        """The (height, width) that a model is trained at.

        Raises:
            UsageError: the model does not take colour images, or does not classify them.
        """
        name = model.name or type(model).__name__
        if not model.takes_photos:
            raise UsageError(
                given=f"{name}, whose input has {model.config.axes} axes "
                f"and {model.config.in_channels} channels, to train on images",
                allowed="a model with 2 axes and 3 channels",
                fix="use --model swin_nano or another that `vitrail list` shows with HxW",
            )
        if model.bare or not model.global_pool:
            raise UsageError(
                given=f"{name}, which returns {'maps' if model.bare else 'tokens'}, to train as a "
                "classifier",
                allowed="a model that pools its tokens and has a head",
                fix="use the checkpoint of a classifier, or a name out of `vitrail list`",
            )
        height, width = size or model.preprocessing.size
        return height, width

    def keep(
        self, part: Subset[LabelledImages], facts: Preprocessing, budget: int, skipped: Skipped
    ) -> tuple[Subset[Any], int]:
        """Decode images once where all have the model's size."""
        height, width = facts.size
        kept = load_into_memory(part, (height, width), budget, skipped)
        return (part, 0) if kept is None else (kept, kept.source.pixels.numel())

    def samples(
        self, part: Subset[Any], facts: Preprocessing, recipe: Recipe | None
    ) -> Samples | WholeBatches:
        """Transformed images with their class numbers."""
        height, width = facts.size
        if recipe is None:
            return ImageSamples(part, eval_transform(facts, (height, width)))
        if isinstance(part.source, MemorySource) and recipe.crop == "pad":
            return KeptImages(part, BatchAugment(facts, (height, width), recipe))
        transform = train_transform(
            facts,
            (height, width),
            crop=recipe.crop,
            randaugment=recipe.randaugment,
            erase=recipe.erase,
        )
        return ImageSamples(part, transform)

    def mixing(self, recipe: Recipe) -> Callable[[Batch, int, int], Batch]:
        """Mixup and CutMix; targets become probabilities (batch, classes)."""
        mix = Mix(recipe, len(self.classes))

        def mixed(batch: Batch, seed: int, first: int) -> Batch:
            images, targets = mix(batch.inputs, batch.targets, seed, first)
            return replace(batch, inputs=images, targets=targets)

        return mixed

    def loss(self, forward: Forward, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy with label smoothing, and the share of first guesses that are right."""
        logits, target = forward(batch.inputs), batch.targets
        weights = None if self.weights is None else torch.tensor(self.weights).to(logits.device)
        loss = nn.functional.cross_entropy(
            logits.float(), target, weights, label_smoothing=recipe.smoothing
        )
        hits = (logits.detach().argmax(-1) == target.argmax(-1)).float().mean()
        return loss, {"top1": hits}

    def score(self) -> "ClassifyScore":
        """Top-1, top-5, loss and the confusion of classes."""
        return ClassifyScore(len(self.classes))

    def read(self, input: Any) -> Photo:
        """Open a photo; see ``as_photo``."""
        return as_photo(input)

    def predict(self, model: nn.Module, opened: Photo, size: Size | None = None) -> Classification:
        """The probability of each class."""
        facts = backbone_of(model)
        assert facts is not None
        height, width = size or facts.preprocessing.size
        image = eval_transform(facts.preprocessing, (height, width))(opened.image)
        parameter, was_training = next(model.parameters()), model.training
        model.eval()
        try:
            with torch.no_grad():
                logits = model(image[None].to(parameter.device, parameter.dtype))[0].float().cpu()
        finally:
            model.train(was_training)
        if not logits.isfinite().all():
            raise UsageError(
                given=f"{facts.name} with outputs that are not finite (NaN or infinite)",
                allowed="weights with finite outputs",
                fix="use other weights: these hold NaN or infinite numbers, or overflow",
            )
        return Classification(logits.softmax(-1), self.classes, opened)


class KeptImages:
    """Images that lie decoded in memory, augmented by nothing but tensor arithmetic."""

    def __init__(self, part: Subset[MemorySource], augment: BatchAugment) -> None:
        self.source, self.where = part.source, torch.from_numpy(part.indices)
        self.labels = torch.from_numpy(part.source.labels)
        self.augment = augment

    def __len__(self) -> int:
        return len(self.where)

    def take(self, positions: np.ndarray, seed: int) -> Batch:
        """The images at some positions; crop, flip and erasing depend on those and the seed."""
        where = self.where[torch.from_numpy(positions)]
        images = self.augment(self.source.pixels[where], positions, seed)
        names = tuple(map(self.source.name, where.tolist()))
        return Batch(images, self.labels[where], names, torch.ones(len(where), dtype=torch.bool))


class ClassifyScore(Score):
    """Measures a classifier.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        # Loss, top-5 hits; then the confusion matrix.
        self.sums: Float64[Tensor, "numbers"] = torch.zeros(
            2 + classes * classes, dtype=torch.float64
        )

    def add(self, model: Forward, batch: Batch) -> None:
        """Compare a batch's logits with its class numbers.

        Raises:
            UsageError: logits are not finite.
        """
        real = batch.real.cpu()
        logits, labels = model(batch.inputs).float().cpu()[real], batch.targets.cpu()[real]
        if not len(labels):
            return
        odd = int((~logits.isfinite()).any(-1).sum())
        if odd:
            raise UsageError(
                given=f"a model whose logits are not finite (NaN or infinite) for {odd} of "
                f"{len(labels)} images",
                allowed="a model with finite outputs",
                fix="use other weights; these hold NaN or infinite numbers, or overflow",
            )
        self.sums[0] += nn.functional.cross_entropy(logits, labels, reduction="sum").double()
        best = logits.topk(min(5, logits.shape[-1]), dim=-1).indices
        self.sums[1] += (best == labels[:, None]).any(-1).sum()
        cells = labels * self.classes + best[:, 0].clamp(max=self.classes - 1)
        self.sums[2:] += torch.bincount(cells, minlength=self.classes**2)

    def state(self) -> Tensor:
        """All sums."""
        return self.sums

    def merge(self, states: Sequence[Tensor]) -> None:
        """Add up."""
        self.sums = torch.stack(list(states)).sum(0)

    def result(self) -> dict[str, float]:
        """Loss, top-1 and top-5."""
        return {"loss": self.loss, "top1": self.top1, "top5": self.top5}

    @property
    def confusion(self) -> np.ndarray:
        """int64 (classes, classes): images by true class (rows) and first guess (columns)."""
        return self.sums[2:].view(self.classes, self.classes).to(torch.int64).numpy()

    @property
    def count(self) -> int:
        """Images measured."""
        return int(self.confusion.sum())

    @property
    def loss(self) -> float:
        """Mean cross-entropy, without label smoothing."""
        return float(self.sums[0]) / max(self.count, 1)

    @property
    def top1(self) -> float:
        """Share of images whose first guess is right, in [0, 1]."""
        return float(np.trace(self.confusion)) / max(self.count, 1)

    @property
    def top5(self) -> float:
        """Share of images whose class is among the first five guesses."""
        return float(self.sums[1]) / max(self.count, 1)

    @property
    def per_class(self) -> np.ndarray:
        """Share of each class' images whose first guess is right; NaN for a class without
        images.
        """
        total = self.confusion.sum(1)
        right = np.diagonal(self.confusion)
        return np.where(total > 0, right / np.maximum(total, 1), np.nan)
