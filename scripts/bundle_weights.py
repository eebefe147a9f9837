"""Ship trained weights with the package: halve their numbers, and write down what they are.

Usage: python scripts/bundle_weights.py NAME runs/NAME/best.safetensors \
           --data "what it learnt from" --figure "what it reaches" --licence SPDX
`weights="bundled:NAME"` then loads them. Their model card, NAME.md beside them, is written by hand:
measure what is shipped with `vitrail evaluate DATA --weights bundled:NAME`.
"""

import argparse
import json
from pathlib import Path

import torch

from vitrail import load
from vitrail.models import hub
from vitrail.weights.save import save_state
from vitrail.weights.shipped import CARD, HOME


def main() -> None:
    """Write src/vitrail/weights/bundled/NAME.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("trained", type=Path)
    for fact in ("data", "figure", "licence"):
        parser.add_argument(f"--{fact}", required=True)
    given = parser.parse_args()
    model = load(given.trained)
    state = model.state_dict()
    half = {k: t.to(torch.float16) if t.is_floating_point() else t for k, t in state.items()}
    card = {fact: getattr(given, fact) for fact in ("data", "figure", "licence")}
    target = HOME / f"{given.name}.safetensors"
    save_state(half, target, metadata={**hub.metadata(model), CARD: json.dumps(card)})
    print(f"{target.name}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
