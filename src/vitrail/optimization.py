"""The fast way to infer or to train on the machine at hand, found equal before it is returned."""

import copy
import logging
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from vitrail import fused
from vitrail.attention.cpp import build
from vitrail.errors import UsageError
from vitrail.heads import Detector
from vitrail.models import Backbone, Optimization, TaskModel, backbones_in, check_original
from vitrail.weights.peers import convertible

_log = logging.getLogger("vitrail.optimize")
# Of the largest output.
TOLERANCE = 1e-4
# A narrow type may double the error that it has by itself beside float32, and be off by one
# rounding more.
NARROW = {torch.bfloat16: 2**-8, torch.float16: 2**-11}
Served = TypeVar("Served")


def optimize(
    model: nn.Module,
    example: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    path: str | None = None,
    training: bool = False,
) -> nn.Module:
    """Return a copy of a model for inference, made fast for this machine and checked against it.

    On a CPU with a C++ compiler, the blocks of every Vitrail backbone in the module are computed by
    kernels that are built once for the processor: attention in place, norms and sums within the
    linear layers, a perceptron's hidden channels never out of the cache; a
    head's convolutions take in the batch norms behind them, what else surrounds the backbones
    stays as it is. Otherwise ``torch.compile`` with frozen weights serves, which needs a
    C++ compiler too on a CPU; and where neither works, the model as it is. If a path fails, a
    warning is issued and the next is tried; with an explicit ``path=``, the failure raises.

    The copy has a model's methods and the attribute ``optimization``, whose ``explain()`` says
    what was done. It takes no gradients; change, move or save the model that it was made from.

    For training the copy shares the parameters of the model, as ``torch.compile``'s does: pass it
    the batches, and everything else (optimiser, weights to save, evaluation) the model.

    Args:
        model: any module; it is not changed. A model of timm, torchvision or transformers that
            ``from_model`` takes is converted first, or needs a ``path``.
        example: an input, on the model's device; default random numbers of the weights'
            size, for a backbone, a model of a task, or an ``nn.Sequential`` that begins with one.
        dtype: of weights and inputs; default the model's own. A detector's head stays as it is.
            bfloat16 is twice as fast as
            float32 where the processor has instructions for it.
        path: ``"fused"``, ``"compiled"`` or ``"eager"``; default the first of them that can serve.
        training: for training steps instead, in the mode of the model. Weights keep their type, so
            ``dtype`` is not taken: autocast says what is computed in bfloat16.
    Returns:
        A module that takes inputs of any size that the model takes.
    Raises:
        UsageError: an unknown path or one that cannot serve, another module without an example,
            one that ``from_model`` takes without a path, an example of integers, a type
            for training, or results that differ from the model's.
    """
    check_original(model)
    if path is None and convertible(model):
        raise UsageError(
            f"a {type(model).__name__} of {type(model).__module__.partition('.')[0]}",
            "a Vitrail model, or a module with some in it: kernels serve their blocks",
            "optimize(vitrail.from_model(model)), which has the same outputs; or path='compiled', "
            "which takes torch.compile half a minute",
        )
    example = _checked_example(model, example)
    with torch.autocast(example.device.type, enabled=False):  # outputs in the weights' own type
        if training:
            return _for_training(model, example, dtype, path)
        return _for_inference(model, example, dtype, path)


def _for_inference(
    model: nn.Module, example: Tensor, dtype: torch.dtype | None, path: str | None
) -> nn.Module:
    """Return a copy, of that type if one is given, whose outputs were compared."""
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    exact = copy.deepcopy(frozen).float() if example.dtype in NARROW else frozen
    with torch.no_grad():
        wanted = _flat(_compared(exact)(example.to(next(exact.parameters()))))
    del exact
    if dtype is not None:
        _compared(frozen).to(dtype)  # a detector's own layers keep their type
    kind = dtype or example.dtype
    x = example.to(kind)

    def served(name: str) -> tuple[nn.Module, Tensor]:
        made = frozen if name == "eager" else copy.deepcopy(frozen)
        _PATHS[name](made)
        return made, _flat(_compared(made)(x))

    with torch.no_grad():
        allowed = TOLERANCE
        if kind in NARROW:
            allowed = 2 * _difference(_flat(_compared(frozen)(x)), wanted) + NARROW[kind]
        (made, found), chosen, reasons = _first_to_serve(served, frozen, path)
    difference = _difference(found, wanted)
    return _checked(made, Optimization(chosen, kind, difference, allowed, reasons))


def _for_training(
    model: nn.Module, example: Tensor, dtype: torch.dtype | None, path: str | None
) -> nn.Module:
    """Return a copy with the same parameters, whose outputs and gradients were compared."""
    if dtype is not None:
        raise UsageError(
            f"dtype={dtype} for training",
            "weights in the type that they have",
            "leave it out, and call the result under torch.autocast",
        )
    calm = fused.with_same_parameters(model).eval()  # nothing is dropped
    exact, allowed = calm, TOLERANCE
    if example.dtype in NARROW:
        exact = copy.deepcopy(calm).float()
    wanted = _with_gradients(exact, example)
    if example.dtype in NARROW:
        eager = _furthest(_with_gradients(calm, example), wanted)
        allowed = 2 * eager + NARROW[example.dtype]

    def served(name: str) -> tuple[nn.Module, list[Tensor]]:
        made = fused.with_same_parameters(model)
        modes = [module.training for module in made.modules()]
        _TRAINING_PATHS[name](made.eval())
        found = _with_gradients(made, example)
        for module, mode in zip(made.modules(), modes, strict=True):
            module.training = mode
        return made, found

    (made, found), chosen, reasons = _first_to_serve(served, calm, path)
    difference = _furthest(found, wanted)
    return _checked(made, Optimization(chosen, example.dtype, difference, allowed, reasons))


def _with_gradients(model: nn.Module, example: Tensor) -> list[Tensor]:
    """Return a model's outputs, and the gradients of their squares' sum by what is trained."""
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        out = _flat(_compared(model)(example.to(next(model.parameters()))))
        if not trained:
            return [out.detach()]
        found = torch.autograd.grad(
            out.square().sum(), trained, allow_unused=True, materialize_grads=True
        )
    return [out.detach(), *(g.flatten().double().cpu() for g in found)]


def _furthest(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the largest difference of outputs, or of a gradient in units of its largest number.

    Gradients a thousand times smaller than the largest of all count in units of that thousandth.
    """
    least = 1e-3 * max((g.abs().max().item() for g in wanted[1:]), default=0.0)
    differences = [_difference(found[0], wanted[0])]
    for one, other in zip(found[1:], wanted[1:], strict=True):
        scale = max(least, other.abs().max().item())
        differences.append((one - other).abs().max().item() / scale if scale else 0.0)
    return torch.tensor(differences).max().item()  # no number if one of them is none


def _checked(made: nn.Module, found: Optimization) -> nn.Module:
    """Return the module with what was done to it, unless it differs from the model.

    Raises:
        UsageError: it does.
    """
    if not found.difference <= found.allowed:  # also where it is no number
        raise UsageError(
            f"path={found.path!r}, which differs from the model by {found.difference:.1e}",
            f"at most {found.allowed:.1e}",
            "use path='eager', and report it to Vitrail's authors",
        )
    for module in (made, *backbones_in(made)):
        module.optimization = found  # type: ignore[assignment]
    return made


def _fuse(model: nn.Module) -> None:
    for backbone in backbones_in(model):
        fused.fuse(backbone)
    for module in model.modules():
        if isinstance(module, TaskModel):
            fused.fold_in_head(module.head)


def _fuse_training(model: nn.Module) -> None:
    for backbone in backbones_in(model):
        fused.train_fused(backbone)


def _compile_training(model: nn.Module) -> None:
    _announce_compiler(model)
    model.compile()  # in place, and of no concern to copies of it


def _announce_compiler(model: nn.Module) -> None:
    _log.warning("compiling a %s by torch.compile: often half a minute", type(model).__name__)


def _compile(model: nn.Module) -> None:
    """Compile the forward pass with its weights as constants, which holds without gradients."""
    _announce_compiler(model)
    options: dict[str, Any] = {"freezing": True} if _device(model).type == "cpu" else {}
    model.compile(options=options)
    # In the slot that it fills: the module keeps its ``forward``, and a copy of it its own weights.
    assert model._compiled_call_impl is not None
    model._compiled_call_impl = torch.no_grad()(model._compiled_call_impl)


def _leave(model: nn.Module) -> None:
    del model


_PATHS: dict[str, Callable[[nn.Module], None]] = {
    "fused": _fuse,
    "compiled": _compile,
    "eager": _leave,
}

_TRAINING_PATHS: dict[str, Callable[[nn.Module], None]] = {
    "fused": _fuse_training,
    "compiled": _compile_training,
    "eager": _leave,
}


def _first_to_serve(
    served: Callable[[str], Served], model: nn.Module, path: str | None
) -> tuple[Served, str, tuple[str, ...]]:
    """Return what the first path gives that works, its name, and a line about each.

    Args:
        served: makes a copy go a path, and returns what comes of it.
        model: that copies are made of.
        path: the only one to try, which may fail; default all.
    """
    if path is not None and path not in _PATHS:
        raise UsageError(
            f"path={path!r}", f"one of {', '.join(_PATHS)}", "leave it out to let it choose"
        )
    obstacles = {"fused": _why_not_fused(model), "compiled": _why_not_compiled(model)}
    if path is not None and obstacles.get(path) is not None:
        raise UsageError(
            f"path={path!r} for {type(model).__name__}: {obstacles[path]}",
            "Vitrail models on the CPU, and a C++ compiler; 'eager' always",
            "leave path out to let it choose",
        )
    taken, lines = None, []
    for name in _PATHS:
        obstacle = obstacles.get(name)
        if path is not None and name != path:
            obstacle = obstacle or f"path={path!r} was given"
        elif taken is not None:
            obstacle = obstacle or f"{taken[1]} was chosen"
        if obstacle is None:
            try:
                taken = served(name), name
            except Exception as error:
                if path is not None or not _of_a_compiler(error):
                    raise
                obstacle = error.given if isinstance(error, UsageError) else _in_short(error)
                warnings.warn(f"path {name!r} failed and is not used: {obstacle}", stacklevel=4)
        if obstacle is None:
            lines.append(f"{name}: chosen")
        else:
            lines.append(f"{name}: not used: {obstacle}")
    assert taken is not None  # the model as it is serves everywhere
    return *taken, tuple(lines)


def _of_a_compiler(error: Exception) -> bool:
    """Return whether a compiler, or the folder of what it built, does not work on this machine."""
    from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

    return isinstance(error, UsageError | TorchDynamoException)


def _in_short(error: Exception) -> str:
    return " ".join(str(error).splitlines()[:2]) or type(error).__name__


def _why_not_fused(model: nn.Module) -> str | None:
    """Return why the backbones in a module cannot be fused, or None if they can."""
    backbones = backbones_in(model)
    if not backbones:
        return "no Vitrail model in it, whose layers are known"
    if twice := _in_two_places(model, backbones):
        return f"{' and '.join(twice)} are one layer"
    for backbone in backbones:
        parameter = next(backbone.parameters())
        if reason := fused.why_not(parameter.dtype, parameter.device.type):
            return reason
    return None


def _in_two_places(model: nn.Module, backbones: list[Backbone]) -> tuple[str, str] | None:
    """Return the names of a layer with weights in a backbone that stands in two places, or None.

    What a kernel computes together, a layer with the norm before it, would differ between them.
    A whole backbone in two places is one object in both, before and after.
    """
    names: dict[nn.Module, str] = {}
    left: list[tuple[str, nn.Module]] = [("", model)]
    while left:
        name, module = left.pop()
        if module in names:
            inside = any(module in set(one.modules()) - {one} for one in backbones)
            if inside and any(True for _ in module.parameters()):
                return min(names[module], name), max(names[module], name)
        if module not in names or module not in backbones:
            prefix = name and f"{name}."
            left += [(prefix + key, child) for key, child in module._modules.items() if child]
        names[module] = name
    return None


def _why_not_compiled(model: nn.Module) -> str | None:
    """Return why torch.compile cannot serve, or None if it can."""
    if _detects(model):
        return "a detector, the number of whose boxes is none of its input's shape"
    if _device(model).type == "cpu" and build.compiler() is None:
        return "no C++ compiler, which torch.compile needs on a CPU"
    return None


def _checked_example(model: nn.Module, example: Tensor | None) -> Tensor:
    """Return the example in the model's type, or random numbers where there is none."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise UsageError(
            f"a {type(model).__name__} without weights", "a model with weights", "pass the model"
        )
    if example is not None:
        if not example.is_floating_point():
            raise UsageError(
                f"an example of {example.dtype}",
                "floating-point numbers, as a preprocessed image has",
                "prepare it: vitrail.transform(model), or example.float()",
            )
        return example.to(parameter)
    first = model
    while isinstance(first, nn.Sequential) and len(first):
        first = first[0]
    if isinstance(first, TaskModel):
        first = first.backbone
    if not isinstance(first, Backbone):
        raise UsageError(
            f"no example for {type(model).__name__}",
            "an input, where the model is no Vitrail backbone and no nn.Sequential that begins "
            "with one",
            "give one, e.g. example=torch.randn(1, 3, 224, 224)",
        )
    config = first.config
    size = first.preprocessing.size
    generator = torch.Generator().manual_seed(0)
    shape = 1, config.in_channels, *size
    return torch.randn(shape, generator=generator, device="cpu").to(parameter)


def _compared(model: nn.Module) -> nn.Module:
    """Return what is compared: of a detector its backbone, for a last bit may decide on a box."""
    return model.backbone if _detects(model) else model  # type: ignore[return-value]


def _detects(model: nn.Module) -> bool:
    return isinstance(model, TaskModel) and isinstance(model.head, Detector)


def _flat(outputs: object) -> Tensor:
    """Return all numbers of an output, tensors in any nesting, in one row."""
    tensors = [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]
    return torch.cat([x.flatten().double().cpu() for x in tensors])


def _difference(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    scale = wanted.abs().max().item() or 1.0
    return (found - wanted).abs().max().item() / scale


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
