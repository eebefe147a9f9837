"""One path from pixels to inputs: the same numbers as torchvision's own steps."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from vitrail.data.pixels import covering, cut_out, frame_of, normalised, resize
from vitrail.data.transforms import eval_transform
from vitrail.models import Preprocessing


def noise(*shape: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    numbers = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    return torch.from_numpy(numbers).to(dtype)


@pytest.mark.parametrize("photo", [(300, 300), (280, 401), (30, 50), (1, 7)])
@pytest.mark.parametrize("size", [(224, 224), (64, 200)])
def test_the_steps_equal_torchvisions(photo: tuple[int, int], size: tuple[int, int]) -> None:
    wanted = Preprocessing(size=size, crop=0.875)
    box = [int(n / 0.875) for n in size]
    scale = max(b / n for b, n in zip(box, photo, strict=True))
    resized = [max(b, int(n * scale)) for b, n in zip(box, photo, strict=True)]
    theirs = v2.Compose([
        v2.Resize(resized, interpolation=InterpolationMode.BICUBIC, antialias=True),
        v2.CenterCrop(list(size)),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(wanted.mean), list(wanted.std)),
    ])  # fmt: skip
    pixels = noise(*photo)
    frame = frame_of(photo, size, wanted.crop)
    ours = normalised(cut_out(pixels, frame, "bicubic"), wanted.mean, wanted.std)
    assert torch.equal(ours, theirs(pixels))
    photo_file = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    assert torch.equal(ours, eval_transform(wanted)(photo_file))
    assert torch.equal(ours, eval_transform(wanted)(pixels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int16])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_other_types_are_resized_in_float32(dtype: torch.dtype, interpolation: str) -> None:
    pixels = noise(40, 60, dtype=dtype)
    found = resize(pixels, (17, 31), interpolation)
    mode = InterpolationMode(interpolation)
    assert found.dtype == dtype
    assert torch.equal(found, functional.resize(pixels, [17, 31], mode, antialias=True))


def test_whole_numbers_stay_in_their_range() -> None:
    """Bicubic weights overshoot at an edge; what does not fit must not wrap around."""
    edge = torch.zeros(1, 8, 8, dtype=torch.int16)
    edge[..., 4:] = torch.iinfo(torch.int16).max
    assert resize(edge, (8, 32), "bicubic").max() == torch.iinfo(torch.int16).max


def test_several_pictures_at_once() -> None:
    one = noise(20, 30)
    both = resize(torch.stack((one, one.flip(-1))), (10, 10), "bicubic")
    assert torch.equal(both[0], resize(one, (10, 10), "bicubic"))


def test_a_frame_covers_the_input() -> None:
    assert covering((100, 200), (50, 50)) == (50, 100)
    frame = frame_of((100, 200), (40, 50), crop=0.8)
    assert frame.resized == (50, 100)
    assert frame.first == (5, 25)
