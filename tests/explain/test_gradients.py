"""Gradients of attention, and the rollout that they weigh, against dense oracles and a collage."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.explain.dense import attention_matrix, descent
from tests.mechanisms import MECHANISMS
from tests.support import drawn, refuses, small
from vitrail.attention.reference import probabilities
from vitrail.explain import Trace, capture, digest, erf, gradcam, gradient_rollout
from vitrail.explain.gradient_rollout import attention_ends
from vitrail.models import Backbone, TaskModel, backbones_in

SIZE = (21, 31)


def net(name: str, seed: int) -> tuple[Backbone, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 3, *SIZE, generator=generator, dtype=torch.float64)
    return drawn(MECHANISMS[name](), seed).double().eval(), image


def retained(
    model: Backbone | TaskModel, image: Tensor, target: int | Callable[[Tensor], Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Attention and its gradient, with every softmax really a node of the graph."""
    kept: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for layer in backbones_in(model)[0].attention_layers():

            def leave(
                attend: Any, args: Any, kwargs: Any, output: Tensor, block: str = layer.around
            ) -> Tensor:
                del output
                q, k, v = args
                kept[block] = probabilities(q, k, mask_value=attend.mask_value, **kwargs)
                return kept[block] @ v

            hooks.callback(
                layer.module.attend.register_forward_hook(leave, with_kwargs=True).remove
            )
        out = model(image)
    score = out[0, target] if isinstance(target, int) else target(out)
    gradients = torch.autograd.grad(score, list(kept.values()))
    return {
        block: (weights[0].detach(), gradient[0])
        for (block, weights), gradient in zip(kept.items(), gradients, strict=True)
    }


def pooling(model: Backbone, image: Tensor, cls: int) -> Tensor:
    """``relu(grad * A)`` of the mean as attention with equal weights; or the class token alone."""
    tokens = model.forward_features(image).detach()
    flat = tokens.flatten(0, -2)
    if model.global_pool == "token":
        return torch.eye(len(flat), dtype=torch.float64)[0]
    weights = torch.full((len(flat),), 1 / len(flat), dtype=torch.float64, requires_grad=True)
    assert isinstance(model.head, nn.Module)
    pooled = weights @ flat
    for part in (model.norm if model.norm_pooled else None, model.pre_logits):
        pooled = pooled if part is None else part(pooled)
    score = model.head(pooled)[cls]
    (gradient,) = torch.autograd.grad(score, weights)
    return (gradient * weights.detach()).relu()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", MECHANISMS)
def test_it_equals_the_dense_oracle(name: str, seed: int) -> None:
    model, image = net(name, seed)
    trace = capture(model, image)
    maps = {}
    for cls in range(5):
        expected = oracle(model, image, trace, cls)
        found = gradient_rollout(model, image, cls, trace).flatten()
        total = expected.sum()
        if total == 0:  # nothing speaks for this class
            assert (found == 0).all()
            continue
        assert torch.allclose(found, expected / total, rtol=0, atol=1e-6), cls
        assert torch.allclose(found.sum(), torch.ones((), dtype=torch.float64))
        maps[cls] = found
    first, *others = maps.values()  # some class speaks, in every net
    assert all((first - other).abs().max() > 1e-5 for other in others), "the same for all classes"


def oracle(model: Backbone, image: Tensor, trace: Trace, cls: int) -> Tensor:
    known = retained(model, image, cls)
    steps = []
    for block in trace.blocks:
        weights, gradient = known[block.name]
        drawn_by = (weights * gradient).relu().mean(1)
        if block.source is not None:  # tokens of a cell share a row
            drawn_by = drawn_by.flatten(0, 1)[block.source.clamp(min=0)]
        matrix = attention_matrix(block, drawn_by, renormalise=False)
        steps.append(torch.eye(len(matrix)) + matrix)
    last = len(trace.blocks) - 1
    identity = [torch.eye(len(step), dtype=torch.float64) for step in steps]
    routed = descent(trace, steps, last)[-1] - descent(trace, identity, last)[-1]
    return pooling(model, image, cls) @ routed


@pytest.mark.parametrize("name", ["swin", "pvt", "focal"])
def test_values_and_ends_make_the_gradient_of_every_weight(name: str) -> None:
    model, image = net(name, 1)
    ends = attention_ends(model, image, 2)
    for block, (weights, gradient) in retained(model, image, 2).items():
        product = ends.slopes[block] @ ends.values[block].mT
        assert torch.allclose(product, gradient, atol=1e-12), block
        assert weights.shape == gradient.shape


METHODS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "gradient_rollout": lambda model, image: gradient_rollout(model, image, 1),
    "gradcam": lambda model, image: gradcam(model, image, 1),
    "erf": lambda model, image: erf(model, image, 0, (2, 3)),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was_found(method: str) -> None:
    model = small("2-D")
    image = torch.randn(3, *SIZE)
    expected = METHODS[method](model, image)
    model.train()
    model.stages[0].eval()
    model.set_grad_checkpointing()
    model.stages[1].requires_grad_(False)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    before = digest(model)
    with torch.no_grad():
        found = METHODS[method](model, image)
    # Partly frozen, recomputing, in training mode or under no_grad: the same map.
    assert torch.allclose(found, expected)
    assert digest(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert {True, False} == set(flags)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training and not model.stages[0].training
    assert model.stages[0].checkpointing
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["swin", "vit", "pvt"])
@pytest.mark.parametrize("method", METHODS)
def test_of_large_images_blocks_are_computed_twice_and_the_map_is_the_same(
    method: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = MECHANISMS[name](), torch.randn(3, *SIZE)
    runs: list[nn.Module] = []

    def counted(block: nn.Module, x: Tensor, **options: Any) -> Any:
        runs.append(block)
        return checkpoint(block, x, **options)

    monkeypatch.setattr("vitrail.models.stage.checkpoint", counted)
    expected = METHODS[method](model, image)
    assert not runs
    monkeypatch.setattr("vitrail.explain.gradients.LARGE", 0)
    assert torch.allclose(METHODS[method](model, image), expected)
    assert len(runs) == sum(model.config.depths)


def test_refusals() -> None:
    model, image = small("2-D"), torch.randn(3, *SIZE)
    with refuses("cls=5", "cls=4"):
        gradcam(model, image, 5)
    with refuses("stage=2", "stage=1"):
        gradcam(model, image, 0, stage=2)
    with refuses("without a head", "num_classes"):
        gradient_rollout(small("2-D", num_classes=0), image, 0)
    with refuses("global_pool=''", "global_pool='avg'"):
        gradcam(small("2-D", global_pool=""), image, 0)
    with refuses("Linear", "vitrail.create_model"):
        erf(nn.Linear(2, 2), image, 0, (0, 0))
    for position in ((11, 0), 0):
        with refuses(f"position={position}", "position=(5, 8)"):
            erf(model, image, 0, position)
