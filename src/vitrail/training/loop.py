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
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitrail import fused
from vitrail.data.dataset import ImageDataset, Skipped, Subset
from vitrail.data.rng import key
from vitrail.errors import UsageError
from vitrail.files import remove_litter, write_whole
from vitrail.training import checkpoint, prepare
from vitrail.training.augment import Mix
from vitrail.training.checkpoint import Checkpoint
from vitrail.training.ema import Average
from vitrail.training.evaluation import Scores, evaluate
from vitrail.training.loader import Plan, batches
from vitrail.training.logs import Display, Logs
from vitrail.training.machine import Settings, start_accelerator
from vitrail.training.optimizers import build_optimizers
from vitrail.training.parallel import shard, whole
from vitrail.training.recipe import Recipe
from vitrail.training.schedule import learning_rate
from vitrail.training.state import State, find_start

FLUSH = 10
"""Steps between two looks at the losses: on a GPU each look waits for it."""


class Run:
    """One training run.

    Args:
        model: the model to train, initialised or with weights; the data get its preprocessing.
        train: training images.
        val: validation images; may be empty.
        recipe: how to train.
        settings: what to do with this machine.
        size: (height, width) of the images; the model's own by default.
    Raises:
        UsageError: if the parts do not fit together, or ``settings.out`` holds another run.
    """

    def __init__(
        self,
        model: Any,
        train: Subset,
        val: Subset,
        recipe: Recipe,
        settings: Settings,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.recipe, self.settings = recipe, settings
        self.accelerator = start_accelerator(recipe, settings)
        self.size = image_size(model, size)
        self.classes = train.source.classes
        preprocessing = replace(
            model.preprocessing, classes=self.classes, trained=True, size=self.size
        )
        model.preprocessing = preprocessing
        self.plain = copy.deepcopy(model).cpu()
        self.skipped = Skipped(settings.max_bad)
        self._prepare_data(train, val, preprocessing)
        self._prepare_model(model)
        self.step, self.best, self.sums = 0, -1.0, [0.0, 0.0, 0]
        start = find_start(settings.out, self.identity(), resume=settings.resume)
        if self.accelerator.is_main_process:
            for folder in (settings.out, checkpoint.folder_of(settings.out)):
                remove_litter(folder)
        if start is not None:
            self.state.load(start)
            self.step, self.best = start.run["step"], start.run["best"]
            self.sums = list(start.run["sums"])

    def _prepare_data(self, train: Subset, val: Subset, preprocessing: Any) -> None:
        recipe, budget = self.recipe, self.settings.memory
        self.train = prepare.into_memory(train, self.size, budget, self.skipped) or train
        if isinstance(self.train.source, prepare.MemorySource):
            budget -= self.train.source.pixels.numel()
        self.val = val
        if len(val):
            self.val = prepare.into_memory(val, self.size, budget, self.skipped) or val
        self.plan = Plan(
            images=len(self.train),
            batch=recipe.batch_size,
            seed=recipe.seed,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
        )
        self.total = recipe.epochs * self.plan.steps_per_epoch
        self.warmup = min(self.total, round(recipe.warmup_epochs * self.plan.steps_per_epoch))
        self.source = prepare.batch_source(self.train, recipe, preprocessing, self.size, self.plan)
        self.val_images: ImageDataset | None = None
        if len(self.val):
            self.val_images = prepare.validation_dataset(self.val, preprocessing, self.size)

    def _prepare_model(self, model: Any) -> None:
        recipe, fsdp = self.recipe, self.settings.fsdp
        self.model: Any = model.to(self.accelerator.device).train()
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
        self.forward = forward if fsdp else self.accelerator.prepare_model(forward)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)

    def fit(self) -> Path:
        """Train to the end.

        Returns:
            The file with the best weights.
        Raises:
            UsageError: if the loss is not finite, too many images cannot be read, or the disk is
                full; the last good checkpoint stays whole.
        """
        per_epoch, every = self.plan.steps_per_epoch, self.settings.checkpoint_every
        self._open_logs()
        pending: list[dict[str, Any]] = []
        first, self.started = self.step, time.monotonic()
        try:
            for images, targets in self._batches():
                pending.append(self._step(images, targets))
                self.step += 1
                ends = self.step % per_epoch == 0
                saves = ends or (every > 0 and self.step % every == 0)
                if saves or self.step % FLUSH == 0 or self.step == first + 1:
                    self._flush(pending)
                if self.step == first + 2:
                    self.display.restart_clock()  # the first steps compile and warm up
                if ends:
                    self._end_epoch()
                if saves:
                    self.save()
        finally:
            self.display.close()
            self.logs.close()
        return self.settings.out / "best.safetensors"

    def _open_logs(self) -> None:
        main = self.accelerator.is_main_process
        self.logs = Logs(
            self.settings.out,
            main=main,
            step=self.step,
            epoch=self.step // self.plan.steps_per_epoch + 1,
            tensorboard=self.settings.tensorboard,
        )
        self.display = Display(
            total=self.total,
            epochs=self.recipe.epochs,
            batch=self.recipe.batch_size,
            first=self.step,
            shown=self.settings.show and main,
        )
        count = sum(p.numel() for p in self.plain.parameters())
        in_memory = isinstance(self.train.source, prepare.MemorySource)
        self.display.say(
            f"{len(self.train):,} training and {len(self.val):,} validation images, "
            f"{len(self.classes)} classes, {'in memory' if in_memory else 'read as needed'}; "
            f"{count / 1e6:.2f} M parameters; {self.accelerator.num_processes} x "
            f"{self.accelerator.device.type}, {self.recipe.precision}"
        )
        for reason in list(self.skipped.reasons.values())[:5]:
            self.display.say(f"skipped: {reason}")
        if self.step:
            self.display.say(f"resumed after step {self.step} of {self.total}")

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(
            self.source,
            Mix(self.recipe, len(self.classes)),
            range(self.step, self.total),
            workers=self.settings.workers,
            pin=self.accelerator.device.type == "cuda",
            skipped=self.skipped,
        )

    def _step(self, images: Tensor, targets: Tensor) -> dict[str, Any]:
        """One optimiser step; losses stay on the device."""
        recipe, accelerator = self.recipe, self.accelerator
        rate = self._set_rate()
        place = accelerator.process_index * len(images)
        images, targets = images.to(accelerator.device), targets.to(accelerator.device)
        losses = torch.zeros(2, device=accelerator.device)  # loss, hits
        norm = torch.zeros(())
        parts = zip(images.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True)
        for number, (image, target) in enumerate(parts):
            # What the model draws (stochastic depth, dropout) depends on the step alone.
            torch.manual_seed(key(recipe.seed, self.step, place, number))
            with accelerator.accumulate(self.forward):
                with accelerator.autocast():
                    logits = self.forward(image)
                loss = self.criterion(logits.float(), target)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    limit = recipe.clip or math.inf
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), limit)
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
            hits = (logits.detach().argmax(-1) == target.argmax(-1)).float().mean()
            losses += torch.stack((loss.detach(), hits)) / recipe.accumulate
        if self.average is not None:
            self.average.update(self.step)
        return {"step": self.step, "lr": rate, "losses": losses, "norm": norm}

    def _set_rate(self) -> float:
        recipe = self.recipe
        rate = learning_rate(
            self.step,
            total=self.total,
            warmup=self.warmup,
            peak=recipe.peak_lr,
            start=recipe.warmup_lr,
            end=min(recipe.min_lr, recipe.peak_lr),
        )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["lr_scale"]
        return rate

    def _flush(self, pending: list[dict[str, Any]]) -> None:
        """Look at the losses since the last look: check, log and show them."""
        both: Any = torch.stack([row["losses"] for row in pending])
        both = self.accelerator.reduce(both, reduction="mean")
        per_epoch = self.plan.steps_per_epoch
        rows: list[dict[str, Any]] = []
        for row, (loss, hits) in zip(pending, both.tolist(), strict=True):
            norm = float(whole(row["norm"]))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._not_finite(row, loss, norm)
            self.sums = [self.sums[0] + loss, self.sums[1] + hits, self.sums[2] + 1]
            epoch = row["step"] // per_epoch + 1
            rows.append(
                {"step": row["step"], "epoch": epoch, "lr": row["lr"], "loss": loss, "top1": hits}
                | {"grad_norm": norm}
            )
        pending.clear()
        self.logs.add_steps(rows)
        done = max(1, self.sums[2])
        epoch = (self.step - 1) // per_epoch
        self.display.step(self.step, epoch, self.sums[0] / done, self.sums[1] / done)

    def _end_epoch(self) -> None:
        """Evaluate, log, and write the weights."""
        train_seconds = time.monotonic() - self.started
        scores = self.evaluate()
        row: dict[str, Any] = {
            "epoch": self.step // self.plan.steps_per_epoch,
            "step": self.step,
            "lr": float(self.optimizers[-1].param_groups[-1]["lr"]),
            "train_loss": self.sums[0] / self.sums[2],
            "train_top1": self.sums[1] / self.sums[2],
            "images_per_s": self.sums[2] * self.recipe.batch_size / train_seconds,
            "seconds": time.monotonic() - self.started,
            "skipped": len(self.skipped.reasons),
        }
        if scores is not None:
            row |= {"val_loss": scores.loss, "val_top1": scores.top1, "val_top5": scores.top5}
        self.display.epoch(row)
        self.sums = [0.0, 0.0, 0]
        self.logs.add_epoch(row)
        weights = self.state.weights()
        self._write_weights("last", weights)
        if scores is None or scores.top1 > self.best:
            self.best = self.best if scores is None else scores.top1
            self._write_weights("best", weights)
        self.started = time.monotonic()

    def evaluate(self) -> Scores | None:
        """Measure the averaged weights on the validation images; None when there are none."""
        if self.val_images is None:
            return None
        with self.average.applied() if self.average is not None else nullcontext():
            return evaluate(
                self.model,
                self.val_images,
                classes=len(self.classes),
                batch_size=self.recipe.batch_size,
                skipped=self.skipped,
                device=self.accelerator.device,
                autocast=lambda: self.accelerator.autocast(),
                rank=self.accelerator.process_index,
                processes=self.accelerator.num_processes,
            )

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed."""
        return {
            "model": f"{type(self.plain).__name__} {self.plain.config}",
            "classes": list(self.classes),
            "images": len(self.train),
            "size": list(self.size),
            "recipe": self.recipe.as_dict(),
        }

    def save(self) -> None:
        """Write a checkpoint; all processes take part, the first one writes.

        Raises:
            UsageError: if the disk is full; older checkpoints stay as they are.
        """
        run = self.identity() | {"step": self.step, "best": self.best, "sums": self.sums}
        saved = Checkpoint(self.state.tensors(), run)
        if self.accelerator.is_main_process:
            checkpoint.write(self.settings.out, self.step, saved)
        self.accelerator.wait_for_everyone()

    def _write_weights(self, name: str, weights: dict[str, Tensor]) -> None:
        """Write the weights as a file that every command takes."""
        if not self.accelerator.is_main_process:
            return
        from vitrail.weights import save

        self.plain.load_state_dict(weights, strict=False)  # buffers are not trained
        path = self.settings.out / f"{name}.safetensors"
        write_whole(path, lambda part: save(self.plain, part), fix=checkpoint.RESUME)

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


def image_size(model: Any, size: tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that a model is trained at.

    Raises:
        UsageError: if the model does not take colour images.
    """
    axes, channels = model.config.axes, model.config.in_channels
    if axes != 2 or channels != 3:
        raise UsageError(
            given=f"{model.name or type(model).__name__}, whose input has {axes} axes and "
            f"{channels} channels, to train on images",
            allowed="a model with 2 axes and 3 channels",
            fix="use --model swin_nano or another that `vitrail list` shows with HxW",
        )
    height, width = size or model.preprocessing.size
    return height, width


def fit(
    model: Any,
    train: Subset,
    val: Subset,
    recipe: Recipe,
    settings: Settings,
    size: tuple[int, int] | None = None,
) -> Path:
    """Train a model and return the file with its best weights; see ``Run``."""
    return Run(model, train, val, recipe, settings, size).fit()
