"""Run a live peer and its conversion side by side: classes and settings alone do not determine it.

A subclass may compute something else under the same names, a hook may change an output, and a
setting may be new. What is run is a copy of the peer: a model of transformers changes with its
inputs. Once it has its own weights, and once random ones, as fresh weights hide much (tables and
norms of zero). What a conversion does otherwise on purpose is taken out of both for a second look.
"""

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models import Backbone, TaskModel
from vitrail.shapes import Size
from vitrail.weights.families import Peer
from vitrail.weights.families.live import reset_output

Ours = Backbone | TaskModel
Convert = Callable[[nn.Module], tuple[Ours, Peer]]
PACKAGES = ("timm", "torchvision", "transformers", "segmentation_models_pytorch", "monai")
# Of more parameters than this, two copies of 8 bytes each are too much, and too slow.
_LARGE = 100_000_000
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}


def compare(model: nn.Module, ours: Ours, peer: Peer, convert: Convert) -> None:
    """Refuse a conversion that does not compute what the peer does.

    Args:
        model: the peer; a copy of it is run, and it stays as it is.
        ours: its conversion.
        peer: what was read of it.
        convert: makes the conversion of a peer with other weights.
    Raises:
        UsageError: the outputs differ.
    """
    try:
        copied = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        warnings.warn(
            f"the {type(model).__name__} cannot be copied, and was not compared with its "
            f"conversion ({str(error).splitlines()[0]})",
            stacklevel=4,
        )
        return
    copied = copied.to(_precision(model)).eval()
    native = peer.preprocessing.get("size")
    if native is None and ours.config.axes == 2:
        native = ours.preprocessing.size
    size = native or peer.other_size
    assert size is not None
    with torch.no_grad():
        wide = copy.deepcopy(ours).to(_precision(model)).eval()
        _compare_at(size, copied, wide, peer)
        _draw(copied)
        drawn, peer = convert(copied)
        _compare_at(peer.other_size or size, copied, drawn, peer)


def _compare_at(size: Size, copied: nn.Module, ours: Ours, peer: Peer) -> None:
    """Compare a copy of a peer with its conversion on an input of that size."""
    parameter = next(copied.parameters())
    generator = torch.Generator().manual_seed(0)
    shape = (1, ours.config.in_channels, *size)
    x = torch.randn(shape, generator=generator).to(parameter.device, parameter.dtype)
    try:
        theirs = _run(copied, x, peer)
    except Exception as error:
        raise _failure(copied, size, error) from error
    tolerance = _TOLERANCES[parameter.dtype]
    worst = _difference(_listed(peer.run(ours, x)), theirs)
    if worst > tolerance and peer.departure is not None:
        both = copy.deepcopy(copied)
        peer.departure.remove(both)
        config = replace(ours.config, **peer.departure.fields)
        assert isinstance(ours, Backbone)  # no peer with a head departs
        plain = type(ours)(config).to(parameter.device, parameter.dtype).eval()
        plain.load_state_dict(ours.state_dict())
        worst = _difference(_listed(plain(x)), _run(both, x, peer))
    if worst > tolerance:
        raise _refusal(copied, size, worst)


def _run(copied: nn.Module, x: Tensor, peer: Peer) -> list[Tensor]:
    peer.reset(copied)
    return [_tokens(out) for out in peer.answers(copied(x))]


def difference_on(x: Tensor, model: nn.Module, ours: Ours, peer: Peer) -> tuple[float, float]:
    """Return how far a peer and its conversion differ on an input, and the peer's largest value.

    Args:
        x: the input.
        model: the peer as it is now; a copy of it is run, in evaluation mode.
        ours: its conversion, in evaluation mode.
        peer: what was read of it.
    """
    copied = copy.deepcopy(model).eval()
    reset_output(copied)
    with torch.no_grad():
        theirs, mine = [_tokens(out) for out in peer.answers(copied(x))], _listed(peer.run(ours, x))
    pairs = zip(mine, theirs, strict=True)
    return (
        max(float((a - b).abs().max()) for a, b in pairs),
        max(float(b.abs().max()) for b in theirs),
    )


def _precision(model: nn.Module) -> torch.dtype:
    """Return the type to compare in: the wider, the smaller a difference that is seen."""
    parameters = list(model.parameters())
    if parameters[0].dtype == torch.float64:
        return torch.float64
    large = sum(p.numel() for p in parameters) > _LARGE
    narrow = large or parameters[0].device.type == "mps"  # which has no float64
    return torch.float32 if narrow else torch.float64


def _listed(out: Any) -> list[Tensor]:
    return [_tokens(one) for one in ([out] if isinstance(out, Tensor) else out)]


def _tokens(x: Tensor) -> Tensor:
    """Return tokens as a list: peers and ours differ in which of them show a grid."""
    return x.flatten(1, -2) if x.ndim > 2 else x


def _difference(mine: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest difference over the largest value; infinity for other shapes."""
    if [x.shape for x in mine] != [x.shape for x in theirs]:
        return math.inf
    worst = 0.0
    for a, b in zip(mine, theirs, strict=True):
        # Weights that are no numbers give none on both sides.
        both = ~(a.isnan() & b.isnan())
        if not bool(both.any()):
            continue
        error = (a - b)[both].abs().max() / b[both].abs().max().clamp(min=1e-30)
        worst = max(worst, float(error.nan_to_num(math.inf)))
    return worst


def _draw(model: nn.Module) -> None:
    """Fill every parameter with random numbers at which it matters, and nothing overflows."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "logit_scale" in name:
            noise = math.log(10) + 0.2 * noise
        elif parameter.ndim < 2:
            noise = 1 + 0.1 * noise if name.endswith("weight") else 0.3 * noise
        elif "bias_table" in name or parameter.shape[0] == 1:  # biases by place, tokens, positions
            noise = 0.5 * noise
        else:
            noise = noise / math.sqrt(parameter[0].numel())
        parameter.copy_(noise)


def _kind(model: nn.Module) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _failure(model: nn.Module, size: Size, error: Exception) -> UsageError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UsageError(
        f"a {_kind(model)} that fails on an input of {size} samples: {said}",
        "a module that takes one input of its own size",
        "mend it, or take it over as it is with from_model(model, check=False)",
    )


def _refusal(model: nn.Module, size: Size, worst: float) -> UsageError:
    shown = "of other shapes" if worst == math.inf else f"that differ by {worst:.1g} of the largest"
    package = next(
        c.__module__.partition(".")[0]
        for c in type(model).__mro__
        if c.__module__.partition(".")[0] in PACKAGES
    )
    foreign = {
        f"{name or 'the model'} is a {_kind(module)}"
        for name, module in model.named_modules()
        if type(module).__module__.partition(".")[0] not in (package, "torch", "timm")
    }
    some = sorted(foreign)[:3]
    parts = f" ({'; '.join(some)}{', ...' if len(foreign) > 3 else ''})" if foreign else ""
    return UsageError(
        f"a {_kind(model)} and its conversion with outputs {shown} at {size} samples{parts}",
        f"a module that computes what its class of {package} does",
        "use the peer itself, or take it over as it is with from_model(model, check=False)",
    )
