"""What `vitrail evaluate` measures of models of other tasks than classification."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.cli._failures import printable
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.tasks import Task


def refuse(task: str, **options: object) -> None:
    """Refuse options that are of classification.

    Raises:
        UsageError: one is given.
    """
    for name, value in options.items():
        if value:
            raise UsageError(
                given=f"--{name} for a model of task {task}",
                allowed="data, --batch-size, --workers, --device, --per-class, --max-bad, --json",
                fix=f"leave --{name} out",
            )


def samples_of(task: "Task", model: Any, data: list[str], root: Path, download: bool) -> Any:
    """Return the data as the model's inputs, none augmented."""
    source = task.open(data, train=False, root=root, download=download)
    task.check(source)
    return task.samples(task.split(source, 0.0, 0)[0], model.preprocessing, None)


def summary(model: Any, weights: str, task: "Task", score: Any, images: int) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "model": model.name,
        "task": task.name,
        "weights": weights,
        "images": images - score.skipped,
        "skipped": score.skipped,
        **score.result(),
        **score.details(),
    }


def print_text(answer: dict[str, Any], task: "Task", *, per_class: bool) -> None:
    """Print the measures for people."""
    print(f"{answer['model']} ({answer['weights']}) on {answer['images']:,} images")
    for column in task.val_columns:
        print(f"  {column.text(answer[column.name])}")
    if answer["skipped"]:
        print(f"  skipped {answer['skipped']} unreadable image(s)")
    parts = {"per_kind": answer.get("per_kind")}
    if per_class:
        parts["per_class"] = answer.get("per_class")
    for rows in filter(None, parts.values()):
        width = max(map(len, rows))
        for name, row in rows.items():
            words = ", ".join(
                f"{key} {value:,}" if isinstance(value, int) else f"{key} {value:.4f}"
                for key, value in row.items()
            )
            print(f"  {printable(name):<{width}}  {words}")
