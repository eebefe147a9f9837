"""Ship a trained model with the package: halve its numbers, and measure what is shipped.

Usage: python scripts/bundle_weights.py runs/nano/last.safetensors ../shared/data/cifar10/test.zip
Prints the accuracies that belong into the model card beside the weights.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch

from vitrail import load
from vitrail.weights import save

HOME = Path(__file__).parent.parent / "src" / "vitrail" / "weights" / "bundled"
TARGET = HOME / "swin_nano_cifar10.safetensors"


def main(trained: Path, test: Path) -> None:
    """Write the file that `weights="bundled"` loads, then evaluate it at three sizes."""
    save(load(trained), TARGET, dtype=torch.float16)
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1e6:.2f} MB")
    for size in (32, 64, 128):
        words = ["evaluate", str(test), "--weights", str(TARGET), "--size", str(size), "--json"]
        ran = subprocess.run(
            [sys.executable, "-m", "vitrail", *words], capture_output=True, text=True, check=True
        )
        scores = json.loads(ran.stdout)
        print(f"{size} px: top-1 {scores['top1']:.2%}, top-5 {scores['top5']:.2%}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
