"""Measure a model of any task: on one process or on several, each sample exactly once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vitrail.data.batch import Batch, Sample, Samples, Unreadable, collate
from vitrail.data.dataset import Skipped
from vitrail.errors import UsageError
from vitrail.tasks import Score
from vitrail.training.interrupt import leave_signals_to_the_run
from vitrail.training.loader import as_it_is, nothing_readable, worker_context

S = TypeVar("S", bound=Score)


def evaluate(
    model: nn.Module,
    samples: Samples,
    score: S,
    *,
    collate: Callable[[Sequence[Sample]], Batch] = collate,
    batch_size: int = 256,
    workers: int = 0,
    skipped: Skipped | None = None,
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    rank: int = 0,
    processes: int = 1,
    on_batch: Callable[[int], object] = lambda done: None,
) -> S:
    """Measure ``model`` on ``samples``; with several processes each measures its share.

    Args:
        model: put into eval mode meanwhile.
        samples: as the model takes them, with their targets.
        score: a new score of the task; it is what is returned, and measures all processes' shares.
        collate: makes a batch of samples.
        batch_size: samples a forward pass.
        workers: processes that prepare samples.
        skipped: counts unreadable samples, which are left out; by default the first one is an
            error.
        device: where the model is.
        autocast: makes the context of a forward pass.
        rank: this process' number.
        processes: how many processes measure together.
        on_batch: called after each forward pass with the number of this process' samples so far;
            what it raises ends the evaluation.
    Raises:
        UsageError: if there are no samples, too many cannot be read, or outputs are not finite.
    """
    if not len(samples):
        raise UsageError(
            given="an evaluation on 0 images",
            allowed="at least one image",
            fix="check the data path",
        )

    limit = Skipped(0) if skipped is None else skipped

    def skip(unreadable: Unreadable) -> None:
        limit.add(unreadable)
        score.skipped += 1

    def forward(*inputs: Any) -> Any:
        with torch.no_grad(), autocast():
            return model(*inputs)

    was_training, done = model.training, 0
    model.eval()
    try:
        share = _Share(len(samples), min(batch_size, len(samples)), rank, processes)
        for batch in _batches(samples, share, collate, workers, skip):
            score.add(forward, batch.to(device))
            done += len(batch)
            on_batch(done)
    finally:
        model.train(was_training)
    if not done:
        bad = [Unreadable(*item) for item in limit.reasons.items()]
        raise nothing_readable(f"{len(samples)} images", bad)
    if processes > 1:
        states: list[Any] = [None] * processes
        torch.distributed.all_gather_object(states, (score.state(), score.skipped))
        score.merge([state for state, _ in states])
        score.skipped = sum(count for _, count in states)
    return score


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


class _WithStandIns(Dataset[tuple[Sample | Unreadable, bool]]):
    """Samples by (position, mark); a negative mark gives any sample, as a stand-in."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.known: Sample | None = None

    def __getitem__(self, item: tuple[int, int]) -> tuple[Sample | Unreadable, bool]:
        position, mark = item
        if mark < 0 and self.known is not None:
            return self.known, False
        sample = self.samples[position, 0]
        if isinstance(sample, Sample):
            self.known = sample
        return sample, mark >= 0


def _batches(
    samples: Samples,
    share: _Share,
    collate: Callable[[Sequence[Sample]], Batch],
    workers: int,
    skip: Callable[[Unreadable], object],
) -> Iterator[Batch]:
    loader: DataLoader[Any] = DataLoader(
        _WithStandIns(samples),
        batch_sampler=share,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=as_it_is,
        multiprocessing_context=worker_context(workers),
        worker_init_fn=leave_signals_to_the_run,
    )
    for items in loader:
        bad = [one for one, real in items if real and isinstance(one, Unreadable)]
        for one in bad:
            skip(one)
        shown = next((one for one, _ in items if isinstance(one, Sample)), None)
        if shown is None:
            if share.processes == 1:
                continue
            raise nothing_readable(f"a batch of {len(items)} images", bad)
        real = [real and isinstance(one, Sample) for one, real in items]
        batch = collate([one if isinstance(one, Sample) else shown for one, _ in items])
        yield replace(batch, real=torch.tensor(real))
