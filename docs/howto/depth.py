"""A task in one file: how far each pixel lies from the edge of its region.

The regions are those of label maps, so that `images/` with `labels/` are all the data it needs. The
answer is a map of depths, in pixels, 0 on an edge and at most `most`.

    python docs/howto/depth.py cells/
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt

import vitrail
from vitrail.data.batch import Batch, Sample, Unreadable
from vitrail.data.images import ImageError, as_photo
from vitrail.data.joint import Motion
from vitrail.data.pairs import open_pairs, split_pairs
from vitrail.files import write_whole
from vitrail.heads import UNetConfig
from vitrail.models.task_model import new_task_model
from vitrail.tasks import TASKS, Column, Prediction, Score, Task
from vitrail.tasks.base import LOSS
from vitrail.tasks.segmentation import outlines


@dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """What `--set` may change of it."""

    most: float = 8.0


class DepthSamples:
    """Images with their depths: crops that are moved by the key of the sample, or whole."""

    def __init__(self, part: Any, most: float, motion: Motion | None) -> None:
        self.part, self.most, self.motion = part, most, motion

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, item: tuple[int, int]) -> Sample | Unreadable:
        position, seed = item
        source, index = self.part.source, int(self.part.indices[position])
        try:
            pair = source.pair(index)
        except ImageError as error:  # counted and reported by the loop
            return Unreadable(source.name(index), error.given)
        image, labels = prepared(pair.image), torch.from_numpy(pair.labels.astype(np.int64))
        if self.motion is not None:
            image, labels = self.motion(image, labels, seed)
        return Sample(image, depths(labels.numpy(), self.most), source.name(index))


class DepthScore(Score):
    """Mean error, and the share of pixels whose error is below one pixel."""

    def __init__(self, most: float) -> None:
        self.most, self.sums = most, torch.zeros(3, dtype=torch.float64)

    def add(self, model: Any, batch: Batch) -> None:
        for image, true, real in zip(batch.inputs, batch.targets, batch.real, strict=True):
            if real:
                error = (depth_of(model, image[None], self.most)[0] - true).abs().double()
                self.sums += torch.stack(
                    [error.sum(), (error < 1).sum(), torch.tensor(true.numel())]
                )

    def state(self) -> Any:
        return self.sums

    def merge(self, states: Sequence[Any]) -> None:
        self.sums = torch.stack(list(states)).sum(0)

    def result(self) -> dict[str, float]:
        error, close, count = self.sums.tolist()
        return {"loss": error / count, "close": close / count}


@dataclass(frozen=True)
class DepthMap(Prediction):
    """What a model answers for one photo."""

    columns: ClassVar = ("mean", "largest")
    endings: ClassVar = (".png",)

    depth: np.ndarray
    most: float

    def as_dict(self) -> dict[str, Any]:
        return {"mean": float(self.depth.mean()), "largest": float(self.depth.max()), "notes": []}

    @classmethod
    def files(cls, name: str) -> dict[str, str]:
        """What `vitrail predict -o FOLDER` writes for each input."""
        return {"depth": ".png"}

    @classmethod
    def rows(cls, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """What it prints as a table."""
        return [answer]

    def draw(self) -> Image.Image:
        return Image.fromarray((255 * self.depth / self.most).clip(0, 255).astype(np.uint8))

    def save(self, path: str | Path) -> Path:
        write_whole(Path(path), self.draw().save)
        return Path(path)


@dataclass(frozen=True)
class Depth(Task):
    """How far each pixel lies from the edge of its region."""

    name: ClassVar = "depth"
    best: ClassVar = "close"
    train_columns: ClassVar = ()
    val_columns: ClassVar = (LOSS, Column("close", "within 1 pixel", share=True))
    Options: ClassVar = DepthOptions
    answers: ClassVar = DepthMap
    any_size: ClassVar = True

    @classmethod
    def open(cls, data: Sequence[str], **about: Any) -> Any:
        return open_pairs(data)

    @classmethod
    def split(cls, source: Any, share: float, seed: int) -> Any:
        return split_pairs(source, share, seed)

    @classmethod
    def build(cls, part: Any, options: DepthOptions) -> "Depth":
        return cls(("depth",), options)

    @classmethod
    def of(cls, model: Any) -> "Depth":
        return cls(("depth",), DepthOptions(**model.task.options))

    def input_size(self, model: Any, size: Any) -> Any:
        return tuple(size or model.preprocessing.size)

    def samples(self, part: Any, facts: Any, recipe: Any) -> DepthSamples:
        motion = None if recipe is None else Motion(size=facts.size, rotate=180.0, flip="all")
        return DepthSamples(part, self.options.most, motion)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Crops are stacked; whole images differ in size."""
        join = torch.stack if len({s.input.shape for s in samples}) == 1 else list
        names, real = tuple(s.name for s in samples), torch.ones(len(samples), dtype=torch.bool)
        inputs, targets = join([s.input for s in samples]), join([s.target for s in samples])
        return Batch(inputs, targets, names, real)

    def loss(self, forward: Any, batch: Batch, recipe: Any) -> Any:
        found = depth_of(forward, batch.inputs, self.options.most)
        return (found - batch.targets).abs().mean(), {}

    def score(self) -> DepthScore:
        return DepthScore(self.options.most)

    def read(self, input: Any) -> Any:
        return as_photo(input)

    def predict(self, model: Any, opened: Any, size: Any = None) -> DepthMap:
        image = prepared(np.moveaxis(np.array(opened.image), -1, 0))
        with torch.no_grad():
            depth = depth_of(model.eval(), image[None], self.options.most)[0]
        return DepthMap(depth.numpy(), self.options.most)


def prepared(pixels: np.ndarray) -> torch.Tensor:
    """Samples from 0 to 255 as an input: mean 0 and deviation 1."""
    image = torch.from_numpy(pixels).float()
    return (image - image.mean()) / image.std().clamp_min(1)


def depths(labels: np.ndarray, most: float) -> torch.Tensor:
    """The distance of each pixel to the nearest one on an edge; `most` where there is no edge."""
    edge = outlines(labels + 1)
    found = distance_transform_edt(~edge) if edge.any() else np.full(labels.shape, most)
    return torch.from_numpy(found).float().clamp_max(most)


def depth_of(model: Any, images: torch.Tensor, most: float) -> torch.Tensor:
    """The one channel that a head answers, in pixels."""
    return most * model(images).float()[:, 0].sigmoid()


# The one line that makes it known: vitrail.predict and vitrail.load take its models from here on.
TASKS["depth"] = f"{__name__}:Depth"


def main(data: str) -> None:
    """Learn on 19 of 20 images, and measure on the others after every epoch."""
    from vitrail.training.loop import fit
    from vitrail.training.machine import Settings
    from vitrail.training.recipe import Recipe

    train, val = Depth.split(Depth.open([data]), 0.05, seed=0)
    backbone = vitrail.create_model("swin_nano", out_indices=(0, 1, 2), feature_norms=True)
    model = new_task_model(backbone, "depth", "unet", UNetConfig(), classes=1)
    recipe = Recipe(epochs=10, batch_size=8, lr=1e-3, warmup_epochs=1, ema=0.99)
    task = Depth.build(train, DepthOptions())
    print(fit(model, task, train, val, recipe, Settings(out=Path("runs/depth")), (128, 128)))


if __name__ == "__main__":
    main(*sys.argv[1:])
