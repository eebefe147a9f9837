"""Training batches from any step on, the same whatever was drawn before and however many processes
share them.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from vitrail.data.batch import Batch, Sample, Samples, Unreadable, WholeBatches
from vitrail.data.dataset import Skipped, Subset
from vitrail.data.rng import key, permutation
from vitrail.errors import UsageError
from vitrail.training.interrupt import leave_signals_to_the_run

WINDOW = 8
"""Shards from which images are drawn together."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The images of each process at each step.

    Args:
        images: how many there are.
        batch: images a step, over all processes.
        seed: decides their order, another each epoch.
        rank: this process' number.
        processes: how many share a batch.
        shards: number of the shard in which each image lies. Shards are then drawn, and images from
            ``WINDOW`` shards at a time, so that few are read from at once.
    """

    images: int
    batch: int
    seed: int
    rank: int = 0
    processes: int = 1
    shards: np.ndarray | None = field(default=None, compare=False, repr=False)

    kept: dict[int, np.ndarray] = field(default_factory=dict, init=False, compare=False, repr=False)

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
        if epoch not in self.kept:  # computed once an epoch, of which one is in use at a time
            self.kept.clear()
            self.kept[epoch] = self._drawn(key(self.seed, epoch, 0x02DE2))
        order = self.kept[epoch]
        share = self.batch // self.processes
        start = place * self.batch + self.rank * share
        return order[start : start + share].copy()

    def _drawn(self, seed: int) -> np.ndarray:
        """All images' numbers in the order of an epoch: 8 bytes an image."""
        if self.shards is None:
            return permutation(seed, self.images)
        names, of = np.unique(self.shards, return_inverse=True)
        rank_of = np.empty(len(names), dtype=np.int64)
        rank_of[permutation(key(seed, 0x54A2), len(names))] = np.arange(len(names))
        # By window of shards first, and in a window as drawn.
        drawn = permutation(seed, self.images)
        return drawn[np.argsort(rank_of[of][drawn] // WINDOW, kind="stable")]

    def epoch_key(self, step: int) -> int:
        """Seed of the augmentation in the epoch that ``step`` belongs to."""
        return key(self.seed, step // self.steps_per_epoch, 0xA06)


def shards_of(part: Subset[Any]) -> np.ndarray | None:
    """Number of the shard in which each sample of a part lies; None where they lie in none."""
    shards = getattr(part.source, "shards", None)
    return None if shards is None else shards[part.indices]


class BatchSource(Dataset[tuple[Batch, list[Unreadable]] | UsageError]):
    """Makes this process' share of any step's batch, by the step's number, so that worker processes
    can prepare several steps at once.

    An unreadable sample's place is taken by the next readable one of the batch.

    Args:
        samples: of the training.
        plan: which of them at each step.
        collate: makes a batch of samples.
        mix: augments whole batches; see ``Task.mixing``.
    """

    def __init__(
        self,
        samples: Samples | WholeBatches,
        plan: Plan,
        collate: Callable[[Sequence[Sample]], Batch],
        mix: Callable[[Batch, int, int], Batch],
    ) -> None:
        self.samples, self.plan, self.collate, self.mix = samples, plan, collate, mix

    def make(self, step: int) -> tuple[Batch, list[Unreadable]]:
        """The share of the batch of one step, and what of it cannot be read.

        Raises:
            UsageError: if none of its samples can be read.
        """
        plan, bad = self.plan, []
        positions, seed = plan.positions(step), plan.epoch_key(step)
        if isinstance(self.samples, WholeBatches):
            batch = self.samples.take(positions, seed)
        else:
            batch, bad = self._one_by_one(self.samples, positions, seed)
        first = plan.rank * (plan.batch // plan.processes)
        return self.mix(batch, key(plan.seed, step, 0x313), first), bad

    def _one_by_one(
        self, samples: Samples, positions: np.ndarray, seed: int
    ) -> tuple[Batch, list[Unreadable]]:
        items = [samples[int(p), key(seed, int(p))] for p in positions]
        bad = [item for item in items if isinstance(item, Unreadable)]
        good = {n: item for n, item in enumerate(items) if isinstance(item, Sample)}
        if not good:
            raise nothing_readable(f"a batch of {len(items)} images", bad)
        first = next(iter(good))
        chosen = [good[next((g for g in good if g >= n), first)] for n in range(len(items))]
        return self.collate(chosen), bad

    def __getitem__(self, step: int) -> tuple[Batch, list[Unreadable]] | UsageError:
        try:
            return self.make(step)
        except UsageError as error:
            return error  # raised where it is taken: a worker's exceptions lose their type


def nothing_readable(of: str, bad: Sequence[Unreadable]) -> UsageError:
    """The error of a batch without a readable sample."""
    why = f": {bad[0].reason}" if bad else ""
    return UsageError(
        given=f"{of} of which none can be read{why}",
        allowed="readable images",
        fix="check the data; is the disk or the zip damaged?",
    )


def as_it_is(item: Any) -> Any:
    """What a data loader makes of an item: nothing else."""
    return item


def worker_context(workers: int) -> str | None:
    """How worker processes are started: forked where that is safe, as the system does elsewhere.

    A forked worker shares the decoded pictures, and it ends when its parent is killed; one that a
    fork server started watches that server instead and would live on.
    """
    return "fork" if workers and sys.platform == "linux" else None


def batches(
    source: BatchSource, steps: range, *, workers: int, pin: bool, skipped: Skipped
) -> Iterator[Batch]:
    """A run's batches of this process' share, one a step.

    Args:
        source: makes the batches.
        steps: which steps.
        workers: processes that prepare batches ahead; 0 for none. They do not change the batches.
        pin: whether to put them into memory that a GPU copies from faster.
        skipped: counts unreadable samples.
    Raises:
        UsageError: if too many samples cannot be read.
    """
    loader: DataLoader[Any] = DataLoader(
        source,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=as_it_is,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        multiprocessing_context=worker_context(workers),
        worker_init_fn=leave_signals_to_the_run,
    )
    for item in loader:
        if isinstance(item, UsageError):
            raise item
        batch, bad = item
        for unreadable in bad:
            skipped.add(unreadable)
        yield batch
