"""The output of a run: a live display, CSV files and TensorBoard."""

import csv
import io
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from vitrail.files import disk_errors, write_text
from vitrail.tasks import Task
from vitrail.tasks.base import LOSS
from vitrail.training.checkpoint import RESUME


def step_columns(task: Task) -> tuple[str, ...]:
    """Columns of the table of optimiser steps."""
    return ("step", "epoch", "lr", "loss", *(c.name for c in task.train_columns), "grad_norm")


def epoch_columns(task: Task) -> tuple[str, ...]:
    """Columns of the table of epochs."""
    trained = (f"train_{column.name}" for column in (LOSS, *task.train_columns))
    measured = (f"val_{column.name}" for column in task.val_columns)
    return ("epoch", "step", "lr", *trained, *measured, "images_per_s", "seconds", "skipped")


class Table:
    """A CSV file that grows by rows and, when a run is resumed, forgets the rows after its
    checkpoint.
    """

    def __init__(self, path: Path, columns: Sequence[str], key: str, before: int) -> None:
        self.path = path
        self.columns = columns
        kept: list[dict[str, str]] = []
        if path.exists():
            with open(path, newline="") as file:
                kept = [row for row in csv.DictReader(file) if _number(row.get(key)) < before]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({c: row.get(c) for c in columns} for row in kept)
        write_text(path, text.getvalue())

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; a missing column stays empty."""
        with disk_errors(self.path, fix=RESUME), open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writerows({c: _shown(row.get(c)) for c in self.columns} for row in rows)


def _number(text: str | None) -> float:
    try:
        return float(text or "inf")
    except ValueError:
        return float("inf")  # a row cut off by a crash


def _shown(value: Any) -> Any:
    return f"{value:.8g}" if isinstance(value, float) else value


def write_skipped(path: Path, reasons: Mapping[str, str]) -> None:
    """Write a table of images that could not be read, with the reasons."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("image", "reason"), *reasons.items()])
    write_text(path, text.getvalue())


class Logs:
    """CSV and TensorBoard of the main process; nothing on the others.

    Args:
        out: the run's folder.
        task: says what is measured.
        main: whether this is the main process.
        step: optimiser steps that are done.
        epoch: the epoch that the next step belongs to, from 1.
        tensorboard: whether to write for TensorBoard, where a point's place is the number of steps
            that were done, for epochs as for steps.
    """

    def __init__(
        self, out: Path, task: Task, *, main: bool, step: int, epoch: int, tensorboard: bool
    ) -> None:
        self.main = main
        self.writer: Any = None
        if not main:
            return
        self.steps = Table(out / "steps.csv", step_columns(task), "step", step)
        self.epochs = Table(out / "epochs.csv", epoch_columns(task), "epoch", epoch)
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            # Drops what was logged from that place on.
            self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def add_steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log optimiser steps."""
        if not self.main or not rows:
            return
        self.steps.add(rows)
        if self.writer is not None:
            for name in self.steps.columns[2:]:  # the first two are the place
                self.writer.add_scalar(f"step/{name}", rows[-1][name], rows[-1]["step"] + 1)

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Log an epoch."""
        if not self.main:
            return
        self.epochs.add([row])
        if self.writer is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self.writer.add_scalar(f"epoch/{name}", value, row["step"])
            self.writer.flush()

    def close(self) -> None:
        """Flush everything."""
        if self.writer is not None:
            self.writer.close()


class Display:
    """Loss and scores, images/s and time left: a live bar in a terminal, plain lines elsewhere.

    Args:
        task: says what is measured.
        total: optimiser steps of the whole run.
        epochs: epochs of the whole run.
        batch: images a step.
        first: the step the run starts at.
        shown: whether this process shows anything.
        every: seconds between plain lines.
        stream: where to; standard error by default.
    """

    def __init__(
        self,
        task: Task,
        *,
        total: int,
        epochs: int,
        batch: int,
        first: int = 0,
        shown: bool = True,
        every: float = 30.0,
        stream: TextIO | io.TextIOBase | None = None,
    ) -> None:
        self.task, self.total, self.epochs, self.batch = task, total, epochs, batch
        self.shown, self.every = shown, every
        self.stream: Any = stream or sys.stderr
        self.first, self.done = first, first
        self.started = self.last_line = time.monotonic()
        self.progress: Any = None
        if shown and self.stream.isatty():
            self._start_live()

    def _start_live(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[text]}"),
            console=Console(file=self.stream),
            refresh_per_second=4,
        )
        self.bar = self.progress.add_task(
            "training", total=self.total, completed=self.done, text=""
        )
        self.progress.start()

    @property
    def images_per_s(self) -> float:
        """Images a second since this process started stepping."""
        return (self.done - self.first) * self.batch / max(1e-9, time.monotonic() - self.started)

    def restart_clock(self) -> None:
        """Measure speed from here on: the first step compiles and warms up."""
        self.first, self.started = self.done, time.monotonic()

    def step(self, done: int, epoch: int, means: Mapping[str, float]) -> None:
        """Show the state after ``done`` steps."""
        self.done = done
        if not self.shown:
            return
        left = (self.total - done) * self.batch / max(1e-9, self.images_per_s)
        measured = "  ".join(c.aligned(means[c.name]) for c in (LOSS, *self.task.train_columns))
        text = f"{measured}  {self.images_per_s:,.0f} images/s  {duration(left)} left"
        head = f"epoch {epoch + 1}/{self.epochs}"
        if self.progress is not None:
            self.progress.update(self.bar, completed=done, description=head, text=text)
        elif time.monotonic() - self.last_line >= self.every:
            self.last_line = time.monotonic()
            print(f"{head}  step {done}/{self.total}  {text}", file=self.stream, flush=True)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Show the results of an epoch."""
        trained = (c.text(row[f"train_{c.name}"]) for c in (LOSS, *self.task.train_columns))
        measured = (c.text(row[f"val_{c.name}"]) for c in self.task.val_columns
                    if c.shown and f"val_{c.name}" in row)  # fmt: skip
        text = f"epoch {row['epoch']}/{self.epochs}  {'  '.join(trained)}"
        if validation := ", ".join(measured):
            text += f"  validation: {validation}"
        self.say(f"{text}  ({row['images_per_s']:,.0f} images/s, {row['seconds']:.0f} s)")
        if row["skipped"]:
            self.say(f"skipped {row['skipped']} unreadable image(s) so far")

    def say(self, text: str) -> None:
        """Show a line that stays."""
        if not self.shown:
            return
        if self.progress is not None:
            self.progress.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Take the live display down."""
        if self.progress is not None:
            self.progress.stop()


def duration(seconds: float) -> str:
    """Seconds as 1:02:03."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
