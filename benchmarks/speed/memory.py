"""The most memory that one call takes on top of what is there before it."""

from collections.abc import Callable
from typing import Any

import torch

from vitrail.analysis.memory import highest


def peak(call: Callable[[], Any], device: str) -> int:
    """Return the most bytes that torch's allocator held during a call, less those held before.

    Weights and inputs are there before; in training, so are the optimiser's numbers, and the
    gradients are not.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        out = call()
    del out
    return highest(profile)
