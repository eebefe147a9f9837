"""Segmentation: a class for each place of an input, and objects where the labels number them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor, nn

from vitrail.data import images, volumes
from vitrail.data.batch import Batch, Sample
from vitrail.data.dataset import Skipped, Subset
from vitrail.data.images import MAX_LABEL, ImageError
from vitrail.data.layout import LABEL_FOLDERS
from vitrail.data.outline import Outline
from vitrail.data.pair import Pairs
from vitrail.data.pairs import load_pairs, open_pairs, split_pairs
from vitrail.data.rasters import Moments, Raster
from vitrail.data.shards import LABEL_MAPS
from vitrail.errors import UsageError
from vitrail.heads.align import stretched
from vitrail.models import Preprocessing, TaskModel, backbone_of
from vitrail.shapes import Size, as_size
from vitrail.tasks.base import LOSS, Column, Forward, Recipe, Task
from vitrail.tasks.instances import (
    CLASSES,
    INSIDE,
    extents_of,
    objects_of,
    scikit_image,
    with_borders,
)
from vitrail.tasks.losses import IGNORED, cross_entropy, soft_dice
from vitrail.tasks.options import options_from
from vitrail.tasks.raster_segmentation import RasterSegmentation, predict_raster
from vitrail.tasks.segment_classes import VOID, with_classes
from vitrail.tasks.segment_options import IMAGE_TILE, UNUSED, VOLUME_TILE, SegmentOptions
from vitrail.tasks.segment_samples import (
    Opened,
    PairSamples,
    check_form,
    moments_of,
    motion_of,
    one_spacing,
    open_input,
    resized,
    samples_of,
    shade_of,
    standardised,
)
from vitrail.tasks.segment_score import SegmentScore
from vitrail.tasks.segmentation import Segmentation, default_colours
from vitrail.tasks.tiles import bands
from vitrail.tasks.volume_segmentation import VolumeSegmentation

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the shape checker looks at one method at a time, where Self means nothing

_MAPS = tuple(f".{ending}" for ending in LABEL_MAPS)


@dataclass(frozen=True)
class Segment(Task):
    """Segmentation: a class for each place of an input.

    Args:
        classes: their names.
        options: the task's own.
        axes: spatial axes of an input: 2 of images, 3 of volumes.
        channels: of an input.
        moments: mean and deviation of each channel of the training data, where inputs are
            normalised by these.
    """

    name: ClassVar[str] = "segment"
    layout: ClassVar[str] = "images/ with labels/ or masks/, in a folder or zips; or one .npz"
    best: ClassVar[str] = "dice"
    train_columns: ClassVar = (Column("dice", "Dice"),)
    val_columns: ClassVar = (LOSS, Column("dice", "Dice"), Column("iou", "IoU"))
    Options: ClassVar = SegmentOptions
    unused: ClassVar = UNUSED
    any_size: ClassVar = True
    finds_objects: ClassVar[bool] = False

    options: SegmentOptions
    axes: int = 2
    channels: int = 3
    moments: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @classmethod
    def recognises(cls, data: Outline) -> str | None:
        """``images/`` with ``labels/`` or ``masks/``, or arrays of these names."""
        if data.tar and any(name.lower().endswith(tuple(_MAPS)) for name in data.files):
            return "shards of images with label maps"
        if {"images.npy", "labels.npy"} <= data.files:
            return "the arrays images and labels"
        found = [name for name in LABEL_FOLDERS if name in data.folders]
        return f"images/ with {found[0]}/" if found and "images" in data.folders else None

    @classmethod
    def open(cls, data: Sequence[str], *, train: bool, root: Path, download: bool) -> Pairs:
        """Open folders or zips with ``images/`` and ``labels/``; see ``open_pairs``."""
        return open_pairs(data)

    @classmethod
    def extents(cls, source: Pairs, index: int) -> Float[np.ndarray, "objects axes"]:
        """Of what hangs together under one label that is not 0.

        The label 255 is left out where others occur in the data, and 254 is none of them.
        """
        numbers = set(source.survey.numbers.tolist()) - {0}
        labels = source.labels(index).numbers
        if len(numbers) > 1 and VOID - 1 not in numbers:
            labels = np.where(labels == VOID, 0, labels)
        return extents_of(labels)

    @classmethod
    def split(cls, source: Pairs, share: float, seed: int) -> tuple[Subset[Pairs], Subset[Pairs]]:
        """Cut by images; those of one group stay together."""
        return split_pairs(source, share, seed)

    @classmethod
    def build(cls, part: Subset[Pairs], options: SegmentOptions) -> "Segment":
        """The task of images with label maps.

        Raises:
            UsageError: the labels are those of objects, of one class, or none of the classes', or
                volumes have several spacings.
        """
        source = part.source
        form = source.form[:2]
        if options.normalise == "auto":
            options = replace(options, normalise="data" if source.form.raw else "image")
        moments = moments_of(part) if options.normalise == "data" else None
        if form[0] == 3:
            options = replace(options, spacing=one_spacing(source.survey.spacings, options))
        if options.instances:
            scikit_image()
            return Objects(CLASSES, replace(options, ignore=None), *form, moments)
        options = with_classes(part, options)
        return cls(options.classes, options, *form, moments)

    def check(self, source: Pairs) -> None:
        """Refuse inputs of another form or spacing, and label maps of other classes."""
        check_form(self, source)
        known, given = self.classes, source.classes
        named = known != tuple(f"class {value}" for value in self.options.values)
        if self.finds_objects or not given or given == known:
            return
        if named or len(given) != len(known):
            raise UsageError(
                given=f"data with the classes {', '.join(given[:8])}",
                allowed=f"those of the model, in their order: {', '.join(known[:8])}",
                fix="correct the list of classes and the labels, or use a model of these classes",
            )

    @classmethod
    def of(cls, model: Any) -> "Segment":
        """The task of a model with a head of segmentation.

        Raises:
            UsageError: it has none, or its options cannot be used.
        """
        facts = model.task if isinstance(model, TaskModel) else None
        if facts is None or facts.name != cls.name:
            raise _no_head(model)
        options = options_from(cls, facts.options)
        if not options.values and not options.instances:
            options = replace(options, values=tuple(range(facts.classes)))
        if options.normalise == "auto":  # of a model that has seen no data
            options = replace(options, normalise="image")
        numbered = tuple(f"class {n}" for n in range(facts.classes))
        names = model.preprocessing.classes or numbered
        form = (model.config.axes, model.config.in_channels)
        return (Objects if options.instances else cls)(names, options, *form)

    @property
    def answers(self) -> type[Segmentation]:  # type: ignore[override]  # of a class it is one
        """What ``predict`` returns."""
        return VolumeSegmentation if self.axes == 3 else Segmentation

    @property
    def suffixes(self) -> frozenset[str]:  # type: ignore[override]  # likewise
        """Endings of the files that ``read`` opens."""
        pictures = (frozenset[str](), images.SUFFIXES, frozenset(volumes.SUFFIXES))
        return pictures[self.axes - 1] | {".npy", ".npz"}

    @property
    def tile(self) -> int:
        """Inputs longer than that are predicted by tiles, in samples."""
        return self.options.tile or (VOLUME_TILE if self.axes == 3 else IMAGE_TILE)

    def model_fields(self) -> dict[str, Any]:
        """How many channels a model to be trained takes."""
        return {} if self.channels == 3 else {"in_channels": self.channels}

    def input_size(self, model: Any, size: Size | None) -> Size:
        """The lengths of the crops that a model is trained on.

        Raises:
            UsageError: the model takes other inputs than the data are, or has no head.
        """
        if not isinstance(model, TaskModel):
            raise _no_head(model)
        config = model.config
        if (config.axes, config.in_channels) != (self.axes, self.channels):
            name, shown = ("swin3d_nano", "DxHxW") if self.axes == 3 else ("swin_nano", "HxW")
            raise UsageError(
                given=f"{model.name}, whose input has {config.axes} axes "
                f"and {config.in_channels} channels, to segment "
                f"{'volumes' if self.axes == 3 else 'images'}",
                allowed=f"a model with {self.axes} axes and {self.channels} channels",
                fix=f"use --model {name} or another that `vitrail list` shows with {shown}",
            )
        return as_size(size or model.preprocessing.size, self.axes, "size")

    def keep(
        self, part: Subset[Any], facts: Preprocessing, budget: int, skipped: Skipped
    ) -> tuple[Subset[Any], int]:
        """Decode images and label maps once."""
        kept = load_pairs(part, budget, skipped)
        return (part, 0) if kept is None else kept

    def samples(
        self, part: Subset[Any], facts: Preprocessing, recipe: Recipe | None
    ) -> "PairSamples":
        """Crops of the model's size, moved and shaded; to measure, whole images as they are."""
        if recipe is None:
            return PairSamples(part, self, facts)
        return PairSamples(part, self, facts, (motion_of(self, facts.size), shade_of(self)))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples of one shape; a batch of several has lists."""
        same = len({tuple(sample.input.shape) for sample in samples}) == 1
        join: Callable[[list[Tensor]], Any] = torch.stack if same else list
        targets: dict[str, Any] = {
            name: join([sample.target[name] for sample in samples])
            for name in ("labels", "numbers")
        }
        targets["kinds"] = tuple(sample.target["kind"] for sample in samples)
        return Batch(
            join([sample.input for sample in samples]),
            targets,
            tuple(sample.name for sample in samples),
            torch.ones(len(samples), dtype=torch.bool),
        )

    def loss(self, forward: Forward, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy, and one minus the soft Dice of what is judged but the background."""
        logits, labels = forward(batch.inputs).float(), batch.targets["labels"]
        each = soft_dice(self.judged_logits(logits), self.as_judged(labels))
        dice = each[int(self.options.background) :].mean()
        cross = cross_entropy(logits, labels, self.options.class_weights)
        loss = cross + self.options.dice * (1 - dice)
        return loss, {"dice": dice.detach()}

    def score(self) -> SegmentScore:
        """Dice, IoU and loss."""
        return SegmentScore(self)

    def read(self, input: Any) -> Opened:
        """Open a photo, a volume, or an image of any channels; see ``open_input``."""
        return open_input(input, self.axes, self.channels)

    def predict(self, model: nn.Module, opened: Opened, size: Size | None = None) -> Segmentation:
        """The class of each place of an input, at the input's own size.

        Large inputs are segmented by tiles that overlap; only the logits of a row of tiles are in
        memory at once, and of a TIFF only the samples of a tile.

        Args:
            model: of this task, in any mode and on any device.
            opened: what ``read`` returned.
            size: lengths to which the input is resized for the model.
        Raises:
            UsageError: the model's outputs are not finite, or a TIFF is too large to be resized.
        """
        if isinstance(opened, Raster):
            return predict_raster(self, model, opened, size)
        facts = backbone_of(model)
        assert facts is not None
        parameter, was_training = next(model.parameters()), model.training
        x = self.normalised(samples_of(opened), facts.preprocessing)[None]
        x = x.to(parameter.device, parameter.dtype)
        model.eval()
        try:
            with torch.no_grad():
                labels, insides = [], []
                for logits in self._outputs_at(model, x, size):
                    labels.append(logits[0].argmax(0).cpu())
                    if self.finds_objects:
                        insides.append(logits[0].softmax(0)[INSIDE].cpu())
        finally:
            model.train(was_training)
        whole = torch.cat(labels).numpy()
        return self.prediction(whole, opened, torch.cat(insides).numpy() if insides else None)

    def _outputs_at(self, model: nn.Module, x: Tensor, size: Size | None) -> Iterator[Tensor]:
        """Logits at the input's own size, of a model that sees it at another one."""
        if size is None:
            yield from self.outputs(model, x)
            return
        smaller = resized(x.float(), size).to(x.dtype)
        logits = torch.cat(list(self.outputs(model, smaller)), 2)
        yield stretched(logits, tuple(x.shape[2:]))

    def prediction(
        self, labels: np.ndarray, opened: Opened, inside: np.ndarray | None
    ) -> Segmentation:
        own = self.options
        colours = own.colours or tuple(default_colours(len(self.classes)))
        return self._kind(opened)(labels, self.classes, own.values, colours, opened, own.background)

    def _kind(self, opened: Opened) -> type[Segmentation]:
        return RasterSegmentation if isinstance(opened, Raster) else self.answers

    # ---- what a task of objects does otherwise ------------------------------------------------

    @property
    def judged(self) -> tuple[str, ...]:
        """Names of the classes that are measured."""
        return self.classes

    def as_judged(self, labels: Int64[Tensor, "*any"]) -> Int64[Tensor, "*any"]:
        """Numbers of these from numbers of the model's classes."""
        return labels

    def judged_logits(
        self, logits: Float[Tensor, "batch classes *spatial"]
    ) -> Float[Tensor, "batch judged *spatial"]:
        """Logits of these from logits of the model's classes."""
        return logits

    def numbers(
        self, labels: Integer[np.ndarray, "*spatial"], name: str
    ) -> Int64[Tensor, "*spatial"]:
        """What moves with an image: classes, or objects, from labels as they are stored.

        Raises:
            ImageError: a label that no class has.
        """
        table = np.full(MAX_LABEL + 1, IGNORED - 1, dtype=np.int64)
        if self.options.ignore is not None:
            table[self.options.ignore] = IGNORED
        table[list(self.options.values)] = np.arange(len(self.classes))
        classes = table[labels]
        if classes.min() < IGNORED:
            raise ImageError(
                given=f"{name!r}, with the label {labels[classes < IGNORED][0]}",
                allowed=f"the labels {', '.join(map(str, self.options.values[:20]))} of the "
                f"classes, and {self.options.ignore} for what is ignored",
                fix="name all classes: classes=...; or their labels: values=...",
            )
        return torch.from_numpy(classes)

    def targets(self, numbers: Int64[Tensor, "*spatial"]) -> Int64[Tensor, "*spatial"]:
        """The model's classes from what has moved with an image."""
        return numbers

    # ---- inputs and outputs -------------------------------------------------------------------

    def input_facts(self, facts: Preprocessing) -> Preprocessing:
        """With the statistics of the training data, where inputs are normalised by these."""
        if self.moments is not None:
            return replace(facts, mean=self.moments[0], std=self.moments[1])
        if self.options.normalise == "fixed" and len(facts.mean) != self.channels:
            raise UsageError(
                given=f"normalise=fixed for {self.channels} channels, and a model that knows the "
                f"mean of {len(facts.mean)}",
                allowed="a model whose weights were made for such inputs",
                fix="use --set normalise=data",
            )
        return facts

    def normalised(
        self, image: Float[Tensor, "channels *spatial"], facts: Preprocessing, raw: bool = False
    ) -> Float[Tensor, "channels *spatial"]:
        """An input for the model.

        Args:
            image: samples between 0 and 1, or raw ones.
            facts: of the model.
            raw: samples have a range of their own; by channel, and clipped to 4 deviations.
        """
        if self.options.normalise in ("fixed", "data"):
            return standardised(image, facts.mean, facts.std, raw)
        if raw:
            moments = Moments()
            moments.add(image.numpy())
            return standardised(image, *moments.result(), raw)
        return (image - image.mean()) / image.std(correction=0).clamp_min(1e-3)

    def outputs(
        self, forward: Forward, inputs: Float[Tensor, "batch channels *spatial"]
    ) -> Iterator[Float[Tensor, "batch classes ..."]]:
        """Logits, a band of rows after the other; of an input no longer than a tile, all at once.

        Raises:
            UsageError: they are not finite.
        """
        small = max(inputs.shape[2:]) <= self.tile
        tile = (self.tile,) * (inputs.ndim - 2)
        overlap = self.options.overlap
        whole = [forward(inputs)] if small else bands(forward, inputs, tile, overlap)
        for logits in whole:
            if not logits.isfinite().all():
                raise UsageError(
                    given="a model whose logits are not finite (NaN or infinite)",
                    allowed="a model with finite outputs",
                    fix="use other weights; these hold NaN or infinite numbers, or overflow",
                )
            yield logits.float()


@dataclass(frozen=True)
class Objects(Segment):
    """Segmentation of objects: labels number them, the model learns their insides and borders."""

    val_columns: ClassVar = (*Segment.val_columns, Column("ap50", "AP50"))
    finds_objects: ClassVar[bool] = True

    @property
    def judged(self) -> tuple[str, ...]:
        """Background and object."""
        return ("background", "object")

    def as_judged(self, labels: Int64[Tensor, "*any"]) -> Int64[Tensor, "*any"]:
        """Inside and border are of an object."""
        return (labels > 0).long()

    def judged_logits(
        self, logits: Float[Tensor, "batch classes *spatial"]
    ) -> Float[Tensor, "batch judged *spatial"]:
        """The Dice of a thin border by itself would be highest for one drawn too wide."""
        return torch.stack((logits[:, 0], logits[:, 1:].logsumexp(1)), dim=1)

    def prediction(
        self, labels: np.ndarray, opened: Opened, inside: np.ndarray | None
    ) -> Segmentation:
        assert inside is not None
        objects = objects_of(labels, inside, self.options.least)
        shown, colours = (objects > 0).astype(np.int64), tuple(default_colours(2))
        return self._kind(opened)(shown, self.judged, (0, 1), colours, opened, objects=objects)

    def numbers(
        self, labels: Integer[np.ndarray, "*spatial"], name: str
    ) -> Int64[Tensor, "*spatial"]:
        """The objects' numbers."""
        return torch.from_numpy(labels.astype(np.int64))

    def targets(self, numbers: Int64[Tensor, "*spatial"]) -> Int64[Tensor, "*spatial"]:
        """Background, inside and border."""
        return with_borders(numbers, self.options.border)


def _no_head(model: Any) -> UsageError:
    return UsageError(
        given=f"{model.name or type(model).__name__} without a head of segmentation",
        allowed="a model that was created, or trained, with task='segment'",
        fix="train one: vitrail train DATA --task segment --weights FILE",
    )
