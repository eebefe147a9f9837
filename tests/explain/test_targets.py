"""What a place, a region or any number of the output looks at, in models of segmentation."""

import math

import pytest
import torch
from torch import Tensor

from tests.explain.dense import attention_matrix, descent
from tests.explain.test_gradients import retained
from tests.heads.test_heads import TINY
from tests.support import drawn, refuses, small
from vitrail.explain import capture, class_at, gradcam, gradient_rollout, rollout, rollout_from
from vitrail.explain.trace import Trace
from vitrail.models import TaskModel
from vitrail.models.task_model import new_task_model

SIZE = (21, 31)


def segmenter(head: str = "semantic_fpn") -> TaskModel:
    """A model with the maps of two stages of two blocks, and three classes."""
    bare = small("2-D", num_classes=0, out_indices=(0, 1), feature_norms=True)
    return drawn(new_task_model(bare, "segment", head, TINY[head], 3)).double().eval()


@pytest.fixture(scope="module")
def model() -> TaskModel:
    """A model for the tests that only read it."""
    return segmenter()


@pytest.fixture(scope="module")
def image() -> Tensor:
    """An input that nothing divides."""
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module")
def trace(model: TaskModel, image: Tensor) -> Trace:
    """What was captured of it."""
    return capture(model, image)


def test_a_trace_keeps_the_logits_of_every_sample(
    model: TaskModel, image: Tensor, trace: Trace
) -> None:
    assert trace.logits.numel() == 0 and trace.dense is not None
    assert torch.equal(trace.dense, model(image)[0].detach().float())
    assert max(block.error for block in trace.blocks) < 1e-9


@pytest.mark.parametrize("head", ["semantic_fpn", "unet"])
def test_gradient_rollout_enters_at_every_map_that_the_head_reads(head: str, image: Tensor) -> None:
    model = segmenter(head)
    target = class_at(1, (4, 20))
    trace = capture(model, image)
    maps = [x.detach().requires_grad_() for x in model.backbone.features(image, True, True)]
    slopes = torch.autograd.grad(target(model.head(maps, image)), maps)
    read = [(x * s).sum(1).relu().flatten() for x, s in zip(maps, slopes, strict=True)]
    known = retained(model, image, lambda out: target(out))
    steps = [torch.eye(math.prod(b.spatial), dtype=torch.float64) for b in trace.blocks]
    alone = list(steps)
    for number, block in enumerate(trace.blocks):
        weights, gradient = known[block.name]
        steps[number] = alone[number] + attention_matrix(
            block, (weights * gradient).relu().mean(1), renormalise=False
        )
    expected = torch.zeros(math.prod(trace.blocks[0].spatial), dtype=torch.float64)
    for held, last in zip(read, (1, 3), strict=True):
        routed = descent(trace, steps, last)[-1] - descent(trace, alone, last)[-1]
        expected += held @ routed
    found = gradient_rollout(model, image, target, trace).flatten()
    assert read[0].sum() > 0  # the finer map is read too
    torch.testing.assert_close(found, expected / expected.sum(), rtol=0, atol=1e-9)


def test_a_class_is_the_mean_of_its_samples(model: TaskModel, image: Tensor) -> None:
    wins = model(image)[0].argmax(0)
    cls = int(wins.flatten().mode().values)
    torch.testing.assert_close(
        gradcam(model, image, cls), gradcam(model, image, class_at(cls, wins == cls))
    )
    there = gradcam(model, image, class_at(cls, (2, 3)))
    assert (there - gradcam(model, image, class_at(cls, (18, 27)))).abs().max() > 1e-6


def test_grad_cam_of_any_number(model: TaskModel, image: Tensor) -> None:
    kept: list[Tensor] = []
    stage = model.backbone.stages[-1]
    handle = stage.register_forward_hook(lambda *seen: kept.append(seen[-1]))
    score = model(image)[0, :2, :5].std()
    handle.remove()
    (slope,) = torch.autograd.grad(score, kept)
    expected = (kept[0][0] @ slope[0].flatten(0, 1).mean(0)).relu().detach()
    found = gradcam(model, image, lambda out: out[0, :2, :5].std())
    torch.testing.assert_close(found, expected)


def test_a_place_is_the_token_over_it_and_a_region_the_mean(trace: Trace) -> None:
    last = trace.blocks[-1]
    assert last.stride == (4, 4)
    torch.testing.assert_close(rollout_from(trace, (9, 30)), rollout(trace, -1, (2, 7)))
    torch.testing.assert_close(rollout_from(trace, (9, 30), 0), rollout(trace, 0, (4, 15)))
    region = torch.zeros(SIZE, dtype=torch.bool)
    region[9, 3:6] = True  # one sample over one token, two over the next
    expected = (rollout(trace, -1, (2, 0)) + 2 * rollout(trace, -1, (2, 1))) / 3
    torch.testing.assert_close(rollout_from(trace, region), expected)


def test_refusals(model: TaskModel, image: Tensor, trace: Trace) -> None:
    with refuses("cls=3", "cls=2"):
        gradcam(model, image, class_at(3, (0, 0)))
    with refuses("place=(21, 0)", "place=(10, 15)"):
        gradcam(model, image, class_at(0, (21, 0)))
    with refuses("a region of shape (2, 2)", "argmax"):
        gradcam(model, image, class_at(0, torch.ones(2, 2, dtype=torch.bool)))
    with refuses("a target that returns (1, 3, 21, 31)", "target=lambda out"):
        gradcam(model, image, lambda out: out)
    with refuses("where=(0, 31)", "where=(10, 15)"):
        rollout_from(trace, (0, 31))
    with refuses("with 0 samples", "where=(10, 15)"):
        rollout_from(trace, torch.zeros(SIZE, dtype=torch.bool))
    never = segmenter()
    with torch.no_grad():
        never.head.classify.bias[0] = -1e6  # type: ignore[index]
    with refuses("class 0, which is the largest at no sample", "class_at(0, place)"):
        gradient_rollout(never, image, 0)
