"""The training loop: one process, several, or a GPU, by the same code.

A run is a function of its recipe, model, data and seed. Its state between two steps is the parameters, their average,
the optimiser's moments and the step's number; nothing else carries over, so that a killed run goes on bit for bit.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from vitrail.data.dataset import Part, Pictures, Skipped
from vitrail.data.draws import key
from vitrail.errors import UsageError
from vitrail.training import checkpoint, prepare
from vitrail.training.augment import Mix
from vitrail.training.checkpoint import Checkpoint
from vitrail.training.ema import Average
from vitrail.training.evaluation import Scores, evaluate
from vitrail.training.files import write_whole
from vitrail.training.groups import parameter_groups
from vitrail.training.loader import Plan, batches
from vitrail.training.logs import Display, Logs, duration
from vitrail.training.parallel import cut_like, fill, shard, whole
from vitrail.training.recipe import Recipe
from vitrail.training.schedule import learning_rate

FLUSH = 10
"""Steps between two looks at the losses: on a GPU each look waits for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a run does with this machine; nothing here changes the numbers of a run on one process."""

    out: Path
    resume: bool = False
    workers: int = 1
    """Processes that prepare batches ahead."""
    compile: bool = False
    fsdp: bool = False
    checkpoint_every: int = 0
    """Optimiser steps between checkpoints besides the one after each epoch; 0 for none."""
    memory: int = 2 << 30
    """Bytes that decoded pictures may take."""
    max_bad: int = 100
    """Unreadable images that are skipped before it is an error."""
    tensorboard: bool = True
    show: bool = True
    cpu: bool = False


class Run:
    """One training run.

    Args:
        model: the model to train, initialised or with weights; its preprocessing is what the data get.
        train: training images.
        val: validation images; may be empty.
        recipe: how to train.
        settings: this machine.
        size: (height, width) of the images; the model's own by default.
    Raises:
        UsageError: if the parts do not fit together, or there is a run in ``settings.out`` that is not this one.
    """

    def __init__(
        self,
        model: Any,
        train: Part,
        val: Part,
        recipe: Recipe,
        settings: Settings,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.recipe, self.settings, self.val = recipe, settings, val
        self.accelerator = _accelerator(recipe, settings)
        self.processes = self.accelerator.num_processes
        self.main = self.accelerator.is_main_process
        _check_batch(recipe, self.processes)
        _check_fsdp(settings, self.processes)
        self.size = size or tuple(model.preprocessing.size)
        self.classes = train.source.classes
        self.skipped = Skipped(settings.max_bad)
        self.display: Display | None = None
        self._read_data(train, val)
        self._set_up(model)
        self.step = 0
        self.best = -1.0
        self.sums = [0.0, 0.0, 0]
        self._restore()

    def _read_data(self, train: Part, val: Part) -> None:
        budget = self.settings.memory
        kept = prepare.into_memory(train, self.size, budget, self.skipped)
        self.train = kept or train
        if kept is not None:
            budget -= kept.source.pixels.numel()  # type: ignore[attr-defined]
        if len(val):
            self.val = prepare.into_memory(val, self.size, budget, self.skipped) or val
        self.plan = Plan(
            images=len(self.train),
            batch=self.recipe.batch_size,
            seed=self.recipe.seed,
            rank=self.accelerator.process_index,
            processes=self.processes,
        )
        self.total = self.recipe.epochs * self.plan.steps_per_epoch
        self.warmup = min(self.total, round(self.recipe.warmup_epochs * self.plan.steps_per_epoch))

    def _set_up(self, model: Any) -> None:
        recipe, accelerator = self.recipe, self.accelerator
        self.maker = prepare.training_maker(
            self.train, recipe, model.preprocessing, self.size, self.plan
        )
        self.pictures: Pictures | None = None
        if len(self.val):
            self.pictures = prepare.validation_pictures(self.val, model.preprocessing, self.size)
        self.plain = copy.deepcopy(model).cpu()
        self.model: Any = model.to(accelerator.device).train()
        if self.settings.fsdp:
            shard(self.model)
        groups = parameter_groups(self.model, recipe.peak_lr, recipe.weight_decay, recipe.layer_decay)
        self.names = {p: n for n, p in self.model.named_parameters()}
        # The fused kernel is several times faster; it does not know tensors cut over processes.
        optimizer = torch.optim.AdamW(groups, lr=recipe.peak_lr, fused=not self.settings.fsdp)
        self.optimizer: Any = accelerator.prepare_optimizer(optimizer)
        self.average = Average(self.model, recipe.ema) if recipe.ema else None
        forward = torch.compile(self.model, dynamic=False) if self.settings.compile else self.model
        self.forward: Any = forward if self.settings.fsdp else accelerator.prepare_model(forward)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)

    # ---- the run ------------------------------------------------------------------------------

    def fit(self, after_step: Callable[[int], None] | None = None) -> Path:
        """Train to the end.

        Args:
            after_step: called with the number of steps done, for tests.
        Returns:
            The file with the best weights.
        Raises:
            UsageError: if the loss is not finite, too many images cannot be read, or the disk is full.
        """
        per_epoch = self.plan.steps_per_epoch
        logs = Logs(
            self.settings.out,
            main=self.main,
            step=self.step,
            epoch=self.step // per_epoch + 1,
            tensorboard=self.settings.tensorboard,
        )
        self.display = Display(
            total=self.total, epochs=self.recipe.epochs, batch=self.recipe.batch_size, first=self.step,
            shown=self.settings.show and self.main,
        )
        self._say_start()
        pending: list[dict[str, Any]] = []
        started = time.monotonic()
        first = self.step
        try:
            for images, targets in self._batches():
                pending.append(self._step(images, targets))
                self.step += 1
                ends = self.step % per_epoch == 0
                every = self.settings.checkpoint_every
                saves = ends or (every > 0 and self.step % every == 0)
                if saves or self.step % FLUSH == 0 or self.step == first + 1:
                    self._flush(pending, logs)
                if self.step == first + 2:
                    self.display.restart_clock()
                if ends:
                    self._end_epoch(logs, started)
                    started = time.monotonic()
                if saves:
                    self.save()
                if after_step is not None:
                    after_step(self.step)
        finally:
            self.display.close()
            logs.close()
        return self.settings.out / "best.safetensors"

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(
            self.maker,
            Mix(self.recipe, len(self.classes)),
            range(self.step, self.total),
            workers=self.settings.workers,
            pin=self.accelerator.device.type == "cuda",
            skipped=self.skipped,
        )

    def _step(self, images: Tensor, targets: Tensor) -> dict[str, Any]:
        """One optimiser step; losses stay on the device."""
        recipe, accelerator = self.recipe, self.accelerator
        rate = learning_rate(
            self.step, total=self.total, warmup=self.warmup, peak=recipe.peak_lr,
            start=recipe.warmup_lr, end=min(recipe.min_lr, recipe.peak_lr),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        place = accelerator.process_index * len(images)
        images, targets = images.to(accelerator.device), targets.to(accelerator.device)
        loss_sum = torch.zeros((), device=accelerator.device)
        hits = torch.zeros((), device=accelerator.device)
        norm = torch.zeros(())
        parts = zip(images.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True)
        for number, (image, target) in enumerate(parts):
            torch.manual_seed(key(recipe.seed, self.step, place, number))
            with accelerator.accumulate(self.forward):
                with accelerator.autocast():
                    logits = self.forward(image)
                loss = self.criterion(logits.float(), target)
                accelerator.backward(loss)
                if accelerator.sync_gradients and recipe.clip:
                    norm = accelerator.clip_grad_norm_(self.names, recipe.clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
            loss_sum += loss.detach() / recipe.accumulate
            hits += (logits.detach().argmax(-1) == target.argmax(-1)).float().mean() / recipe.accumulate
        if self.average is not None:
            self.average.update(self.step)
        return {"step": self.step, "lr": rate, "loss": loss_sum, "hits": hits, "norm": norm}

    def _flush(self, pending: list[dict[str, Any]], logs: Logs) -> None:
        """Look at the losses since the last look: check, log and show them."""
        assert self.display is not None
        both = torch.stack([torch.stack((row["loss"], row["hits"])) for row in pending])
        both = self.accelerator.reduce(both, reduction="mean").cpu()
        per_epoch = self.plan.steps_per_epoch
        rows = []
        for row, (loss, hits) in zip(pending, both.tolist(), strict=True):
            if not math.isfinite(loss):
                raise self._not_finite(row["step"], loss, row["lr"])
            self.sums = [self.sums[0] + loss, self.sums[1] + hits, self.sums[2] + 1]
            rows.append(
                {
                    "step": row["step"], "epoch": row["step"] // per_epoch + 1, "lr": row["lr"],
                    "loss": loss, "top1": hits, "grad_norm": float(whole(row["norm"])),
                }
            )
        pending.clear()
        logs.add_steps(rows)
        done = max(1, self.sums[2])
        epoch = (self.step - 1) // per_epoch
        self.display.step(self.step, epoch, self.sums[0] / done, self.sums[1] / done)

    def _end_epoch(self, logs: Logs, started: float) -> None:
        assert self.display is not None
        train_seconds = time.monotonic() - started
        epoch = self.step // self.plan.steps_per_epoch
        scores = self.evaluate()
        row: dict[str, Any] = {
            "epoch": epoch,
            "step": self.step,
            "lr": float(self.optimizer.param_groups[-1]["lr"]),
            "train_loss": self.sums[0] / self.sums[2],
            "train_top1": self.sums[1] / self.sums[2],
            "images_per_s": self.plan.steps_per_epoch * self.recipe.batch_size / train_seconds,
            "seconds": time.monotonic() - started,
            "skipped": len(self.skipped.reasons),
        }
        said = f"epoch {epoch}/{self.recipe.epochs}  loss {row['train_loss']:.4f}"
        said += f"  accuracy {row['train_top1']:.2%}"
        if scores is not None:
            row |= {"val_loss": scores.loss, "val_top1": scores.top1, "val_top5": scores.top5}
            said += f"  validation: loss {scores.loss:.4f}, top-1 {scores.top1:.2%}"
        self.display.say(f"{said}  ({row['images_per_s']:,.0f} images/s, {row['seconds']:.0f} s)")
        if self.skipped.reasons:
            self.display.say(f"skipped {len(self.skipped.reasons)} unreadable image(s) so far")
        self.sums = [0.0, 0.0, 0]
        logs.add_epoch(row)
        better = scores is None or scores.top1 > self.best
        if scores is not None and better:
            self.best = scores.top1
        self._write_weights("last")
        if better:
            self._write_weights("best")

    def evaluate(self) -> Scores | None:
        """Measure the averaged weights on the validation images; None when there are none."""
        if self.pictures is None:
            return None
        with self.average.applied() if self.average is not None else nullcontext():
            return evaluate(
                self.model,
                self.pictures,
                classes=len(self.classes),
                batch_size=self.recipe.batch_size,
                skipped=self.skipped,
                device=self.accelerator.device,
                autocast=self.accelerator.autocast,
                rank=self.accelerator.process_index,
                processes=self.processes,
            )

    # ---- checkpoints --------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed."""
        return {
            "model": f"{type(self.plain).__name__} {self.plain.config}",
            "classes": list(self.classes),
            "images": len(self.train),
            "size": list(self.size),
            "recipe": self.recipe.as_dict(),
        }

    def save(self) -> Path | None:
        """Write a checkpoint; all processes take part, the first one writes."""
        tensors = {f"model.{n}": whole(p) for n, p in self.model.named_parameters()}
        if self.average is not None:
            tensors |= {f"ema.{n}": whole(v) for n, v in self.average.values.items()}
        for parameter, state in self.optimizer.state.items():
            name = self.names[parameter]
            tensors |= {f"optimizer.{field}.{name}": whole(v) for field, v in state.items()}
        run = self.identity() | {"step": self.step, "best": self.best, "sums": self.sums}
        path = None
        if self.main:
            path = checkpoint.write(self.settings.out, self.step, Checkpoint(tensors, run))
        self.accelerator.wait_for_everyone()
        return path

    def _restore(self) -> None:
        """Continue from the newest checkpoint, if asked to; refuse to write over a run if not."""
        out = self.settings.out
        if not self.settings.resume:
            if checkpoint.found(out):
                raise UsageError(
                    given=f"the folder {str(out)!r}, which holds a run already",
                    allowed="a new folder, or the same command with --resume",
                    fix=f"add --resume, or use another folder: --out {out}-2",
                )
            return
        newest = checkpoint.newest(out)
        if newest is None:
            return  # killed before its first checkpoint: the beginning is where it goes on
        path, saved = newest
        _check_same(self.identity(), saved.run, path)
        model, ema = saved.part("model"), saved.part("ema")
        for name, parameter in self.model.named_parameters():
            fill(parameter, model[name])
            if self.average is not None:
                fill(self.average.values[name], ema[name])
        for parameter, name in self.names.items():
            state = self._optimizer_state(saved, name, parameter)
            if state:
                self.optimizer.state[parameter] = state
        self.step, self.best = saved.run["step"], saved.run["best"]
        self.sums = list(saved.run["sums"])

    def _optimizer_state(
        self, saved: Checkpoint, name: str, parameter: Tensor
    ) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for field in ("step", "exp_avg", "exp_avg_sq"):
            value = saved.tensors.get(f"optimizer.{field}.{name}")
            if value is not None:
                state[field] = value.clone() if field == "step" else cut_like(value, parameter)
        return state

    def _write_weights(self, name: str) -> None:
        """Write the averaged weights as a file that every command takes."""
        values = self.average.values if self.average is not None else dict(self.model.named_parameters())
        with torch.no_grad():
            for key_, parameter in self.plain.named_parameters():
                parameter.copy_(whole(values[key_]))
        if self.main:
            from vitrail.weights import save

            path = self.settings.out / f"{name}.safetensors"
            write_whole(path, lambda temporary: save(self.plain, temporary))

    # ---- messages -----------------------------------------------------------------------------

    def _say_start(self) -> None:
        assert self.display is not None
        count = sum(p.numel() for p in self.plain.parameters())
        where = f"{self.processes} x {self.accelerator.device.type}"
        kept = "in memory" if isinstance(self.train.source, prepare.MemorySource) else "read as needed"
        self.display.say(
            f"{len(self.train):,} training and {len(self.val):,} validation images, {len(self.classes)} classes, "
            f"{kept}; {count / 1e6:.2f} M parameters; {where}, {self.recipe.precision}"
        )
        for reason in list(self.skipped.reasons.values())[:5]:
            self.display.say(f"skipped: {reason}")
        if self.step:
            self.display.say(f"resumed after step {self.step} of {self.total}")

    def _not_finite(self, step: int, loss: float, rate: float) -> UsageError:
        saved = checkpoint.found(self.settings.out)
        last = f"; the last good checkpoint is {str(saved[-1])!r}" if saved else ""
        return UsageError(
            given=f"a loss of {loss} at step {step} with learning rate {rate:.3g}{last}",
            allowed="a finite loss",
            fix=f"start anew with --lr {self.recipe.peak_lr / 4:.2g}, a longer warm-up or --precision fp32",
        )


def _accelerator(recipe: Recipe, settings: Settings) -> Accelerator:
    # Accelerate remembers the first precision of a process and refuses another; a second run may want one.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision="bf16" if recipe.precision == "bf16" else "no",
        gradient_accumulation_steps=recipe.accumulate,
        cpu=settings.cpu,
    )


def _check_batch(recipe: Recipe, processes: int) -> None:
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise UsageError(
            given=f"a batch of {recipe.batch_size} over {processes} process(es) and {recipe.accumulate} part(s)",
            allowed=f"a multiple of {parts}",
            fix=f"use --batch-size {max(1, round(recipe.batch_size / parts)) * parts}",
        )


def _check_fsdp(settings: Settings, processes: int) -> None:
    if settings.fsdp and not torch.distributed.is_initialized():
        raise UsageError(
            given=f"--fsdp on {processes} process",
            allowed="--fsdp on processes started together",
            fix="run the command under torchrun: torchrun --nproc-per-node 2 -m vitrail train ...",
        )


def _check_same(now: dict[str, Any], then: dict[str, Any], path: Path) -> None:
    """Refuse to go on with another model, other data or another recipe."""
    flat_now = {**now, **{f"recipe {k}": v for k, v in now["recipe"].items()}}
    flat_then = {**then, **{f"recipe {k}": v for k, v in then["recipe"].items()}}
    for name, value in flat_now.items():
        if name != "recipe" and value != flat_then.get(name):
            raise UsageError(
                given=f"{name.removeprefix('recipe ')}={value!r} for a run that has {flat_then.get(name)!r}",
                allowed=f"the same run as in {str(path)!r}",
                fix="repeat the first command exactly and add --resume, or use another --out",
            )


def fit(
    model: Any,
    train: Part,
    val: Part,
    recipe: Recipe,
    settings: Settings,
    size: tuple[int, int] | None = None,
) -> Path:
    """Train a model; see ``Run``."""
    classes = train.source.classes
    fields = replace(model.preprocessing, classes=classes, trained=True, size=size or model.preprocessing.size)
    model.preprocessing = fields
    return Run(model, train, val, recipe, settings, size).fit()
