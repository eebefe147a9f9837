"""The learning rate as a pure function of the step: linear warm-up, then a half cosine."""

import math
from dataclasses import dataclass

from vitrail.training.recipe import Recipe


def learning_rate(
    step: int, *, total: int, warmup: int, peak: float, start: float = 5e-7, end: float = 5e-6
) -> float:
    """Learning rate of optimiser step ``step``, counted from 0.

    Args:
        step: the step.
        total: steps of the whole run.
        warmup: steps of the warm-up, at most ``total``.
        peak: rate at the end of the warm-up.
        start: rate of step 0 when there is a warm-up.
        end: rate after the last step.
    Source: Liu et al. 2021, arXiv 2103.14030, section A2.1; Loshchilov & Hutter 2017, arXiv
        1608.03983.
    """
    if step < warmup:
        return start + (peak - start) * step / warmup
    share = (step - warmup) / max(1, total - warmup)
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))


@dataclass(frozen=True, slots=True)
class Cycle:
    """One warm-up and one half cosine.

    Args:
        first: its first step.
        total: the step it ends before.
        warmup: steps of its warm-up.
        start: rate of its first step.
    """

    first: int
    total: int
    warmup: int
    start: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """The learning rate of a run that may be extended.

    Each time a run is extended, the steps from there on are a cycle of their own (a warm restart):
    a warm-up from the rate that the run has reached to the highest, then a half cosine to the end.

    Args:
        cycles: from the first step on, each starting before the one before it ends or where it
            ends; the last one that has started counts.
        peak: highest rate.
        end: rate after the last step.
    """

    cycles: tuple[Cycle, ...]
    peak: float
    end: float

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.cycles[-1].total

    def rate(self, step: int) -> float:
        """Learning rate of optimiser step ``step``, counted from 0."""
        cycle = next(c for c in reversed(self.cycles) if c.first <= step)
        return learning_rate(
            step - cycle.first,
            total=cycle.total - cycle.first,
            warmup=cycle.warmup,
            peak=self.peak,
            start=cycle.start,
            end=self.end,
        )

    def extended(self, step: int, total: int, warmup: int) -> "Schedule":
        """The same schedule up to ``step``, and one cycle from there to ``total``.

        Args:
            step: steps that are done.
            total: steps of the whole run.
            warmup: steps of the new warm-up; at most a fifth of the new cycle is used.
        """
        warmup = min(warmup, (total - step) // 5)
        cycle = Cycle(step, total, warmup, self.rate(step))
        return Schedule((*self.cycles, cycle), self.peak, self.end)


def planned(recipe: Recipe, per_epoch: int) -> Schedule:
    """The schedule of a run that is not extended yet.

    Args:
        recipe: of the run.
        per_epoch: steps of an epoch.
    """
    total = recipe.epochs * per_epoch
    cycle = Cycle(0, total, min(total, round(recipe.warmup_epochs * per_epoch)), recipe.warmup_lr)
    return Schedule((cycle,), peak=recipe.peak_lr, end=min(recipe.min_lr, recipe.peak_lr))
