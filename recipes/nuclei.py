"""Segment cell nuclei in microscope images, whatever the microscope; weights="bundled:nuclei".

    python recipes/nuclei.py DATA -o runs/nuclei

DATA holds train.zip and val.zip of the 2018 Data Science Bowl with corrected masks (CC0; 464 and
68 images): images/ID.png, and labels/ID.png with one number a nucleus. Run again with --resume
after an interruption.

Seed 0 reaches a mean Dice of 0.88 on val.zip after 23 of its 48 epochs (fluorescence 0.91, stained
0.75, brightfield 0.72), each of which takes about 45 seconds of one core; docs/results.md says what
bounds it.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import vitrail
from vitrail.data.pairs import open_pairs, split_pairs
from vitrail.heads import UNetConfig
from vitrail.tasks.segment import Segment
from vitrail.tasks.segment_options import SegmentOptions
from vitrail.training.loop import fit
from vitrail.training.machine import Settings
from vitrail.training.recipe import Recipe

SIZE = (128, 128)  # of the crops it learns from; images of any size are segmented


def main() -> None:
    """Train on DATA/train.zip; the weights with the best Dice on DATA/val.zip are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/nuclei"))
    parser.add_argument("--epochs", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()

    files = (chosen.data / name for name in ("train.zip", "val.zip"))
    train, val = (split_pairs(open_pairs([str(file)]), 0.0, 0)[0] for file in files)
    # Of 464 images 378 show fluorescence, 75 a stain and 11 brightfield: the rare come more often.
    often = {"fluorescence": 1, "stained_light": 2, "brightfield_grey": 5}
    times = [often[kind] for kind in train.source.kinds]
    train = replace(train, indices=np.repeat(train.indices, times))
    # Nuclei lie any way round, and are light on dark or dark on light.
    options = SegmentOptions(
        instances=True, rotate=180, flip="all", scale=1.6, invert=0.25, contrast=1.5, gamma=1.5
    )
    torch.manual_seed(chosen.seed)
    model = vitrail.create_model(
        "swin_nano",
        task="segment",
        head=UNetConfig(dim=16),
        num_classes=3,  # background, inside, border
        patch=(4, 4),
        dim=32,
        depths=(2, 2, 6),
        num_heads=(2, 4, 8),
        window=(8, 8),
    )
    recipe = Recipe(
        epochs=chosen.epochs,
        batch_size=8,
        lr=1e-3,
        warmup_epochs=3,
        ema=0.995,
        seed=chosen.seed,
    )
    settings = Settings(out=chosen.output, resume=chosen.resume)
    print(fit(model, Segment.build(train, options), train, val, recipe, settings, SIZE))


if __name__ == "__main__":
    main()
