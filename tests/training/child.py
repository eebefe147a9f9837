"""A training run in a process of its own, on a tiny model; run by ``conftest.launch``.

Globals given by the caller: ``job``, a dict with ``out``, ``data``, and optionally ``recipe``,
``settings``, ``env``, ``task`` with its ``options``, ``model`` (another one than Swin, with all
its ``fields``), ``pause`` (a moment at which the process says so and waits for a signal) and
``report`` (a file for what the caller wants to know).
"""

import json
import os
import time
from pathlib import Path

job = globals()["job"]
os.environ.update(job.get("env", {}))

import torch  # noqa: E402

from vitrail import create_model  # noqa: E402
from vitrail.heads import SemanticFPNConfig  # noqa: E402
from vitrail.tasks import task_named  # noqa: E402
from vitrail.training import checkpoint, loop  # noqa: E402
from vitrail.training.interrupt import TrainingStopped  # noqa: E402
from vitrail.training.machine import Settings  # noqa: E402
from vitrail.training.recipe import Recipe  # noqa: E402

torch.set_num_threads(1)
TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
SMALL_HEAD = SemanticFPNConfig(pyramid_dim=8, dim=8, groups=2)
RECIPE = {
    "epochs": 3,
    "batch_size": 16,
    "lr": 1e-3,
    "warmup_epochs": 1.0,
    "crop": "pad",
    "ema": 0.9,
}


def wait_here() -> None:
    Path(job["marker"]).touch()
    for _ in range(6000):  # a signal that is only noted ends one nap
        time.sleep(0.1)
        if job.get("signalled") and Path(job["signalled"]).exists():
            return


def pause_at(moment: str) -> None:
    """Stop for good at a moment that is named in words."""
    kind, _, number = moment.partition(" ")
    counted = [0]

    def reached() -> bool:
        counted[0] += 1
        return counted[0] == int(number)

    if kind == "step":
        take = loop.Run._step

        def step(self, batch):
            done = take(self, batch)
            if reached():
                wait_here()
            return done

        loop.Run._step = step
    elif kind == "writing":
        save = checkpoint.save_file

        def save_half(tensors, path, metadata):
            save(tensors, path, metadata)
            if reached():
                os.truncate(path, os.path.getsize(path) // 2)
                wait_here()

        checkpoint.save_file = save_half
    elif kind == "renaming":
        replace = os.replace

        def before(a, b):
            if "step-" in str(b) and reached():
                wait_here()
            replace(a, b)

        os.replace = before
    elif kind == "epoch":
        end = loop.Run._end_epoch

        def ended(self):
            end(self)
            if reached():
                wait_here()

        loop.Run._end_epoch = ended
    elif kind == "evaluation":
        check = loop.Run._check_stop

        def checked(self, done):
            if reached():
                wait_here()
            check(self, done)

        loop.Run._check_stop = checked
    else:
        raise AssertionError(moment)


def main() -> None:
    if "pause" in job:
        pause_at(job["pause"])
    kind = task_named(job.get("task", "classify"))
    source = kind.open([job["data"]], train=True, root=Path("."), download=False)
    train, val = kind.split(source, 0.2, 0)
    task = kind.build(train, kind.Options(**job.get("options", {})))
    head = {} if kind.name == "classify" else {"task": kind.name, "head": SMALL_HEAD}
    torch.manual_seed(0)
    model = create_model(
        job.get("model", "swin_nano"),
        num_classes=len(task.classes),
        **head,
        drop_path=job.get("drop_path", 0.1),
        **(({} if "model" in job else TINY) | job.get("fields", {})),
    )
    recipe = Recipe(**{**RECIPE, **job.get("recipe", {})})
    quiet = {"show": False, "cpu": True, "tensorboard": False}
    settings = Settings(out=Path(job["out"]), **{**quiet, **job.get("settings", {})})
    size = (16,) * model.config.axes
    run = loop.Run(model, task, train, val, recipe, settings, size)
    try:
        run.fit()
    except TrainingStopped as stopped:
        print(stopped, flush=True)
        raise SystemExit(130) from None
    if "report" in job and run.accelerator.is_main_process:
        kinds = sorted({type(p).__name__ for p in run.model.parameters()})
        Path(job["report"]).write_text(json.dumps({"parameters": kinds}))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


main()
