"""Detection: a box, a class and a score for each object in an image, and masks where wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.data.batch import Batch, Sample, Unreadable
from vitrail.data.box_motion import BoxMotion, Moved, fitted, moved
from vitrail.data.boxes import BoxSource, boxes_in, open_boxes, split_boxes
from vitrail.data.dataset import Subset
from vitrail.data.images import ImageError, Photo, as_photo
from vitrail.data.joint import Shade
from vitrail.data.outline import Outline
from vitrail.data.rle import run_lengths
from vitrail.data.rng import key
from vitrail.errors import UsageError
from vitrail.models import Preprocessing, TaskModel, backbone_of
from vitrail.shapes import Size
from vitrail.tasks.base import Column, Forward, Recipe, Task
from vitrail.tasks.detect_options import UNUSED, DetectOptions
from vitrail.tasks.detect_score import DetectScore, MaskScore
from vitrail.tasks.detection import Detection, Found, found_in
from vitrail.tasks.options import options_from

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing

MASKS = "mask_rcnn"
"""The head that gives masks."""


@dataclass(frozen=True)
class Detect(Task):
    """Detection: the boxes of objects."""

    name: ClassVar[str] = "detect"
    layout: ClassVar[str] = "images with COCO's JSON beside or in them, or VOC's Annotations/"
    best: ClassVar[str] = "map"
    train_columns: ClassVar = (Column("class_loss", "classes"), Column("box_loss", "boxes"))
    val_columns: ClassVar = (Column("map", "mAP"), Column("map50", "mAP50"))
    Options: ClassVar = DetectOptions
    answers: ClassVar = Detection
    unused: ClassVar = UNUSED
    with_masks: ClassVar[bool] = False

    options: DetectOptions

    @classmethod
    def recognises(cls, data: Outline) -> str | None:
        """COCO's JSON, or Pascal VOC's folders."""
        return boxes_in(data)

    @classmethod
    def open(cls, data: Sequence[str], *, train: bool, root: Path, download: bool) -> BoxSource:
        """Open images with COCO's JSON or VOC's XML; see ``open_boxes``."""
        return open_boxes(data)

    @classmethod
    def extents(cls, source: BoxSource, index: int) -> Float[np.ndarray, "objects axes"]:
        """Height and width of the boxes that stand for one object."""
        objects = source.objects(index)
        left, top, right, bottom = objects.boxes[~objects.crowd].T.astype(np.float64)
        return np.stack([bottom - top, right - left], 1)

    @classmethod
    def split(
        cls, source: BoxSource, share: float, seed: int
    ) -> tuple[Subset[BoxSource], Subset[BoxSource]]:
        """Cut by images."""
        return split_boxes(source, share, seed)

    @classmethod
    def build(cls, part: Subset[BoxSource], options: DetectOptions) -> "Detect":
        """The task of images with boxes."""
        return cls(part.source.classes, options)

    @classmethod
    def of(cls, model: Any) -> "Detect":
        """The task of a model with a detector.

        Raises:
            UsageError: it has none, or its options cannot be used.
        """
        facts = model.task if isinstance(model, TaskModel) else None
        if facts is None or facts.name != cls.name:
            raise _no_head(model)
        names = model.preprocessing.classes or tuple(f"class {n}" for n in range(facts.classes))
        return cls(names, options_from(cls, facts.options)).by(model)

    def by(self, model: Any) -> "Detect":
        """The task as a model does it: with masks where its head gives such."""
        masks = isinstance(model, TaskModel) and model.head_facts.name == MASKS
        return (DetectMasks if masks else Detect)(self.classes, self.options)

    def check(self, source: BoxSource) -> None:
        """Refuse boxes of other classes."""
        if source.classes != self.classes:
            raise UsageError(
                given=f"data with the classes {', '.join(source.classes[:8])}",
                allowed=f"those of the model, in their order: {', '.join(self.classes[:8])}",
                fix="correct the list of categories, or use a model of these classes",
            )

    def input_size(self, model: Any, size: Size | None) -> Size:
        """The lengths of the inputs that a model is trained on.

        Raises:
            UsageError: the model does not take images, or has no detector.
        """
        if not isinstance(model, TaskModel) or model.task.name != self.name:
            raise _no_head(model)
        return tuple(size or model.preprocessing.size)

    def samples(
        self, part: Subset[Any], facts: Preprocessing, recipe: Recipe | None
    ) -> "BoxSamples":
        """Images moved and shaded; to measure, whole images, resized until they fit."""
        if recipe is None:
            return BoxSamples(part, self, facts)
        own = self.options
        motion = BoxMotion(size=facts.size, scale=own.scale, flip=own.flip, visible=own.visible)
        shade = Shade(
            brightness=own.brightness, contrast=own.contrast, gamma=own.gamma, channels=own.channels
        )
        return BoxSamples(part, self, facts, (motion, shade))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack the inputs; the targets are a list, for each has objects of its own."""
        return Batch(
            torch.stack([sample.input for sample in samples]),
            [sample.target for sample in samples],
            tuple(sample.name for sample in samples),
            torch.ones(len(samples), dtype=torch.bool),
        )

    def loss(self, forward: Forward, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, Any]]:
        """The sum of the detector's losses; its parts by what they are of."""
        losses = forward(batch.inputs, batch.targets)
        boxes = [value for name, value in losses.items() if "reg" in name]
        classes = [v for name, v in losses.items() if "reg" not in name and "mask" not in name]
        parts = {"class_loss": classes, "box_loss": boxes}
        total = torch.stack(list(losses.values())).sum()
        return total, {name: torch.stack(some).sum().detach() for name, some in parts.items()}

    def score(self) -> DetectScore:
        """Mean average precision, as COCO measures it."""
        return DetectScore(self.classes)

    def read(self, input: Any) -> Photo:
        """Open a photo; see ``as_photo``."""
        return as_photo(input)

    def predict(self, model: nn.Module, opened: Photo, size: Size | None = None) -> Detection:
        """The objects in a photo, in its own pixels, the surest first.

        Args:
            model: of this task, in any mode and on any device.
            opened: what ``read`` returned.
            size: height and width in which the photo is made to fit; default the model's own.
        Raises:
            UsageError: the model's outputs are not finite.
        """
        backbone = backbone_of(model)
        assert backbone is not None
        facts, parameter = backbone.preprocessing, next(model.parameters())
        pixels = torch.from_numpy(np.array(opened.image)).movedim(-1, 0).float() / 255
        whole = tuple(pixels.shape[1:])
        lengths = fitted(whole, size or facts.size)
        nothing = torch.zeros(0, 4)
        x = moved(normalised(pixels, facts), nothing, None, lengths, (0, 0), size or facts.size)
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad():
                (answer,) = model(x.image[None].to(parameter.device, parameter.dtype))
        finally:
            model.train(was_training)
        found = found_in(answer, lengths, whole).over(self.options.score)
        return Detection(found, self.classes, opened)


@dataclass(frozen=True)
class DetectMasks(Detect):
    """Detection of objects with their masks."""

    val_columns: ClassVar = (*Detect.val_columns, Column("mask_map", "mask mAP"))
    with_masks: ClassVar[bool] = True

    def score(self) -> DetectScore:
        """Mean average precision of boxes and of masks."""
        return MaskScore(self.classes)


class BoxSamples:
    """Images with their objects, as the model takes them.

    The key of a sample seeds all that is random about it.
    """

    def __init__(
        self,
        part: Subset[BoxSource],
        task: Detect,
        facts: Preprocessing,
        augment: tuple[BoxMotion, Shade] | None = None,
    ) -> None:
        self.part, self.task, self.facts, self.augment = part, task, facts, augment

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, item: tuple[int, int]) -> Sample | Unreadable:
        position, seed = item
        source, index = self.part.source, int(self.part.indices[position])
        name = source.name(index)
        try:
            image = torch.from_numpy(np.ascontiguousarray(source.image(index))).float() / 255
            masks = source.masks(index) if self.task.with_masks else None
        except ImageError as error:
            return Unreadable(name, error.given)
        if self.augment is None:
            return Sample(*self._whole(image, index, masks), name)
        motion, shade = self.augment
        objects = source.objects(index)
        learnt = np.flatnonzero(~objects.crowd)
        made = motion(
            normalised(shade(image, key(seed, 1)), self.facts),
            torch.from_numpy(objects.boxes[learnt]),
            None if masks is None else torch.from_numpy(masks[learnt]),
            seed,
        )
        return Sample(made.image, self._target(made, objects.labels[learnt]), name)

    def _target(self, made: Moved, labels: np.ndarray) -> dict[str, Any]:
        target = {"boxes": made.boxes, "labels": torch.from_numpy(labels)[made.kept]}
        return target if made.masks is None else target | {"masks": made.masks}

    def _whole(
        self, image: Float[Tensor, "channels height width"], index: int, masks: np.ndarray | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """A whole image and what is in it, in its own pixels."""
        objects, whole = self.part.source.objects(index), tuple(image.shape[1:])
        lengths = fitted(whole, self.facts.size)
        x = normalised(image, self.facts)
        made = moved(x, torch.zeros(0, 4), None, lengths, (0, 0), self.facts.size)
        shapes = None if masks is None else [run_lengths(mask > 0) for mask in masks]
        true = Found(objects.boxes, objects.labels, None, shapes)
        about = {"size": whole, "lengths": lengths, "true": true, "crowd": objects.crowd}
        return made.image, about


def normalised(
    image: Float[Tensor, "channels height width"], facts: Preprocessing
) -> Float[Tensor, "channels height width"]:
    """An input for the model from samples between 0 and 1, by the mean and width of its weights."""
    mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (facts.mean, facts.std))
    return (image - mean) / std


def _no_head(model: Any) -> UsageError:
    return UsageError(
        given=f"{getattr(model, 'name', None) or type(model).__name__} without a detector",
        allowed="a model that was created, or trained, with task='detect'",
        fix="train one: vitrail train DATA --task detect --weights FILE",
    )
