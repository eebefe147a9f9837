"""Answers of `vitrail predict` that outlive a kill: what is in them is not predicted again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.errors import UsageError
from vitrail.files import write_text

if TYPE_CHECKING:
    from torch import nn

NAME = "predictions.jsonl"


class Journal:
    """A folder's answers, one a line below a line of facts about the model and the options.

    ``predictions.jsonl`` is whole at any time. While a command runs, each process appends to
    ``predictions-RANK.part.jsonl``; the next command takes over what a killed one left there.

    Args:
        folder: of the results.
        facts: what answers depend on beside their inputs.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = folder, json.loads(json.dumps(facts))
        self.path = folder / NAME

    def take_over(self) -> dict[str, dict[str, Any]]:
        """Read what was answered before, by the input's name, and put it into the whole file.

        Raises:
            UsageError: it comes from another model or other options, or is no journal.
        """
        known: dict[str, dict[str, Any]] = {}
        parts = sorted(self.folder.glob("predictions-*.part.jsonl"))
        for path in [*([self.path] if self.path.exists() else []), *parts]:
            known |= {answer["photo"]: answer for answer in self._answers(path)}
        if parts:
            self.write(known.values())
        return known

    def append(self, rank: int, answer: Mapping[str, Any]) -> None:
        """Add one answer of a process."""
        part = self.folder / f"predictions-{rank}.part.jsonl"
        new = not part.exists()
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("a", encoding="utf-8") as file:
            file.write((_line(self.facts) if new else "") + _line(answer))

    def write(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """Write all answers, and remove those of the processes."""
        write_text(self.path, "".join(map(_line, [self.facts, *answers])))
        for part in self.folder.glob("predictions-*.part.jsonl"):
            part.unlink()

    def _answers(self, path: Path) -> list[dict[str, Any]]:
        lines = path.read_text("utf-8", "replace").splitlines()
        rows = [row for row in map(_row, lines) if row is not None]
        torn = path != self.path  # a killed process may have written its last line in part
        if not (rows or torn) or (not torn and len(rows) < len(lines)):
            raise UsageError(
                f"{path}, which is no list of predictions, or a damaged one",
                "a file as `vitrail predict -o FOLDER` wrote it, or none",
                "remove it, and all are predicted again; or name another folder with --output",
            )
        if rows and rows[0] != self.facts:
            odd = [key for key in self.facts if rows[0].get(key) != self.facts[key]]
            words = ", ".join(
                "other weights" if key == "model" else f"another {key}" for key in odd
            )
            raise UsageError(
                f"--output {self.folder}, with predictions of {words or 'another command'}",
                "a folder with predictions of the same weights and options, or without any",
                f"use another folder, or remove {self.path} to predict all again",
            )
        return [row for row in rows[1:] if isinstance(row.get("photo"), str)]


def fingerprint(model: "nn.Module") -> str:
    """A number that changes with anything that a model is made of."""
    import torch

    found = hashlib.blake2b(digest_size=16)
    facts = [getattr(model, name, None) for name in ("config", "preprocessing", "task")]
    found.update(repr(facts).encode())
    for name, tensor in model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
