import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from vitrail.data.images import ImageError, open_photo
from vitrail.data.transforms import eval_transform, train_transform, transform
from vitrail.errors import UsageError
from vitrail.models import Preprocessing

PLAIN = Preprocessing(size=(32, 32), crop=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def noise(height: int, width: int) -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(300, 300), (280, 401), (500, 260), (224, 224), (30, 50)])
def test_equals_the_usual_transform(size) -> None:
    """Resize of the short side, centre crop, normalise: as timm and torchvision do it."""
    preprocessing = Preprocessing(size=(224, 224), crop=0.9)
    usual = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(248, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(preprocessing.mean), list(preprocessing.std)),
        ]
    )
    image = noise(*size)
    ours = eval_transform(preprocessing)(image)
    assert ours.shape == (3, 224, 224)
    assert type(ours) is torch.Tensor
    torch.testing.assert_close(ours, torch.Tensor(usual(image)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "CMYK", "I;16", "1"])
@pytest.mark.parametrize("train", [False, True])
def test_any_mode_as_the_command_line_opens_it(mode, train, tmp_path) -> None:
    """What `vitrail predict` shows the model, the transform shows it too."""
    picture = noise(32, 32)
    alpha = Image.linear_gradient("L").resize((32, 32))
    picture.putalpha(alpha)
    if mode == "I;16":
        picture = Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 60)
    else:
        picture = picture.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    model: Any = SimpleNamespace(preprocessing=PLAIN)
    make = transform(model, train=train)
    torch.manual_seed(0)
    expected = make(open_photo(path).image)
    torch.manual_seed(0)
    with Image.open(path) as opened:
        assert torch.equal(make(opened), expected)


def test_alpha_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    assert eval_transform(PLAIN)(clear).min() == 1.0


@pytest.mark.parametrize("train", [False, True])
def test_a_path_is_refused(train) -> None:
    model: Any = SimpleNamespace(preprocessing=PLAIN)
    make = transform(model, train=train)
    for path in ("cat.jpg", Path("cat.jpg")):
        with pytest.raises(UsageError, match=r"'cat.jpg', a path[\s\S]*Image.open\('cat.jpg'\)"):
            make(path)
    with pytest.raises(UsageError, match=r"type bytes[\s\S]*a Pillow picture[\s\S]*fromarray"):
        make(b"\xff\xd8")


def test_a_damaged_picture_is_named(tmp_path) -> None:
    noise(64, 64).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:1000])
    with (
        Image.open(tmp_path / "a.jpg") as opened,
        pytest.raises(ImageError, match=r"a\.jpg.*trunc"),
    ):
        eval_transform(PLAIN)(opened)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    image = noise(32, 32)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    torch.testing.assert_close(eval_transform(PLAIN)(image), expected)


@pytest.mark.parametrize("photo", [(1, 1), (3, 500), (500, 3), (33, 31), (64, 96)])
@pytest.mark.parametrize("size", [(32, 32), (48, 96), (17, 5)])
def test_any_photo_at_any_size(photo, size) -> None:
    found = eval_transform(PLAIN, size)(Image.new("RGB", (photo[1], photo[0]), (255, 0, 255)))
    assert found.shape == (3, *size)
    # No border may show: all of the box is covered by the picture.
    assert found[0].min() > 0.99
    assert found[1].max() < 0.01


def test_a_wide_box_keeps_the_photos_proportions() -> None:
    image = Image.new("RGB", (100, 100))
    image.paste((255, 255, 255), (0, 50, 100, 100))  # the lower half
    found = eval_transform(PLAIN, (20, 100))(image)
    assert found.shape == (3, 20, 100)
    assert found[0, :9].max() < 0.1
    assert found[0, 11:].min() > 0.9


def test_normalisation() -> None:
    preprocessing = Preprocessing(size=(2, 2), crop=1.0, mean=(0.5, 0.0, 0.0), std=(0.5, 1.0, 2.0))
    found = eval_transform(preprocessing)(Image.new("RGB", (2, 2), (255, 255, 255)))
    assert found[:, 0, 0].tolist() == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("crop", ["resized", "pad"])
def test_training(crop) -> None:
    chain = train_transform(PLAIN, crop=crop)
    image = noise(40, 60)
    torch.manual_seed(3)
    first = chain(image)
    assert first.shape == (3, 32, 32)
    assert first.dtype == torch.float32
    assert not torch.equal(chain(image), first)
    torch.manual_seed(3)
    assert torch.equal(chain(image), first)


def test_training_without_extras_is_crop_and_flip() -> None:
    chain = train_transform(PLAIN, crop="pad", randaugment=0, erase=0.0)
    image = noise(32, 32)
    whole = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    padded = torch.nn.functional.pad(whole, (4, 4, 4, 4))
    windows = [padded[:, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
    found = chain(image)
    assert any(torch.allclose(found, w) or torch.allclose(found.flip(-1), w) for w in windows)


def test_public_function() -> None:
    model: Any = SimpleNamespace(preprocessing=PLAIN)
    image = noise(32, 32)
    torch.testing.assert_close(transform(model)(image), eval_transform(PLAIN)(image))
    assert any(isinstance(t, v2.RandAugment) for t in transform(model, train=True).transforms)
    assert not any(isinstance(t, v2.RandAugment) for t in transform(model).transforms)


def test_without_torchvision() -> None:
    code = "import sys; sys.modules['torchvision'] = None; import vitrail.data.transforms"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        check=False,
    )
    assert "without the package torchvision" in done.stderr
    assert "fix: pip install '.[train]'" in done.stderr
