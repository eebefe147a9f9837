"""Training advice put to the test: one short run without each, same seed and budget.

Each run is a ``vitrail train`` in a process and a folder of its own; what was finished is not done
again, what was begun goes on. Two variants are not a matter of options: their model differs, and
is put into the catalog of that process alone.
"""

import csv
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from torch import nn

from vitrail.layers import RelativeBias
from vitrail.models import CATALOG, Swin, SwinConfig

MODEL = "swin_nano"
_PROCESS = "vitrail.cli._ablation"  # prepares a variant, then trains
# What is left out: the options that do so.
VARIANTS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "warm-up": ("--warmup-epochs", "0"),
    "clipping": ("--clip", "0"),
    "augmentation": ("--randaugment", "0", "--erase", "0", "--mixup", "0", "--cutmix", "0"),
    "relative bias": (),
    "shift": (),
}


class Unbiased(Swin):
    """A Swin whose relative biases are zero, and stay so."""

    config_class: ClassVar[type[SwinConfig]] = SwinConfig

    def reset_parameters(self) -> None:
        """Initialise all else."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, RelativeBias):
                nn.init.zeros_(module.table)
                module.table.requires_grad_(False)


def command(
    variant: str, folder: Path, data: str, epochs: int, options: Sequence[str]
) -> list[str]:
    """Return the words of one run.

    Args:
        variant: what is left out.
        folder: of the run.
        data: as ``vitrail train`` takes it.
        epochs: passes over the data.
        options: more options of ``vitrail train``, for all runs alike.
    """
    words = ["train", data, "--model", MODEL, "--output", str(folder), "--epochs", str(epochs)]
    words += ["--seed", "0", *options, *VARIANTS[variant]]
    if (folder / "checkpoints").is_dir():
        words.append("--resume")
    return [sys.executable, "-m", _PROCESS, variant, *words]


def ablate(
    variant: str, folder: Path, data: str, epochs: int, options: Sequence[str] = ()
) -> float:
    """Train without one thing, or go on with it, and return the best validation accuracy.

    Raises:
        RuntimeError: the run failed; its folder is as it left it.
    """
    rows = _epochs(folder)
    if len(rows) < epochs:
        done = subprocess.run(command(variant, folder, data, epochs, options), check=False)
        if done.returncode:
            raise RuntimeError(f"the run without {variant} ended with {done.returncode}")
        rows = _epochs(folder)
    return max(float(row["val_top1"]) for row in rows)


def _epochs(folder: Path) -> list[dict[str, str]]:
    path = folder / "epochs.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def prepare(variant: str) -> None:
    """Put a variant's model into this process' catalog, in the place of the usual one."""
    entry = CATALOG[MODEL]
    assert isinstance(entry.config, SwinConfig)
    if variant == "shift":
        config = replace(entry.config, shift_rule="never")
        CATALOG[MODEL] = entry._replace(config=config)
    elif variant == "relative bias":
        CATALOG[MODEL] = entry._replace(model=Unbiased)
