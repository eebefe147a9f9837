"""The effective receptive field against finite differences, and within what can be reached."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.mechanisms import MECHANISMS
from tests.support import small
from vitrail.analysis.reach import reach
from vitrail.explain import erf
from vitrail.models import Backbone

SIZE = (21, 31)
STEP = 1e-6


def token(model: Backbone, image: Tensor, stage: int, place: tuple[int, int]) -> float:
    kept: list[Tensor] = []
    blocks: Any = model.stages[stage].blocks
    hook = blocks[-1].register_forward_hook(lambda module, args, output: kept.append(output))
    with torch.no_grad():
        model(image)
    hook.remove()
    return float(kept[0][0][place].sum())


@pytest.mark.parametrize("name", ["swin", "swin_v2", "pvt_v2", "axial_tiny", "focal"])
@pytest.mark.parametrize("stage", [0, 1])
def test_it_equals_finite_differences(name: str, stage: int) -> None:
    model = MECHANISMS[name]().double()
    image = torch.randn(1, 3, *SIZE, dtype=torch.float64)
    place = (2, 3)
    found = erf(model, image, stage, place)
    assert found.shape == SIZE
    samples = [*found.flatten().topk(3).indices.tolist(), 0, 217]
    for sample in samples:
        y, x = divmod(sample, SIZE[1])
        slopes = []
        for channel in range(3):
            ends = []
            for step in (STEP, -STEP):
                moved = image.clone()
                moved[0, channel, y, x] += step
                ends.append(token(model, moved, stage, place))
            slopes.append((ends[0] - ends[1]) / (2 * STEP))
        expected = torch.tensor(slopes, dtype=torch.float64).abs().sum()
        assert torch.allclose(found[y, x], expected, rtol=1e-5, atol=1e-7), (y, x)


@pytest.mark.parametrize("name", ["swin", "vit", "focal", "pvt_v2"])
def test_it_is_nowhere_but_where_the_structure_reaches(name: str) -> None:
    model = MECHANISMS[name]()
    image = torch.randn(3, 41, 61)
    stage = len(model.stages) - 1
    found = erf(model, image, -1, (1, 1)) > 0
    can = reach(model, (41, 61), stage, -1, (1, 1))
    assert found.any()
    assert not (found & ~can).any()
    assert (found == can).double().mean() > 0.99


def test_prefix_tokens_and_other_ranks() -> None:
    vit = MECHANISMS["vit"]()
    image = torch.randn(3, *SIZE)
    assert not torch.allclose(erf(vit, image, 0, 0), erf(vit, image, 0, 1))
    assert erf(small("3-D"), torch.randn(3, 5, 15, 9), 0, (1, 2, 3)).shape == (5, 15, 9)
