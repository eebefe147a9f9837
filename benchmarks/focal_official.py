"""Time our Focal Transformers beside the official code, interleaved, with the same weights.

    git clone https://github.com/microsoft/Focal-Transformer
    python -m benchmarks.focal_official Focal-Transformer --out benchmarks/focal_official.json

A case whose outputs disagree is not timed. The exact halo has no official counterpart: it runs with
weights of its own, and stands beside the rolled one.
"""

import argparse
import importlib
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import vitrail
from tests.parity.data.write_focal import ties_by_place
from vitrail.analysis import measured_peak
from vitrail.training.files import write_whole

SIZE = 224
TOLERANCE = 1e-3  # of logits, float32
COMMON: dict[str, Any] = {
    "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7,
    "focal_levels": [2, 2, 2, 2], "focal_windows": [7, 5, 3, 1], "expand_sizes": [3, 3, 3, 3],
    "num_classes": 1000,
}  # fmt: skip


def official(checkout: Path, module: str, **options: Any) -> nn.Module:
    """Return an official model with random weights."""
    sys.path.insert(0, str(checkout / "classification"))
    # The second version imports a name that timm no longer has, and does not use it.
    importlib.import_module("timm.data.transforms")._pil_interp = None
    kind = importlib.import_module(module).FocalTransformer
    with ties_by_place():  # else which of two equally near tokens it sees is left open
        return kind(img_size=SIZE, **COMMON, **options)


def timed(model: nn.Module, x: torch.Tensor) -> float:
    """Return the seconds of one forward pass."""
    start = time.perf_counter()
    model(x)
    return time.perf_counter() - start


def interleaved(models: dict[str, nn.Module], x: torch.Tensor, runs: int) -> dict[str, list[float]]:
    """Return seconds of ``runs`` forward passes of each model, taken in turns."""
    with torch.inference_mode():
        for model in models.values():
            timed(model, x)
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(runs):
            for name, model in models.items():
                seconds[name].append(timed(model, x))
    return seconds


def case(
    theirs: nn.Module, ours: dict[str, nn.Module], check: str, batch: int, runs: int
) -> dict[str, Any]:
    """Check that ``ours[check]`` answers as the official model does, then time all."""
    x = torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    models = {"official": theirs, **ours}
    for model in models.values():
        model.eval()
    with torch.no_grad():
        difference = float((theirs(x) - ours[check](x)).abs().max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"outputs differ by {difference:.1e}: nothing is timed")
    seconds = interleaved(models, x, runs)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    weights = {n: sum(p.nbytes for p in m.state_dict().values()) for n, m in models.items()}
    return {
        "batch": batch,
        "difference": difference,
        "seconds": medians,
        "least_and_most": {name: (min(v), max(v)) for name, v in seconds.items()},
        "times_faster": {name: medians["official"] / medians[name] for name in ours},
        "peak_bytes": {
            name: measured_peak(model, x, training=False) - weights[name] - x.nbytes
            for name, model in models.items()
        },
    }


def build(checkout: Path) -> list[tuple[str, nn.Module, dict[str, nn.Module], str]]:
    """Return each case: its name, the official model, ours, and which must answer alike."""
    torch.manual_seed(0)
    first = official(checkout, "focal_transformer")
    fast = official(checkout, "focal_transformer_v2", use_conv_embed=True, focal_topK=128)
    rolled = vitrail.create_model("focal_tiny", weights=first.state_dict())
    second = vitrail.create_model("focal_fast_tiny", weights=fast.state_dict())
    return [
        ("focal_tiny", first, {"rolled": rolled, "exact": vitrail.create_model("focal_tiny")},
         "rolled"),
        ("focal_fast_tiny", fast, {"fast": second}, "fast"),
    ]  # fmt: skip


def commit_of(folder: Path) -> str:
    """Return the commit that a checkout stands at."""
    words = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def processor() -> str:
    """Return the processor's name where the system tells, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def main() -> None:
    """Run every case, print the ratios, and write everything to a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--out", type=Path, default=Path("focal_official.json"))
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": {"processor": processor(), "threads": torch.get_num_threads()},
        "torch": torch.__version__,
        "official": commit_of(options.checkout),
        "vitrail": commit_of(Path(__file__).parent),
        "size": SIZE,
        "dtype": "float32",
        "runs": options.runs,
        "cases": {},
    }
    for name, theirs, ours, check in build(options.checkout):
        rows = [case(theirs, ours, check, batch, options.runs) for batch in options.batch]
        report["cases"][name] = rows
        for row in rows:
            faster = ", ".join(f"{k} {v:.2f} times" for k, v in row["times_faster"].items())
            print(f"{name}, batch {row['batch']}: faster by {faster}", flush=True)
    told = json.dumps(report, indent=1) + "\n"
    write: Callable[[Path], Any] = lambda path: path.write_text(told, encoding="utf-8")  # noqa: E731
    write_whole(options.out, write)


if __name__ == "__main__":
    main()
