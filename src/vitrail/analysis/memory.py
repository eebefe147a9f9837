"""How much memory a run needs: estimated on the meta device, or measured on the CPU."""

import weakref
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitrail.analysis.watch import part_of


class Live(TorchDispatchMode):
    """Follows the bytes that are alive while operations run, and the most there ever were.

    Scratch memory inside an operation is not seen; nor is what an allocator rounds up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.peak = 0
        self.part: int | str = "embed"
        self.peaks: dict[int | str, int] = {}
        self.left: dict[int | str, int] = {}  # what each part left alive behind it
        self._since = 0
        self._known: set[int] = set()

    def hold(self, tensor: Tensor) -> None:
        """Count the storage of ``tensor`` until it dies."""
        storage = tensor.untyped_storage()
        if id(storage) in self._known:
            return
        size = storage.nbytes()
        self._known.add(id(storage))
        weakref.finalize(storage, self._release, id(storage), size).atexit = False
        self.bytes += size
        self._rise()

    def enter(self, part: int | str) -> None:
        """Tell that ``part`` of the model runs from here on."""
        if part == self.part:
            return
        self.close()
        self.part = part
        self._rise()

    def close(self) -> None:
        """Book what the part at hand has left alive."""
        self.left[self.part] = self.left.get(self.part, 0) + self.bytes - self._since
        self._since = self.bytes

    def start(self) -> None:
        """Let what is alive now be the floor, not something that a part leaves behind."""
        self._since = self.bytes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.hold(leaf)
        return out

    def _rise(self) -> None:
        self.peak = max(self.peak, self.bytes)
        self.peaks[self.part] = max(self.peaks.get(self.part, 0), self.bytes)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size


class _Fused(TorchFunctionMode):
    """Runs scaled_dot_product_attention on the meta device as the CPU does: fused.

    On its own the meta device writes the scores out, which no machine does that has a kernel.
    Batch norms take inputs of any size.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        return _fused(*args, **kwargs)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise without torch's refusal to train on one value a channel: its bytes are counted."""
    training = training and x.numel() > x.shape[1]
    return torch.batch_norm(
        x, weight, bias, running_mean, running_var, training, momentum, eps, False
    )


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, dropout_p, is_causal, attn_mask=attn_mask, scale=options.get("scale")
    )[0]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run needed, in bytes; weights and the input are part of the peak."""

    peak: int
    floor: int
    peaks: dict[int | str, int]
    left: dict[int | str, int]


def estimate(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, *, training: bool
) -> Run:
    """Return what a run of ``model`` needs, without computing it.

    Args:
        model: on the meta device.
        shape: of the input: batch, channels, samples along each axis.
        dtype: of the input.
        training: forward and backward pass with gradients, in training mode; else one forward
            pass without, in evaluation mode.
    """
    model.train(training)
    live = Live()
    for tensor in (*model.parameters(), *model.buffers()):
        live.hold(tensor)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            part = part_of(name)
            if name and not name.endswith("stages"):
                hook = module.register_forward_pre_hook(_entering(live, part))
                stack.callback(hook.remove)
        stack.enter_context(live)
        stack.enter_context(_Fused())
        x = torch.empty(shape, dtype=dtype, device="meta")
        live.start()
        floor = live.bytes
        _step(model, x, training, live.close)
    for parameter in model.parameters():
        parameter.grad = None
    return Run(live.peak, floor, live.peaks, live.left)


def _entering(live: Live, part: int | str) -> Callable[..., None]:
    def enter(*_: Any) -> None:
        live.enter(part)

    return enter


def _step(
    model: nn.Module, x: Tensor, training: bool, between: Callable[[], None] = lambda: None
) -> None:
    """Run forward, and where it trains backward; the same work estimated and measured."""
    with nullcontext() if training else torch.no_grad():
        out = model(x)
    between()
    if training:
        total = sum(leaf.sum() for leaf in tree_leaves(out))
        assert isinstance(total, Tensor)
        total.backward()


def measured_peak(
    model: nn.Module, x: Float[Tensor, "batch channels *samples"], *, training: bool
) -> int:
    """Run a model on the CPU and return the most bytes that were alive: weights, input, the rest.

    Torch's profiler records every block of memory taken and given back, scratch inside operations
    included. In training, weights get their gradients; no optimiser is part of it.

    Args:
        model: on the CPU; its mode is as before afterwards, its gradients are empty.
        x: the input.
        training: forward and backward pass; else one forward pass without gradients.
    """
    before = model.training
    model.train(training)
    model.zero_grad(set_to_none=True)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        _step(model, x, training)
    model.zero_grad(set_to_none=True)
    model.train(before)
    floor = sum(t.untyped_storage().nbytes() for t in (*model.parameters(), *model.buffers(), x))
    return floor + highest(profile)


def highest(profile: Any) -> int:
    """Return the most bytes that torch held at once during a profile that followed its memory."""
    results = profile.profiler.kineto_results
    assert results is not None
    changes = [e for e in results.events() if e.name() == "[memory]"]
    level = highest = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        level += event.nbytes()
        highest = max(highest, level)
    return highest
