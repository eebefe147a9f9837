"""The machine, the software, and what the machine can do at best."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import vitrail
from vitrail.bench.timing import timed

PACKAGES = ("torch", "timm", "torchvision", "transformers", "openvino", "onnxruntime", "triton",
            "numpy")  # fmt: skip
_RUNS = 7


def processor() -> str:
    """Return the processor's name where the system has it, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def describe(device: str) -> dict[str, Any]:
    """Return what a result must be read with: machine, versions, commit, how busy it was."""
    facts: dict[str, Any] = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES if _version(name)},
        "commit": commit(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "time": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }
    if device == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def label(facts: dict[str, Any]) -> str:
    """Return a machine in a few words, the same for every case measured on it."""
    count = facts["threads"]
    return facts.get("gpu") or f"{facts['processor']}, {count} thread{'s' * (count != 1)}"


def commit() -> str | None:
    """Return the commit of the checkout that this code is in; ``+`` where the code was changed."""
    code, tool = Path(vitrail.__file__).parent, Path(__file__).parent
    try:
        head = _git(code, "rev-parse", "--short=8", "HEAD")
        # Results beside them do not count.
        changed = _git(code, "status", "--porcelain", "--", str(code), str(tool))
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + "+" * bool(changed)


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def limits(dtype: torch.dtype, device: str, *, quick: bool = False) -> dict[str, float]:
    """Measure what the machine gives at most: FLOPs in products and bytes in copies, a second.

    Args:
        dtype: of the products; copies are of bytes.
        device: where.
        quick: small tensors, which say little.
    Returns:
        ``flops`` and ``bytes``, each a second; bytes count once read and once written.
    """
    length = 256 if quick else (8192 if device == "cuda" else 2048)
    a, b = (torch.randn(length, length, device=device).to(dtype) for _ in range(2))
    # What is copied must not fit into a cache.
    source = torch.ones((1 << 22) if quick else (1 << 28), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode():
        product = fastest(lambda: torch.mm(a, b), device)
        copy = fastest(lambda: target.copy_(source), device)
    return {"flops": 2 * length**3 / product, "bytes": 2 * source.numel() / copy}


def fastest(call: Callable[[], Any], device: str) -> float:
    """Return the seconds of the fastest of a few calls, after one that does not count."""
    call()
    return min(timed(call, device) for _ in range(_RUNS))
