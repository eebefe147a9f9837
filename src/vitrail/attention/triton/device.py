"""Whether Triton can start kernels on this machine's GPU."""

import functools

import torch

# Of NVIDIA's compute capability: bfloat16 on tensor cores.
_LEAST = (8, 0)


def why_not_here() -> str | None:
    """Return why the kernels cannot run on the current GPU, or None if they can.

    None without a GPU too.
    """
    gpu = _current()
    return None if gpu is None else _reason(gpu)


# What torch.compiler.assume_constant_result does, but that imports the compiler, for seconds.
why_not_here._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _current() -> int | None:
    return torch.cuda.current_device() if torch.cuda.is_available() else None


@functools.cache
def _reason(device: int) -> str | None:
    if torch.version.hip is not None:
        return "a GPU of ROCm: the kernels are for NVIDIA's"
    found = torch.cuda.get_device_capability(device)
    if found < _LEAST:
        return f"compute capability {found[0]}.{found[1]}: the kernels need 8.0"
    try:
        from triton.runtime import driver

        driver.active.get_current_target()  # builds its link to CUDA with a C compiler
    except Exception as error:  # an installation's trouble, of whatever kind
        reason = next(iter(str(error).splitlines()), "")
        return f"Triton does not start here: {type(error).__name__}: {reason}"
    return None
