"""Tasks: what a model learns and how it is judged. A new task is one file and one line here."""

from importlib import import_module

from vitrail.errors import UsageError
from vitrail.tasks.base import Column, Recipe, Score, Task

__all__ = ["TASKS", "Column", "Recipe", "Score", "Task", "task_named"]

# Where each task is; loaded when it is used, for some need packages that others do not.
TASKS = {
    "classify": "vitrail.tasks.classify:Classify",
}


def task_named(name: str) -> type[Task]:
    """Return a task's class.

    Raises:
        UsageError: there is no such task.
    """
    if name not in TASKS:
        raise UsageError(
            f"task={name!r}", f"one of {', '.join(TASKS)}", f"use task={next(iter(TASKS))!r}"
        )
    module, _, cls = TASKS[name].partition(":")
    return getattr(import_module(module), cls)
