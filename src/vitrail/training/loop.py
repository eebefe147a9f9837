"""The training loop: one process, several, or a GPU, by the same code.

A run is a function of its recipe, model, data and seed. Its state between two steps is the
parameters, their average, the optimiser's moments and the step's number; nothing else carries over,
so that a killed run goes on bit for bit.
"""

import copy
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrail import fused
from vitrail.data.batch import Batch, Samples, Unreadable
from vitrail.data.dataset import Skipped, Subset
from vitrail.data.rng import key
from vitrail.errors import UsageError
from vitrail.files import remove_litter, write_whole
from vitrail.models import Preprocessing, TaskFacts, TaskModel
from vitrail.shapes import Size
from vitrail.tasks import Score, Task
from vitrail.tasks.base import LOSS
from vitrail.training import checkpoint
from vitrail.training.checkpoint import Checkpoint
from vitrail.training.ema import Average
from vitrail.training.evaluation import evaluate
from vitrail.training.interrupt import Interrupt, TrainingStopped
from vitrail.training.loader import BatchSource, Plan, batches, nothing_readable, shards_of
from vitrail.training.lock import FolderLock
from vitrail.training.logs import write_skipped
from vitrail.training.machine import Settings, in_first_process, start_accelerator
from vitrail.training.optimizers import build_optimizers
from vitrail.training.parallel import gather_reasons, shard, train_mode, whole
from vitrail.training.recipe import Recipe
from vitrail.training.report import Report
from vitrail.training.schedule import planned
from vitrail.training.state import State, extend, find_start, identity_of

FLUSH = 10
"""Steps between two looks at the losses: on a GPU each look waits for it."""


class _StopEvaluation(Exception):  # a signal came; no error
    pass


class Run:
    """One training run.

    Args:
        model: the model to train, initialised or with weights; the data get its preprocessing.
        task: what it learns.
        train: training data.
        val: validation data; may be empty.
        recipe: how to train.
        settings: what to do with this machine.
        size: lengths of the inputs, (height, width) of images; the model's own by default.
    Raises:
        UsageError: if the arguments do not fit together, ``settings.out`` holds another run or
            cannot be written, or a run goes on there in another process.
    """

    def __init__(
        self,
        model: Any,
        task: Task,
        train: Subset[Any],
        val: Subset[Any],
        recipe: Recipe,
        settings: Settings,
        size: Size | None = None,
    ) -> None:
        self.task, self.recipe, self.settings = task.by(model), recipe, settings
        self.size = self.task.input_size(model, size)
        self.accelerator = start_accelerator(recipe, settings)
        self.interrupt = Interrupt(repeats=self.accelerator.num_processes == 1)
        self.lock: FolderLock | None = None
        in_first_process(self.accelerator, self._take_lock)
        try:
            self._prepare(model, train, val)
        except BaseException:
            self._release_lock()
            raise

    def _take_lock(self) -> None:
        self.lock = FolderLock(self.settings.out)

    def _release_lock(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def _prepare(self, model: Any, train: Subset[Any], val: Subset[Any]) -> None:
        settings, task = self.settings, self.task
        facts = task.input_facts(model.preprocessing)
        model.preprocessing = replace(facts, classes=task.classes, trained=True, size=self.size)
        if isinstance(model, TaskModel):
            options = asdict(task.options)
            model.task = TaskFacts(name=task.name, classes=model.num_classes, options=options)
        self.shipped = copy.deepcopy(model).cpu()
        self.skipped = Skipped(settings.max_bad)
        self._prepare_data(train, val, model.preprocessing)
        self._prepare_model(model)
        self.step, self.best = 0, -math.inf
        self.columns = (LOSS, *task.train_columns)
        self._forget_sums()
        start = find_start(settings.out, self.identity(), resume=settings.resume)
        if self.accelerator.is_main_process:
            for folder in (settings.out, checkpoint.folder_of(settings.out)):
                remove_litter(folder)
        if start is not None:
            self._continue(start)

    def _continue(self, start: Checkpoint) -> None:
        """Take up the run where a checkpoint left it."""
        per_epoch = self.plan.steps_per_epoch
        self.schedule = extend(self.schedule, start.run, self.recipe, per_epoch)
        self.state.load(start)
        self.step, self.best = start.run["step"], start.run["best"]
        *self.sums, self.summed = start.run["sums"]
        self.skipped.reasons = start.run.get("skipped", {}) | self.skipped.reasons

    def _prepare_data(self, train: Subset[Any], val: Subset[Any], facts: Preprocessing) -> None:
        recipe, budget, task = self.recipe, self.settings.memory, self.task
        self.train, self.kept = task.keep(train, facts, budget, self.skipped)
        self.val = val
        if len(val):
            self.val, _ = task.keep(val, facts, budget - self.kept, self.skipped)
            if not len(self.val):
                bad = [Unreadable(*item) for item in self.skipped.reasons.items()]
                raise nothing_readable(f"{len(val)} validation images", bad[-1:])
        self.plan = Plan(
            images=len(self.train),
            batch=recipe.batch_size,
            seed=recipe.seed,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            # Also of images kept in memory: their order does not depend on that.
            shards=shards_of(train if len(self.train) == len(train) else self.train),
        )
        self.schedule = planned(recipe, self.plan.steps_per_epoch)
        samples = task.samples(self.train, facts, recipe)
        self.source = BatchSource(samples, self.plan, task.collate, task.mixing(recipe))
        self.val_samples: Samples | None = None
        if len(self.val):
            measured = task.samples(self.val, facts, None)
            assert isinstance(measured, Samples)
            self.val_samples = measured

    def _prepare_model(self, model: Any) -> None:
        recipe, fsdp = self.recipe, self.settings.fsdp
        self.model: Any = model.to(self.accelerator.device)
        train_mode(self.model)
        if fsdp:
            shard(self.model)
        self.optimizers: list[Any] = [
            self.accelerator.prepare_optimizer(optimizer)
            for optimizer in build_optimizers(self.model, recipe, fused=not fsdp)
        ]
        self.average = Average(self.model, recipe.ema) if recipe.ema else None
        self.state = State(self.model, self.average, self.optimizers)
        forward: Any = self.model
        if self.settings.compile:
            forward = torch.compile(self.model, dynamic=False)
        elif not fsdp and fused.why_not(device=self.accelerator.device.type) is None:
            try:
                fused.build_for_training()
            except UsageError as error:  # a compiler that does not work takes nothing but time
                warnings.warn(
                    f"training without the kernels of our own: {error.given}", stacklevel=2
                )
            else:
                forward = fused.with_same_parameters(self.model)
                fused.train_fused(forward)
        # It is on its device already. Placed there once more ("cpu:0" for "cpu"), its buffers would
        # be copies, and the model's own, which are saved, would stay as they were.
        placed = {"device_placement": False}
        self.forward = forward if fsdp else self.accelerator.prepare_model(forward, **placed)

    def fit(self) -> Path:
        """Train to the end.

        Returns:
            The file with the best weights.
        Raises:
            UsageError: if the loss is not finite, too many images cannot be read, or the disk is
                full; the last good checkpoint stays whole.
            TrainingStopped: after Ctrl-C or SIGTERM; the checkpoint of the last step is written.
        """
        self._open_report()
        try:
            with self.interrupt:
                self._fit()
        except _StopEvaluation:
            self.save()
            raise self._stopped() from None
        finally:
            self.report.close()
            self._release_lock()
        return self.settings.out / "best.safetensors"

    def _fit(self) -> None:
        per_epoch, every = self.plan.steps_per_epoch, self.settings.checkpoint_every
        pending: list[dict[str, Any]] = []
        first = self.counted = self.step
        self.started = time.monotonic()
        if self.summed and self.step % per_epoch == 0:  # stopped while it was evaluated
            self._end_epoch()
            self.save()
        for batch in self._batches():
            pending.append(self._step(batch))
            self.step += 1
            ends = self.step % per_epoch == 0
            saves = ends or (every > 0 and self.step % every == 0)
            looks = saves or self.step % FLUSH == 0 or self.step == first + 1
            stops = self.interrupt.agreed(self.accelerator, looks)
            if looks or stops:
                self._flush(pending)
            if self.step == first + 2:
                self.report.display.restart_clock()  # the first steps compile and warm up
            if ends:
                self._end_epoch()
            if saves or stops:
                self.save()
            if stops and self.step < self.schedule.total:
                raise self._stopped()

    def _stopped(self) -> TrainingStopped:
        where = f"stopped at step {self.step} of {self.schedule.total}"
        return TrainingStopped(f"{where}; continue with --resume", self.interrupt.signal)

    def _open_report(self) -> None:
        self.report = Report(
            self.settings,
            self.recipe,
            self.schedule.total,
            self.plan.steps_per_epoch,
            self.skipped,
            self.task,
            main=self.accelerator.is_main_process,
            step=self.step,
        )
        count = sum(p.numel() for p in self.shipped.parameters())
        self.report.open(
            f"{len(self.train):,} training and {len(self.val):,} validation images, "
            f"{len(self.task.classes)} classes, {'in memory' if self.kept else 'read as needed'}; "
            f"{count / 1e6:.2f} M parameters; {self.accelerator.num_processes} x "
            f"{self.accelerator.device.type}, {self.recipe.precision}"
        )

    def _batches(self) -> Iterator[Batch]:
        return batches(
            self.source,
            range(self.step, self.schedule.total),
            workers=self.settings.workers,
            pin=self.accelerator.device.type == "cuda",
            skipped=self.skipped,
        )

    def _forward(self, *inputs: Any) -> Any:
        with self.accelerator.autocast():
            return self.forward(*inputs)

    def _step(self, batch: Batch) -> dict[str, Any]:
        """One optimiser step; what is measured stays on the device."""
        recipe, accelerator = self.recipe, self.accelerator
        rate = self._set_rate()
        place = accelerator.process_index * len(batch)
        batch = batch.to(accelerator.device)
        measures = torch.zeros(len(self.columns), device=accelerator.device)
        norm = torch.zeros(())
        for number, part in enumerate(batch.chunk(recipe.accumulate)):
            # What the model draws (stochastic depth, dropout) depends on the step alone.
            torch.manual_seed(key(recipe.seed, self.step, place, number))
            with accelerator.accumulate(self.forward):
                loss, found = self.task.loss(self._forward, part, recipe)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    limit = recipe.clip or math.inf
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), limit)
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
            beside = (found[column.name] for column in self.task.train_columns)
            measures += torch.stack((loss.detach(), *beside)) / recipe.accumulate
        if self.average is not None:
            self.average.update(self.step)
        return {"step": self.step, "lr": rate, "measures": measures, "norm": norm}

    def _set_rate(self) -> float:
        rate = self.schedule.rate(self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["lr_scale"]
        return rate

    def _flush(self, pending: list[dict[str, Any]]) -> None:
        """Look at the losses since the last look: check, log and show them."""
        measures: Any = torch.stack([row["measures"] for row in pending])
        measures = self.accelerator.reduce(measures, reduction="mean")
        per_epoch = self.plan.steps_per_epoch
        rows: list[dict[str, Any]] = []
        for row, values in zip(pending, measures.tolist(), strict=True):
            loss, norm = values[0], float(whole(row["norm"]))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._not_finite(row, loss, norm)
            self.sums = [total + value for total, value in zip(self.sums, values, strict=True)]
            self.summed += 1
            own = {"step": row["step"], "epoch": row["step"] // per_epoch + 1, "lr": row["lr"]}
            named = zip((column.name for column in self.columns), values, strict=True)
            rows.append(own | dict(named) | {"grad_norm": norm})
        pending.clear()
        self.report.steps(rows, self.step, self._means())

    def _means(self) -> dict[str, float]:
        """What was measured in this epoch so far, by column."""
        names = (column.name for column in self.columns)
        return {name: total / self.summed for name, total in zip(names, self.sums, strict=True)}

    def _forget_sums(self) -> None:
        self.sums, self.summed = [0.0] * len(self.columns), 0

    def _end_epoch(self) -> None:
        """Evaluate, log, and write the weights."""
        train_seconds = time.monotonic() - self.started
        score = self.evaluate()
        last_group = self.optimizers[-1].param_groups[-1]
        row: dict[str, Any] = {
            "epoch": self.step // self.plan.steps_per_epoch,
            "step": self.step,
            "lr": self.schedule.rate(self.step - 1) * last_group["lr_scale"],
            **{f"train_{name}": mean for name, mean in self._means().items()},
            "images_per_s": (self.step - self.counted) * self.recipe.batch_size / train_seconds,
            "seconds": time.monotonic() - self.started,
            "skipped": len(self.skipped.reasons),
        }
        result = {} if score is None else score.result()
        row |= {f"val_{name}": value for name, value in result.items()}
        self.report.epoch(row)
        self._forget_sums()
        weights = self.state.weights()
        self._write_weights("last", weights)
        reached = result.get(self.task.best, math.inf)
        if not reached <= self.best:  # written too where neither is a number
            self.best = reached if result else self.best
            self._write_weights("best", weights)
        self.started, self.counted = time.monotonic(), self.step

    def evaluate(self) -> Score | None:
        """Measure the averaged weights on the validation data; None when there are none."""
        if self.val_samples is None:
            return None
        self.state.share_buffers()
        with self.average.applied() if self.average is not None else nullcontext():
            score = evaluate(
                self.model,
                self.val_samples,
                self.task.score(),
                collate=self.task.collate,
                batch_size=self.recipe.batch_size,
                skipped=self.skipped,
                device=self.accelerator.device,
                autocast=lambda: self.accelerator.autocast(),
                rank=self.accelerator.process_index,
                processes=self.accelerator.num_processes,
                on_batch=self._check_stop,
            )
        train_mode(self.model)
        return score

    def _check_stop(self, done: int) -> None:
        if self.interrupt.agreed(self.accelerator, False):
            raise _StopEvaluation

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed."""
        return identity_of(self.shipped, self.task, len(self.train), self.size, self.recipe)

    def save(self) -> None:
        """Write a checkpoint; all processes take part, the first one writes.

        Raises:
            UsageError: if the disk is full; older checkpoints stay as they are.
        """
        run = self.identity() | {"step": self.step, "best": self.best}
        run["sums"] = [*self.sums, self.summed]
        run["cycles"] = [astuple(cycle) for cycle in self.schedule.cycles]
        run["skipped"] = gather_reasons(self.skipped, self.accelerator.num_processes)
        self.state.share_buffers()
        saved = Checkpoint(self.state.tensors(), run)
        if self.accelerator.is_main_process:
            checkpoint.write(self.settings.out, self.step, saved)
            if run["skipped"]:
                write_skipped(self.settings.out / "skipped.csv", run["skipped"])
        self.accelerator.wait_for_everyone()

    def _write_weights(self, name: str, weights: dict[str, Tensor]) -> None:
        """Write the weights as a file that every command takes."""
        if not self.accelerator.is_main_process:
            return
        from vitrail.weights import save

        self.shipped.load_state_dict(weights)
        path = self.settings.out / f"{name}.safetensors"
        write_whole(path, lambda part: save(self.shipped, part), fix=checkpoint.RESUME)

    def _not_finite(self, row: dict[str, Any], loss: float, norm: float) -> UsageError:
        saved = checkpoint.found(self.settings.out)
        kept = f"; the last good checkpoint is {str(saved[-1])!r}" if saved else ""
        return UsageError(
            given=f"a loss of {loss} and a gradient norm of {norm} at step {row['step']}, "
            f"learning rate {row['lr']:.3g}{kept}",
            allowed="finite numbers",
            fix=f"start anew with --lr {self.recipe.peak_lr / 4:.2g}, a longer --warmup-epochs, "
            "or --precision fp32",
        )


def fit(
    model: Any,
    task: Task,
    train: Subset[Any],
    val: Subset[Any],
    recipe: Recipe,
    settings: Settings,
    size: Size | None = None,
) -> Path:
    """Train a model and return the file with its best weights; see ``Run``."""
    return Run(model, task, train, val, recipe, settings, size).fit()
