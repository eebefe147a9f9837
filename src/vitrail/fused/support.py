"""Whether the kernels can serve here, and where their sources are."""

from pathlib import Path

import torch

from vitrail.attention.cpp import build
from vitrail.attention.cpp.kernel import KINDS


def why_not(dtype: torch.dtype = torch.float32, device: str = "cpu") -> str | None:
    """Return why the kernels cannot serve on this machine, or None if they can."""
    if device != "cpu":
        return f"{device}: the C++ kernel is for the CPU"
    if dtype not in KINDS:
        return f"{dtype}: the C++ kernel takes float32, bfloat16 and float16"
    return build.why_not()


def source(name: str) -> Path:
    """Return the C++ source of a kernel."""
    return Path(__file__).parent / "cpp" / f"{name}.cpp"
