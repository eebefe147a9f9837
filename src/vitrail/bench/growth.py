"""How FLOPs, time and memory of a model grow with its input, measured in processes of their own.

A process a size: what one forward pass does to memory is not what the next one finds, and a pass
that takes too long or too much ends its process and nothing else.
"""

import hashlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vitrail.analysis import cost, measured_peak
from vitrail.files import whole_or_absent
from vitrail.models import CATALOG, Backbone, BackboneConfig
from vitrail.weights import load_backbone

End = Literal["time", "memory"]
_SETUP_SECONDS = 60  # to import torch and build the model, on a busy machine
_MOST_PASSES = 3  # of which the fastest counts
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure.

    Args:
        name: of the catalog, or a checkpoint.
        kind: its class.
        config: its configuration.
    """

    name: str
    kind: type[Backbone]
    config: BackboneConfig

    @property
    def stem(self) -> str:
        """What its files are called: checkpoints of one configuration cost the same."""
        if self.name in CATALOG:
            return self.name
        digest = hashlib.sha256(f"{self.kind.__name__} {self.config}".encode()).hexdigest()
        return f"checkpoint-{digest[:12]}"


def subject(model: str) -> Subject:
    """Return what a name of the catalog, or a checkpoint, stands for.

    Raises:
        UsageError: a checkpoint that cannot be read.
    """
    if model in CATALOG:
        entry = CATALOG[model]
        return Subject(model, entry.model, entry.config)
    found = load_backbone(model)
    return Subject(model, type(found), found.config)


@dataclass(frozen=True, slots=True)
class Growth:
    """What one model costs at one size.

    Args:
        model: its name, or the checkpoint.
        size: input samples along each axis.
        samples: of the input, over all axes.
        flops: of a forward pass, closed form; a multiply-add is two.
        attention_flops: the two products of attention alone.
        pairs: permitted (query, key) pairs of all blocks.
        threads: of torch.
        seconds: the fastest of at most three forward passes, batch of one, float32; None where
            it did not end.
        peak_bytes: most bytes alive in a forward pass, without weights and input.
        ended: what ended the pass, if anything did.
    """

    model: str
    size: int
    samples: int
    flops: int
    attention_flops: int
    pairs: int
    threads: int
    seconds: float | None = None
    peak_bytes: int | None = None
    ended: End | None = None


def path_of(model: Subject, size: int, folder: Path) -> Path:
    """Return the file in which a measurement is kept."""
    return folder / f"{model.stem}-{size}.json"


def measure(
    model: Subject, size: int, folder: Path, *, limit: float = 60.0, memory: int | None = None
) -> Growth:
    """Measure one model at one size, or read what was measured before.

    Args:
        model: the model.
        size: input samples along each axis.
        folder: where results are kept, one JSON file for each model and size.
        limit: seconds that a forward pass may take.
        memory: bytes that a forward pass may take; default what the machine gives.
    """
    path = path_of(model, size, folder)
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Growth(**kept | {"model": model.name})
    facts = _facts(model, size)
    if memory is not None and facts.pop("estimate") > memory:
        result = Growth(**facts, ended="memory")
    else:
        facts.pop("estimate", None)
        result = Growth(**facts, **_run(model.name, size, limit))
    folder.mkdir(parents=True, exist_ok=True)
    with whole_or_absent(path) as part:
        part.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    return result


def _facts(model: Subject, size: int) -> dict[str, Any]:
    with torch.device("meta"):
        network = model.kind(model.config)
    whole = cost(network, size, training=False)
    return {
        "model": model.name,
        "size": size,
        "samples": math.prod(whole.size),
        "flops": whole.flops.total,
        "attention_flops": whole.flops.attention,
        "pairs": whole.pairs,
        "threads": torch.get_num_threads(),
        "estimate": whole.inference_peak,
    }


def _run(model: str, size: int, limit: float) -> dict[str, Any]:
    """Return seconds, bytes and end of a measurement in a process of its own."""
    command = [sys.executable, "-m", "vitrail.bench.growth", model, str(size), str(limit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            # The last pass is recorded, which costs more.
            out, err = p.communicate(timeout=_SETUP_SECONDS + 6 * limit)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            err = "time"
    seen: dict[str, Any] = {}
    for line in out.splitlines():
        seen.update(json.loads(line))
    if "peak_bytes" in seen or "ended" in seen:
        return seen
    if err == "time":
        return {**seen, "ended": "time"}
    if p.returncode < 0:  # killed from outside: by the system, for its memory
        return {**seen, "ended": "memory"}
    raise RuntimeError(f"measuring {model} at {size} failed:\n{err}")


def measure_here(name: str, size: int, limit: float) -> dict[str, Any]:
    """Measure in this process: print what is known after each pass, as JSON lines."""
    measured = subject(name)
    torch.manual_seed(0)
    network = measured.kind(measured.config).eval()  # what its weights are makes no difference
    image = torch.randn(1, measured.config.in_channels, *(size,) * measured.config.axes)
    seen: dict[str, Any] = {}
    try:
        with torch.no_grad():
            times = [_timed(network, image)]
            seen["seconds"] = times[0]
            if times[0] > limit:
                return {"ended": "time"}
            while len(times) < _MOST_PASSES and sum(times) < limit / 4:
                times.append(_timed(network, image))
        seen["seconds"] = min(times)
        print(json.dumps(seen), flush=True)  # survives a second pass that does not
        weights = sum(t.untyped_storage().nbytes() for t in network.state_dict().values())
        peak = measured_peak(network, image, training=False)
        seen["peak_bytes"] = peak - weights - image.untyped_storage().nbytes()
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not _out_of_memory(error):
            raise
        return {**seen, "ended": "memory"}
    return seen


def _out_of_memory(error: Exception) -> bool:
    return any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _timed(network: torch.nn.Module, image: torch.Tensor) -> float:
    start = time.perf_counter()
    network(image)
    return time.perf_counter() - start


def exponent(samples: Sequence[int | float], values: Sequence[int | float]) -> float | None:
    """Return the slope of a straight line through logarithms: 1 is linear, 2 quadratic.

    Args:
        samples: how large each input is.
        values: what it costs.
    Returns:
        The exponent by least squares, or None for fewer than two points.
    """
    if len(values) < 2:
        return None
    x = torch.tensor(samples, dtype=torch.float64).log()
    y = torch.tensor(values, dtype=torch.float64).log()
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))), flush=True)
