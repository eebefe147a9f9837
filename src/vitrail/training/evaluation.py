"""Measure a classifier: top-1, top-5, loss, and the confusion of classes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vitrail.data.dataset import ImageDataset, Skipped
from vitrail.data.images import ImageError
from vitrail.errors import UsageError
from vitrail.training.interrupt import leave_signals_to_the_run
from vitrail.training.loader import worker_context


@dataclass(frozen=True, slots=True)
class Scores:
    """What an evaluation found."""

    count: int
    """Images measured."""
    loss: float
    """Mean cross-entropy, without label smoothing."""
    top1: float
    """Share of images whose first guess is right, in [0, 1]."""
    top5: float
    """Share of images whose class is among the first five guesses."""
    confusion: np.ndarray
    """int64 (classes, classes): images by true class (rows) and first guess (columns)."""
    skipped: int = 0
    """Images that could not be read."""

    @property
    def per_class(self) -> np.ndarray:
        """Share of each class' images whose first guess is right; NaN for a class without
        images.
        """
        total = self.confusion.sum(1)
        right = np.diagonal(self.confusion)
        return np.where(total > 0, right / np.maximum(total, 1), np.nan)


def evaluate(
    model: nn.Module,
    dataset: ImageDataset,
    *,
    classes: int,
    batch_size: int = 256,
    workers: int = 0,
    skipped: Skipped | None = None,
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    rank: int = 0,
    processes: int = 1,
    on_batch: Callable[[int], object] = lambda done: None,
) -> Scores:
    """Measure ``model`` on ``dataset``; with several processes each measures its share.

    Args:
        model: images to logits; put into eval mode meanwhile.
        dataset: transformed images with their class numbers.
        classes: number of classes.
        batch_size: images a forward pass.
        workers: processes that prepare pictures.
        skipped: counts unreadable images, which are left out; by default the first one is an
            error.
        device: where the model is.
        autocast: makes the context of a forward pass.
        rank: this process' number.
        processes: how many processes measure together.
        on_batch: called after each forward pass with the number of this process' images so far;
            what it raises ends the evaluation.
    Raises:
        UsageError: if there are no images, too many cannot be read, or logits are not finite.
    """
    if not len(dataset):
        raise UsageError(
            given="an evaluation on 0 images",
            allowed="at least one image",
            fix="check the data path",
        )
    skipped = Skipped(0) if skipped is None else skipped
    # loss, top-5 hits, skipped; then the confusion matrix. One float64 tensor, so one reduction
    # sums all of it.
    sums = torch.zeros(3 + classes * classes, dtype=torch.float64)
    was_training, done = model.training, 0
    model.eval()
    try:
        for images, labels in _batches(
            dataset, batch_size, workers, skipped, sums, rank, processes
        ):
            with torch.no_grad(), autocast():
                logits = model(images.to(device))
            _count(logits.float().cpu(), labels, classes, sums)
            done += len(labels)
            on_batch(done)
    finally:
        model.train(was_training)
    if processes > 1:
        on_device = sums.to(device)
        torch.distributed.all_reduce(on_device)
        sums = on_device.cpu()
    confusion = sums[3:].view(classes, classes).to(torch.int64).numpy()
    count = int(confusion.sum())
    return Scores(
        count=count,
        loss=float(sums[0]) / max(count, 1),
        top1=float(np.trace(confusion)) / max(count, 1),
        top5=float(sums[1]) / max(count, 1),
        confusion=confusion,
        skipped=int(sums[2]),
    )


def _count(logits: Tensor, labels: Tensor, classes: int, sums: Tensor) -> None:
    real = labels >= 0
    logits, labels = logits[real], labels[real]
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
    sums[0] += nn.functional.cross_entropy(logits, labels, reduction="sum").double()
    best = logits.topk(min(5, logits.shape[-1]), dim=-1).indices
    sums[1] += (best == labels[:, None]).any(-1).sum()
    cells = labels * classes + best[:, 0].clamp(max=classes - 1)
    sums[3:] += torch.bincount(cells, minlength=classes * classes)


class _Share:
    """Positions of one process, batch by batch; -1 fills up, so that all processes make as many
    passes.
    """

    def __init__(self, count: int, batch: int, rank: int, processes: int) -> None:
        self.count, self.batch, self.rank, self.processes = count, batch, rank, processes

    def __len__(self) -> int:
        return -(-self.count // (self.batch * self.processes))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number in range(len(self)):
            start = (number * self.processes + self.rank) * self.batch
            yield [
                (min(p, self.count - 1), 0 if p < self.count else -1)
                for p in range(start, start + self.batch)
            ]


class _Padded(torch.utils.data.Dataset[tuple[Tensor | ImageError, int, str]]):
    """Images by (position, mark); a negative mark gives a stand-in without label and name."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset
        self.blank: Tensor | None = None

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor | ImageError, int, str]:
        position, mark = item
        if mark < 0 and self.blank is not None:
            return self.blank, -1, ""
        image, label, name = self.dataset[position, 0]
        if isinstance(image, Tensor):
            self.blank = torch.zeros_like(image)
        return image, (label if mark >= 0 else -1), (name if mark >= 0 else "")


def _batches(
    dataset: ImageDataset,
    batch_size: int,
    workers: int,
    skipped: Skipped,
    sums: Tensor,
    rank: int,
    processes: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    batch_size = min(batch_size, len(dataset))
    loader: DataLoader[Any] = DataLoader(
        _Padded(dataset),
        batch_sampler=_Share(len(dataset), batch_size, rank, processes),  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context=worker_context(workers),
        worker_init_fn=leave_signals_to_the_run,
    )
    for items in loader:
        for image, _, name in items:
            if isinstance(image, ImageError) and name:
                skipped.add(name, image)
                sums[2] += 1
        shown = next((image for image, _, _ in items if isinstance(image, Tensor)), None)
        if shown is None:
            if processes == 1:
                continue
            raise UsageError(
                given=f"a batch of {len(items)} images of which none can be read",
                allowed="readable images",
                fix="check the data; is the disk or the zip damaged?",
            )
        pairs = [
            (image, label) if isinstance(image, Tensor) else (torch.zeros_like(shown), -1)
            for image, label, _ in items
        ]
        yield torch.stack([image for image, _ in pairs]), torch.tensor([n for _, n in pairs])
