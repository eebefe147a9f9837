"""Take over a live model of another library, with the same outputs.

No peer is imported: a module is recognised by the name of its class. Its structure is read from
the shapes of its weights, its behaviour (windows, heads, what padding does) from its attributes.
"""

import warnings
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models import (
    CATALOG,
    Backbone,
    BackboneConfig,
    Preprocessing,
    TaskModel,
    unwrapped,
)
from vitrail.models.task_model import head_on
from vitrail.weights import rules
from vitrail.weights.detect import Detected, detect
from vitrail.weights.families import FAMILIES, Hints, Peer
from vitrail.weights.head_formats import OpenedHead, family_in, read_head
from vitrail.weights.infer import infer_config, name_of
from vitrail.weights.load import Weights, as_bare, load_opened
from vitrail.weights.peer_check import compare, difference_on


def from_model(model: nn.Module, *, check: bool = True) -> Any:
    """Return the Vitrail model with the outputs of a live model of another library.

    Args:
        model: the peer's module; it is not changed. Wrappers of torch (compiled, data parallel)
            are looked through.
        check: run a copy of the peer beside the conversion, at the peer's own size and at one that
            it pads, with its weights and with random ones; that takes two forward passes of each,
            on one input. Models on the meta device are not run.
    Returns:
        A new model on the same device, in the same mode and type; of several types, the widest. It
        is a ``TaskModel`` for a peer with the head of a task, otherwise a ``Backbone``.
        Its config says how it differs from a fresh one of ours; a Swin has ``padding="visible"``,
        ``mask_value=-100``, and the peer's ``shift_rule``, ``patch_fit`` and ``bias_lookup``.
    Raises:
        UsageError: a module of another kind, one with parts or settings that no model here has, or
            (``check``) one that computes something else than its class does.
    """
    model = unwrapped(model)
    _check_kind(model)
    on_meta = any(parameter.is_meta for parameter in model.parameters())
    # Building draws numbers, which are not used: weights come from the peer.
    with torch.random.fork_rng(_accelerators(model)):
        ours, peer = _converted(model)
        for note in peer.notes:
            warnings.warn(note, stacklevel=3)  # at the caller of vitrail.from_model
        if check and not on_meta:
            compare(model, ours, peer, _converted)
    trained = not on_meta and was_trained(model)
    ours._set_preprocessing(**{"trained": trained, **peer.preprocessing})
    return ours.train(model.training)


def _converted(model: nn.Module) -> tuple[Backbone | TaskModel, Peer]:
    """Return our model of a peer, and what was read of the peer."""
    peer = _read(model)
    state = model.state_dict() if peer.state is None else peer.state
    detected = detect(state, like=family_in(state))
    reading = rules.read(detected.state, detected.rules(peer.grids))
    # The reader knows their values, and on the meta device they have none.
    reading.buffers = {key: kept for key, kept in reading.buffers.items() if not kept.is_meta}
    head = None
    if peer.head is not None:
        head = read_head(state, detected, reading.state, known=peer.head)
    windows = None if peer.windows is None else tuple(peer.windows)
    hints = Hints(window=windows, num_heads=peer.num_heads)
    config = infer_config(reading, family=detected.family, hints=hints)
    config = replace(config, **dict(detected.format.fields) | peer.fields)
    parameters = list(model.parameters())
    widest = reduce(torch.promote_types, {parameter.dtype for parameter in parameters})
    if head is not None:
        detected, config = replace(detected, beside=head.left), as_bare(config)
    ours = _build(config, detected, peer).to(parameters[0].device, widest)
    load_opened(ours, Weights(detected, reading, config, head=head))
    whole = ours if head is None else _with_head(ours, head, peer)
    return whole.train(model.training), peer


def _with_head(backbone: Backbone, opened: OpenedHead, peer: Peer) -> TaskModel:
    """Return our model of a peer with a head."""
    task = replace(opened.task, options=opened.task.options | peer.options)
    return head_on(backbone, task, opened.head, opened.state)


def _accelerators(model: nn.Module) -> list[int]:
    """Return the numbers of the GPUs whose random states building and running may change."""
    devices = {parameter.device for parameter in model.parameters()}
    return sorted({d.index for d in devices if d.type == "cuda" and d.index is not None})


def convertible(model: nn.Module) -> bool:
    """Return whether ``from_model`` knows a module's class and reads its structure."""
    try:
        _read(unwrapped(model))
    except UsageError:
        return False
    return True


def peer_difference(model: nn.Module, ours: Backbone | TaskModel, x: Tensor) -> tuple[float, float]:
    """Return how far a live peer and its conversion differ on an input, and the largest value.

    Args:
        model: the peer as it is now; a copy of it is run, in evaluation mode.
        ours: its conversion, in evaluation mode.
        x: an input that both take.
    """
    model = unwrapped(model)
    return difference_on(x, model, ours, _read(model))


def _check_kind(model: Any) -> None:
    """Refuse what is no module, our own models, and weights that are not floating-point."""
    own = isinstance(model, Backbone | TaskModel)
    if own or not isinstance(model, nn.Module):
        raise UsageError(
            f"a Vitrail {type(model).__name__}" if own else f"{model!r}",
            "a module of timm, torchvision, transformers, or another library that is known here",
            "use it as it is" if own else "build the model; by name, use vitrail.create_model",
        )
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            raise UsageError(
                f"a {type(model).__name__} whose {name} is of {parameter.dtype}",
                "floating-point weights",
                "convert the model before it is quantised",
            )


def was_trained(model: nn.Module) -> bool:
    """Return whether a live model's weights have been trained: whether any norm has left its start.

    A model itself does not say: timm names the published weights also where it drew random ones.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    weights = [norm.weight for norm in norms if norm.weight is not None]
    return any(bool((weight != 1).any()) for weight in weights)


def _build(config: BackboneConfig, detected: Detected, peer: Peer) -> Backbone:
    name = name_of(config, under_head=peer.head is not None)
    preprocessing = CATALOG[name].preprocessing if name else None
    if preprocessing is None and "size" in peer.preprocessing:
        preprocessing = Preprocessing(size=peer.preprocessing["size"])
    return detected.family.model(config, preprocessing=preprocessing, name=name)


def _read(model: nn.Module) -> Peer:
    """Read a module with the first reader of its class that finds its family in it."""
    for kind in type(model).__mro__:
        known = (kind.__module__.partition(".")[0], kind.__name__)
        for family in FAMILIES:
            reader = family.readers.get(known)
            peer = None if reader is None else reader(model)
            if peer is not None:
                return peer
    # timm's list of features is of any model: each reader takes those of its family.
    titles: dict[str, dict[Any, str]] = {}
    for family in FAMILIES:
        for (package, name), reader in family.readers.items():
            titles.setdefault(f"{package}.{name}", {}).setdefault(reader, family.title)
    classes = [
        f"{name} of a {' or '.join(known.values())}" if len(known) > 1 else name
        for name, known in titles.items()
    ]
    raise UsageError(
        f"a module of {type(model).__module__}.{type(model).__qualname__}",
        f"a module of these classes: {', '.join(classes)}",
        "for weights in a file, use create_model(name, weights=path)",
    )
