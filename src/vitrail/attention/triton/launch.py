"""How a call is cut into tiles and programs, and how a kernel is started on it."""

import functools
import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

# What an interpreter on a CPU is taken for: few enough that a program has several items to do.
_INTERPRETED_PROCESSORS = 1


class Tiles(NamedTuple):
    """How a call is cut.

    Args:
        block_q: queries of a tile of scores.
        block_k: keys of a tile.
        query_tiles: how many tiles hold all queries of a group.
        key_tiles: how many tiles hold all its keys.
        channels: of a head, rounded up.
        warps: that share a tile.
    """

    block_q: int
    block_k: int
    query_tiles: int
    key_tiles: int
    channels: int
    warps: int

    @classmethod
    def of(cls, queries: int, keys: int, head_dim: int, itemsize: int) -> "Tiles":
        """Cut so that a window of 7 x 7 or 8 x 8 is one tile, of 64 x 64 scores.

        Then one backward pass gives the gradients of queries and keys alike. Tensor cores need 16
        rows at least; long rows (of 512 bytes) are taken by 32, to fit into shared memory.
        """
        channels = _power(head_dim)
        most = 64 if channels * itemsize <= 256 else 32
        block_q, block_k = (min(most, _power(n)) for n in (queries, keys))
        # 32 scores of a tile a thread; fewer where a row's channels fill the registers.
        warps = max(1, block_q * block_k // 1024)
        if channels > 64:
            warps = max(4, 2 * warps)
        return cls(block_q, block_k, -(-queries // block_q), -(-keys // block_k), channels, warps)

    @property
    def scores(self) -> tuple[int, int]:
        """Return how many queries and keys the tiles hold together."""
        return self.query_tiles * self.block_q, self.key_tiles * self.block_k


def _power(n: int) -> int:
    return max(16, 1 << (n - 1).bit_length())


def programs(
    x: Tensor, items: int, lines: int, *, per_processor: int, groups: int | None = None
) -> int:
    """Return how many programs share the items of each head and block.

    Enough to fill the GPU several times over, so that the last ones do not leave it idle, yet
    each with several items, so that what they share (the bias, its gradient) is moved seldom.

    Args:
        x: a tensor on the device.
        items: groups of all images.
        lines: heads times blocks; each goes through all items.
        per_processor: programs for each of the device's processors.
        groups: how many there are, if each has a bias of its own: a program keeps to one.
    """
    processors = _INTERPRETED_PROCESSORS
    if x.is_cuda:
        processors = torch.cuda.get_device_properties(x.device).multi_processor_count
    wanted = max(1, processors * per_processor // lines)
    if groups is None:
        return min(items, wanted)
    return groups * min(items // groups, max(1, wanted // groups))


def precision(x: Tensor) -> str:
    """Return how products of float32 are taken on ``x``'s device.

    Three products of tensor cores keep float32's precision, one does not: only who allowed torch
    to use TF32 gets it here.
    """
    if not x.is_cuda:
        return "wide"
    if x.dtype != torch.float32:
        return "ieee"
    if torch.cuda.get_device_capability(x.device) < (8, 0):
        return "ieee"
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "tf32x3"


def launch(kernel: Any, x: Tensor, count: int, warps: int, arguments: dict[str, Any]) -> None:
    """Start ``count`` programs of a kernel on ``x``'s device.

    The GPU's first call of a kind tries out how many warps and how much prefetching serve it
    best; in deterministic mode the choice is fixed, as it decides in which order numbers add up.
    """
    with _on(x):
        if _may_try(x):
            with _TRYING:
                _tuned(kernel, warps, _generation(x))[(count,)](**arguments)
        else:
            kernel[(count,)](**arguments, num_warps=warps, num_stages=1)


def _may_try(x: Tensor) -> bool:
    return x.is_cuda and not torch.are_deterministic_algorithms_enabled()


def _on(x: Tensor) -> torch.cuda.device:
    # -1: no device; a context that does nothing.
    return torch.cuda.device(x.device if x.is_cuda else -1)


# What tries settings keeps the call that it is at: one thread at a time.
_TRYING = threading.Lock()


def _generation(x: Tensor) -> tuple[int, int] | None:
    return torch.cuda.get_device_capability(x.device) if x.is_cuda else None


@functools.cache
def _tuned(kernel: Any, warps: int, generation: tuple[int, int] | None) -> Any:
    """Return a kernel that is timed at a few settings when a kind of call is met first.

    Each generation of GPUs has its own: what serves one best may not fit into another.
    """
    import triton

    # A cap on registers lets a processor hold more programs, which hide each other's waiting.
    settings = [(warps, 1, None), (warps, 2, None), (2 * warps, 2, None)]
    if warps >= 4:
        settings += [(warps, 2, 128), (warps, 1, 168)]
    return triton.autotune(
        configs=[
            triton.Config({}, num_warps=count, num_stages=stages, maxnreg=registers)
            for count, stages, registers in settings
        ],
        key=["heads", "queries", "keys", "HEAD_DIM", "PRECISION", "HIDE"],
        pre_hook=_cleared,
        do_bench=lambda run, quantiles: [_seconds(run)] * len(quantiles),
    )(kernel)


def _seconds(run: Callable[[], Any], calls: int = 5) -> float:
    """Return the shortest of a few calls on the GPU.

    Triton's own timing takes 256 MB to empty the cache with, at a training's peak of memory.
    """
    run()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(calls + 1)]
    torch.cuda._sleep(10_000_000)  # so that all calls wait in line, and starting them costs nothing
    marks[0].record()
    for mark in marks[1:]:
        run()
        mark.record()
    marks[-1].synchronize()
    return min(a.elapsed_time(b) for a, b in itertools.pairwise(marks)) / 1e3


def _cleared(arguments: dict[str, Any], reset_only: bool = False) -> None:
    """Forget what a trial run added."""
    del reset_only
    for name in ("d_keys", "d_pooled", "d_bias"):
        if arguments.get(name) is not None:
            arguments[name].zero_()
