"""Grad-CAM against the package `grad-cam`, which users would take else."""

import pytest
import torch
from torch import Tensor, nn

from tests.mechanisms import MECHANISMS
from tests.support import small
from vitrail.explain import gradcam
from vitrail.models import Backbone

SIZE = (64, 96)


def theirs(model: Backbone, layer: nn.Module, image: Tensor, cls: int, grid: Tensor) -> Tensor:
    """Return the package's map: resized to the input, and scaled to 0..1."""
    package = pytest.importorskip("pytorch_grad_cam", reason="pip install grad-cam")
    target = pytest.importorskip("pytorch_grad_cam.utils.model_targets")

    def reshape(tokens: Tensor) -> Tensor:
        prefix = 0 if tokens.ndim == 4 else tokens.shape[1] - grid.numel()
        tokens = tokens.flatten(1, -2)[:, prefix:]
        return tokens.unflatten(1, grid.shape).permute(0, 3, 1, 2)

    with package.GradCAM(model, [layer], reshape_transform=reshape) as cam:
        found = cam(image, [target.ClassifierOutputTarget(cls)])
    return torch.from_numpy(found[0]).double()


def finished(grid: Tensor) -> Tensor:
    """Do to our map what the package does to its own: resize and scale, and scale once more."""
    image_tools = pytest.importorskip("pytorch_grad_cam.utils.image")
    resized = image_tools.scale_cam_image(grid[None].numpy(), SIZE[::-1])
    return torch.from_numpy(image_tools.scale_cam_image(resized)[0]).double()


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("name", ["swin", "swin_v2", "focal", "pvt_v2"])
def test_it_equals_the_package(name: str, stage: int) -> None:
    model = MECHANISMS[name]()
    image = torch.randn(1, 3, *SIZE)
    maps = [gradcam(model, image, cls, stage) for cls in range(3)]
    assert sum(float(found.max()) > 0 for found in maps) >= 2
    for cls, found in enumerate(maps):
        expected = theirs(model, model.stages[stage], image, cls, found)
        assert torch.allclose(finished(found), expected, atol=1e-5), cls


@pytest.mark.parametrize("name", ["vit", "pvt"])
def test_where_a_class_token_answers_it_explains_the_last_blocks_input(name: str) -> None:
    model = MECHANISMS[name]()
    image = torch.randn(1, 3, *SIZE)
    maps = [gradcam(model, image, cls) for cls in range(3)]
    assert sum(float(found.max()) > 0 for found in maps) >= 2
    layer = model.stages[-1].blocks[-1].norm1  # pyright: ignore
    for cls, found in enumerate(maps):
        assert isinstance(layer, nn.Module)
        expected = theirs(model, layer, image, cls, found)
        assert torch.allclose(finished(found), expected, atol=1e-5), cls


def test_other_ranks() -> None:
    assert gradcam(small("1-D"), torch.randn(3, 43), 0).shape == (11,)
    assert gradcam(small("3-D"), torch.randn(3, 5, 15, 9), 0, stage=0).shape == (3, 8, 9)
