"""How long one model takes on this machine: as it is, compiled, and optimised."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitrail.bench.timing import Effort, interleave, quartiles
from vitrail.errors import UsageError
from vitrail.models import Backbone
from vitrail.optimization import optimize
from vitrail.shapes import Size

SETTINGS = {"eager": "eager", "compiled": "compiled", "optimised": "fused"}  # to optimize's paths


@dataclass(frozen=True, slots=True)
class Timing:
    """One setting at one size and batch.

    Args:
        size: lengths of an input, in samples.
        batch: inputs in one call.
        setting: one of ``SETTINGS``.
        seconds: of a call, the median; None if the setting cannot be used here.
        quartiles: of those seconds.
        rounds: calls that were timed, or groups of short ones.
        speedup: median of the rounds' ratios to the first setting; None for that one.
        prepared: seconds until the first answer, compilers included.
        obstacle: why the setting cannot be used.
    """

    size: Size
    batch: int
    setting: str
    seconds: float | None = None
    quartiles: tuple[float, float] | None = None
    rounds: int = 0
    speedup: float | None = None
    prepared: float | None = None
    obstacle: str | None = None


def measure(
    model: Backbone,
    sizes: Iterable[Size],
    batches: Iterable[int],
    *,
    dtype: torch.dtype = torch.float32,
    settings: Iterable[str] = tuple(SETTINGS),
    seconds: float = 10.0,
) -> Iterator[Timing]:
    """Time a model's settings in turns, size by size and batch by batch.

    What is timed was found equal to the model by ``vitrail.optimize``.

    Args:
        model: on the device to measure; it is not changed.
        sizes: lengths of the input, in samples.
        batches: inputs in one call.
        dtype: of weights and inputs.
        settings: of ``SETTINGS``.
        seconds: to time each size and batch for, about.
    Returns:
        A timing for each setting of each size and batch, as they are measured.
    """
    device = next(model.parameters()).device
    batches, settings = list(batches), list(settings)
    for size in sizes:
        example = torch.randn(1, model.config.in_channels, *size, device=device)
        made = [(setting, *_prepared(model, example, dtype, setting)) for setting in settings]
        for batch in batches:
            x = example.to(dtype).expand(batch, *example.shape[1:]).contiguous()
            yield from _timed(size, x, made, seconds)


def _prepared(
    model: Backbone, example: Tensor, dtype: torch.dtype, setting: str
) -> tuple[nn.Module | None, float, str | None]:
    """Return what runs in a setting, the seconds it took to make, and else why there is none."""
    start = time.perf_counter()
    try:
        made = optimize(model, example, dtype=dtype, path=SETTINGS[setting])
    except UsageError as error:
        return None, 0.0, error.given
    return made, time.perf_counter() - start, None


def _timed(
    size: Size, x: Tensor, made: list[tuple[str, nn.Module | None, float, str | None]], most: float
) -> Iterator[Timing]:
    calls = {setting: _call(module, x) for setting, module, _, _ in made if module is not None}
    each = {setting: setting for setting in calls}  # none leaves for another's sake
    with torch.inference_mode():
        found = interleave(calls, each, x.device.type, Effort(least=5, seconds=most))
    first = next(iter(found.values()), [])
    for setting, module, prepared, obstacle in made:
        if module is None:
            yield Timing(size, len(x), setting, obstacle=obstacle)
            continue
        low, middle, high = quartiles(found[setting])
        ratios = [a / b for a, b in zip(first, found[setting], strict=True)]
        speedup = None if found[setting] is first else quartiles(ratios)[1]
        yield Timing(size, len(x), setting, middle, (low, high), len(ratios), speedup, prepared)


def _call(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: module(x)
