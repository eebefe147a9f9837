"""What a run shows and logs while it goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

from vitrail.data.dataset import MAX_SHOWN, Skipped
from vitrail.tasks import Task
from vitrail.training.logs import Display, Logs
from vitrail.training.machine import Settings
from vitrail.training.recipe import Recipe


class Report:
    """Display and logs of a run, from one step on.

    Args:
        settings: the run's folder, and whether anything is shown.
        recipe: of the run.
        total: optimiser steps of the whole run.
        per_epoch: steps of an epoch.
        skipped: images that could not be read so far.
        task: says what is measured.
        main: whether this is the main process; the others show and log nothing.
        step: optimiser steps that are done.
    """

    def __init__(
        self,
        settings: Settings,
        recipe: Recipe,
        total: int,
        per_epoch: int,
        skipped: Skipped,
        task: Task,
        *,
        main: bool,
        step: int,
    ) -> None:
        self.out, self.recipe, self.skipped = settings.out, recipe, skipped
        self.per_epoch, self.first, self.total, self.named = per_epoch, step, total, 0
        self.logs = Logs(
            settings.out,
            task,
            main=main,
            step=step,
            epoch=step // per_epoch + 1,
            tensorboard=settings.tensorboard,
        )
        self.display = Display(
            task,
            total=total,
            epochs=recipe.epochs,
            batch=recipe.batch_size,
            first=step,
            shown=settings.show and main,
        )

    def open(self, text: str) -> None:
        """Show what is trained on what, and where the run stands."""
        self.display.say(text)
        self._name_skipped()
        if self.first == self.total:
            more = f"--resume --epochs {2 * self.recipe.epochs}"
            self.display.say(f"all {self.total} steps are done; to train on, use {more}")
        elif self.first:
            self.display.say(f"resumed after step {self.first} of {self.total}")

    def steps(
        self, rows: Sequence[Mapping[str, Any]], done: int, means: Mapping[str, float]
    ) -> None:
        """Log optimiser steps, and show the means of the epoch so far."""
        self._name_skipped()
        self.logs.add_steps(rows)
        self.display.step(done, (done - 1) // self.per_epoch, means)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Show and log an epoch."""
        self._name_skipped()
        self.display.epoch(row)
        self.logs.add_epoch(row)

    def close(self) -> None:
        """Take the display down and flush the logs."""
        self.display.close()
        self.logs.close()

    def _name_skipped(self) -> None:
        """Show the first images that could not be read; ``skipped.csv`` names them all."""
        new = list(self.skipped.reasons.values())[self.named :]
        for reason in new[: max(0, MAX_SHOWN - self.named)]:
            self.display.say(f"skipped {reason}")
        if self.named <= MAX_SHOWN < self.named + len(new):
            self.display.say(f"more images are skipped; all are in {self.out / 'skipped.csv'}")
        self.named += len(new)
