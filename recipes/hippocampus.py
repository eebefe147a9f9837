"""Segment the two parts of the hippocampus in MRI volumes; weights="bundled:hippocampus".

    python recipes/hippocampus.py DATA -o runs/hippocampus

DATA holds train.zip and val.zip of the Medical Segmentation Decathlon's Task04 (CC-BY-SA-4.0; 182
and 26 volumes of about 36 x 50 x 35 voxels of 1 mm): images/NAME.nii.gz, and labels/NAME.nii.gz
with 0 for background, 1 for the anterior and 2 for the posterior part. Run again with --resume
after an interruption.

Seed 0 reaches a mean Dice of 0.88 on val.zip (anterior 0.89, posterior 0.88) within 41 of its 60
epochs, each of which takes about 40 seconds of one core.
"""

import argparse
from pathlib import Path

import torch

import vitrail
from vitrail.data.pairs import open_pairs, split_pairs
from vitrail.heads import UNetConfig
from vitrail.tasks.segment import Segment
from vitrail.tasks.segment_options import SegmentOptions
from vitrail.training.loop import fit
from vitrail.training.machine import Settings
from vitrail.training.recipe import Recipe

SIZE = (32, 48, 32)  # of the crops it learns from; whole volumes of any size are segmented


def main() -> None:
    """Train on DATA/train.zip; the weights with the best Dice on DATA/val.zip are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/hippocampus"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()

    files = (chosen.data / name for name in ("train.zip", "val.zip"))
    train, val = (split_pairs(open_pairs([str(file)]), 0.0, 0)[0] for file in files)
    options = SegmentOptions(
        classes=("background", "anterior", "posterior"), rotate=15, scale=1.2, gamma=1.5
    )
    torch.manual_seed(chosen.seed)
    model = vitrail.create_model(
        "swin3d_nano",
        task="segment",
        head=UNetConfig(dim=16),  # at full resolution; the backbone begins at half of it
        num_classes=3,
    )
    recipe = Recipe(
        epochs=chosen.epochs,
        batch_size=2,
        lr=5e-3,
        warmup_epochs=1,
        ema=0.995,
        seed=chosen.seed,
    )
    settings = Settings(out=chosen.output, resume=chosen.resume)
    print(fit(model, Segment.build(train, options), train, val, recipe, settings, SIZE))


if __name__ == "__main__":
    main()
