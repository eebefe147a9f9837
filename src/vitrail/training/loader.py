"""Training batches from any step on, the same whatever was drawn before and however many processes
share them.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vitrail.data.dataset import ImageDataset, Skipped, Subset
from vitrail.data.images import ImageError
from vitrail.data.rng import key, permutation
from vitrail.errors import UsageError
from vitrail.training.augment import BatchAugment, Mix
from vitrail.training.interrupt import leave_signals_to_the_run


@dataclass(frozen=True, slots=True)
class Plan:
    """The images of each process at each step."""

    images: int
    batch: int
    seed: int
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if self.batch > self.images:
            raise UsageError(
                given=f"a batch of {self.batch} with {self.images} training images",
                allowed="at most as many images a batch as there are",
                fix=f"use --batch-size {self.images} or less",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the data; the rest is left out, another rest each epoch."""
        return self.images // self.batch

    def positions(self, step: int) -> np.ndarray:
        """This process' share of the batch of optimiser step ``step``, as numbers below
        ``images``.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _epoch_order(self.seed, epoch, self.images)
        share = self.batch // self.processes
        start = place * self.batch + self.rank * share
        return order[start : start + share].copy()

    def epoch_key(self, step: int) -> int:
        """Seed of the augmentation in the epoch that ``step`` belongs to."""
        return key(self.seed, step // self.steps_per_epoch, 0xA06)


@lru_cache(maxsize=1)
def _epoch_order(seed: int, epoch: int, images: int) -> np.ndarray:
    """All images' numbers in the order of an epoch: 8 bytes an image, computed once an epoch."""
    return permutation(key(seed, epoch, 0x02DE2), images)


@runtime_checkable
class BatchSource(Protocol):
    """Makes this process' share of any step's batch."""

    plan: Plan

    def make(self, step: int) -> tuple[Tensor, Tensor, list[tuple[str, ImageError]]]:
        """Float images, int64 labels, and (name, error) of what could not be read."""
        ...


class FromMemory:
    """Batches of pictures that lie decoded in memory; nothing but tensor arithmetic."""

    def __init__(self, subset: Subset, pixels: Tensor, plan: Plan, augment: BatchAugment) -> None:
        self.labels = torch.from_numpy(subset.labels)
        self.pixels = pixels
        self.plan = plan
        self.augment = augment

    def make(self, step: int) -> tuple[Tensor, Tensor, list[tuple[str, ImageError]]]:
        """This process' share of the batch of one step."""
        positions = self.plan.positions(step)
        where = torch.from_numpy(positions)
        images = self.augment(self.pixels[where], positions, self.plan.epoch_key(step))
        return images, self.labels[where], []


class FromSource:
    """Batches of pictures that are read, decoded and transformed one by one.

    An unreadable picture's place is taken by the next readable one of the batch.
    """

    def __init__(self, dataset: ImageDataset, plan: Plan) -> None:
        self.dataset = dataset
        self.plan = plan

    def make(self, step: int) -> tuple[Tensor, Tensor, list[tuple[str, ImageError]]]:
        """This process' share of the batch of one step.

        Raises:
            UsageError: if none of its pictures can be read.
        """
        seed = self.plan.epoch_key(step)
        items = [self.dataset[int(p), key(seed, int(p))] for p in self.plan.positions(step)]
        bad = [(name, image) for image, _, name in items if isinstance(image, ImageError)]
        good = [n for n, (image, _, _) in enumerate(items) if isinstance(image, Tensor)]
        if not good:
            raise UsageError(
                given=f"a batch of {len(items)} images of which none can be read: "
                + bad[0][1].given,
                allowed="readable images",
                fix="check the data; is the disk or the zip damaged?",
            )
        chosen = [items[next((g for g in good if g >= n), good[0])] for n in range(len(items))]
        images = torch.stack([image for image, _, _ in chosen if isinstance(image, Tensor)])
        return images, torch.tensor([label for _, label, _ in chosen]), bad


class _Steps(Dataset[tuple[Tensor, Tensor, list[tuple[str, ImageError]]]]):
    """Mixed batches by step number, so that worker processes can prepare several steps at once."""

    def __init__(self, source: BatchSource, mix: Mix) -> None:
        self.source, self.mix = source, mix

    def __getitem__(self, step: int) -> Any:
        plan = self.source.plan
        try:
            images, labels, bad = self.source.make(step)
        except UsageError as error:
            return error  # raised where it is taken: a worker's exceptions lose their type
        first = plan.rank * (plan.batch // plan.processes)
        images, targets = self.mix(images, labels, key(plan.seed, step, 0x313), first)
        return images, targets, bad


def worker_context(workers: int) -> str | None:
    """How worker processes are started: forked where that is safe, as the system does elsewhere.

    A forked worker shares the decoded pictures, and it ends when its parent is killed; one that a
    fork server started watches that server instead and would live on.
    """
    return "fork" if workers and sys.platform == "linux" else None


def batches(
    source: BatchSource, mix: Mix, steps: range, *, workers: int, pin: bool, skipped: Skipped
) -> Iterator[tuple[Tensor, Tensor]]:
    """A run's batches: images and target probabilities of this process' share, one pair a step.

    Args:
        source: makes the batches.
        mix: mixes their images.
        steps: which steps.
        workers: processes that prepare batches ahead; 0 for none. They do not change the batches.
        pin: whether to put them into memory that a GPU copies from faster.
        skipped: counts unreadable images.
    Raises:
        UsageError: if too many images cannot be read.
    """
    loader: DataLoader[Any] = DataLoader(
        _Steps(source, mix),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        multiprocessing_context=worker_context(workers),
        worker_init_fn=leave_signals_to_the_run,
    )
    for item in loader:
        if isinstance(item, UsageError):
            raise item
        images, targets, bad = item
        for name, error in bad:
            skipped.add(name, error)
        yield images, targets
