"""Tasks: what a model learns and how it is judged. A new task is one file and one line here."""

import difflib
from collections.abc import Sequence
from importlib import import_module

from torch import nn

from vitrail.data.outline import outline
from vitrail.errors import UsageError
from vitrail.models import TaskModel, backbone_of, unwrapped
from vitrail.tasks.base import Column, Prediction, Recipe, Score, Task

__all__ = [
    "TASKS",
    "Column",
    "Prediction",
    "Recipe",
    "Score",
    "Task",
    "task_for",
    "task_named",
    "task_of",
]

# Where each task is; loaded when it is used, for some need packages that others do not.
TASKS = {
    "classify": "vitrail.tasks.classify:Classify",
    "detect": "vitrail.tasks.detect:Detect",
    "segment": "vitrail.tasks.segment:Segment",
}


def task_named(name: str) -> type[Task]:
    """Return a task's class.

    Raises:
        UsageError: there is no such task.
    """
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.5) or [*TASKS][:1]
        raise UsageError(f"task={name!r}", f"one of {', '.join(TASKS)}", f"use task={close[0]!r}")
    module, _, cls = TASKS[name].partition(":")
    return getattr(import_module(module), cls)


def task_for(data: Sequence[str]) -> tuple[type[Task], str]:
    """Return the task that data look like, and why, in words.

    Args:
        data: as the command line has them; the first decides.
    Raises:
        UsageError: there are none, or they look like no task's, or like several.
    """
    found = outline(data[0])
    tasks = [task_named(name) for name in TASKS]
    reasons = {task: reason for task in tasks if (reason := task.recognises(found))}
    if len(reasons) == 1:
        return next(iter(reasons.items()))
    names = [task.name for task in reasons]
    raise UsageError(
        f"{data[0]!r}, which looks like data of "
        + (f"the tasks {' and '.join(names)}" if names else "no task"),
        "; ".join(f"{task.name}: {task.layout}" for task in tasks),
        f"say which it is: --task {(names or [*TASKS])[0]}",
    )


def task_of(model: nn.Module) -> Task:
    """Return the task that a model was made for.

    Raises:
        UsageError: it is no Vitrail model, or does not do its task, as one without a head.
    """
    whole, backbone = unwrapped(model), backbone_of(model)
    if isinstance(whole, TaskModel):
        if whole.task.name not in TASKS:
            raise UsageError(
                f"a model for task {whole.task.name}",
                f"a model for {' or '.join(TASKS)}",
                "call the model itself: model(x) returns its outputs",
            )
        return task_named(whole.task.name).of(whole)
    if backbone is None:
        raise UsageError(
            f"a model of class {type(model).__name__}",
            "a Vitrail model",
            "convert a peer's with vitrail.from_model(model)",
        )
    return task_named("classify").of(backbone)
