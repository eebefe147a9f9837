"""Write down what the official Focal Transformer answers; see README.md beside this file.

python -m tests.parity.data.write_focal PATH_TO_ITS_CHECKOUT COMMIT
"""

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.parity.named_weights import uniform, weight

HERE = Path(__file__).parent
EVERY = 7  # of the tokens of each stage, every seventh is kept

_COMMON: dict[str, Any] = {"embed_dim": 8, "num_heads": [2, 4, 8], "num_classes": 5}
_V1: dict[str, Any] = {**_COMMON, "depths": [2, 1, 1], "window_size": 4}
_LEVELS: dict[str, Any] = {"focal_levels": [2, 2, 2], "focal_windows": [3, 5, 1],
                           "expand_sizes": [2, 1, 2]}  # fmt: skip
_FAST: dict[str, Any] = {**_V1, **_LEVELS, "use_conv_embed": True}
CASES: dict[str, tuple[str, dict[str, Any], list[tuple[int, int]]]] = {
    "plain": ("v1", {**_V1, **_LEVELS}, [(64, 64), (72, 88)]),
    "three_levels": (
        "v1",
        {**_V1, **_LEVELS, "window_size": 5, "focal_levels": [3, 3, 2]},
        [(80, 80), (72, 120)],
    ),
    "window_7": (
        "v1",
        {**_COMMON, "depths": [1, 1, 1], "window_size": 7, "focal_levels": [2, 2, 2],
         "focal_windows": [7, 5, 3], "expand_sizes": [3, 3, 3]},
        [(112, 112), (96, 160)],
    ),
    "conv": ("v1", {**_V1, **_LEVELS, "use_conv_embed": True}, [(64, 64), (80, 96)]),
    "fast": ("v2", {**_FAST, "focal_topK": 20}, [(64, 64), (64, 128)]),
    "fast_many": ("v2", {**_FAST, "focal_topK": 300}, [(64, 64), (64, 128)]),
}  # fmt: skip


@contextmanager
def ties_by_place() -> Iterator[None]:
    """Let ``torch.topk`` settle ties by place, which it leaves open otherwise."""
    right = torch.topk

    def topk(x: torch.Tensor, count: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, indices = x.sort(dim=dim, descending=True, stable=True)
        return values.narrow(dim, 0, count), indices.narrow(dim, 0, count).contiguous()

    torch.topk = topk
    try:
        yield
    finally:
        torch.topk = right


def answers(module: Any, options: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return the logits, some tokens of each stage, and the names of the parameters."""
    with ties_by_place():
        model = module.FocalTransformer(img_size=size, **options).double().eval()
    found: list[np.ndarray] = []
    for layer in model.layers:
        layer.blocks[-1].register_forward_hook(
            lambda _, __, out: found.append(out.flatten(0, 1)[::EVERY].numpy())
        )
    shapes = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shapes[name] = list(parameter.shape)
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape))))
        x = uniform("input", (2, 3, *size))
        logits = model(torch.from_numpy(x)).numpy()
    about = {"options": options, "size": size, "parameters": shapes}
    return {"logits": logits, "about": about, "stages": found, "input_sum": np.abs(x).sum()}


def main(checkout: str, commit: str) -> None:
    """Run every case, and write one file for each."""
    sys.path.insert(0, str(Path(checkout) / "classification"))
    # The second version imports a name that timm no longer has, and does not use it.
    transforms = importlib.import_module("timm.data.transforms")
    transforms._pil_interp = None  # type: ignore[attr-defined]
    modules = {"v1": importlib.import_module("focal_transformer"),
               "v2": importlib.import_module("focal_transformer_v2")}  # fmt: skip
    for name, (version, options, sizes) in CASES.items():
        arrays: dict[str, Any] = {}
        about = {"version": version, "commit": commit, "torch": torch.__version__, "runs": []}
        for i, size in enumerate(sizes):
            facts = answers(modules[version], options, size)
            about["runs"].append(facts["about"])
            arrays[f"logits_{i}"] = facts["logits"]
            arrays[f"input_sum_{i}"] = facts["input_sum"]
            for stage, tokens in enumerate(facts["stages"]):
                arrays[f"stage_{i}_{stage}"] = tokens
        arrays["about"] = np.array(json.dumps(about))
        np.savez_compressed(HERE / f"focal_{name}.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
