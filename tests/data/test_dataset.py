import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from vitrail.data.batch import Sample, Unreadable
from vitrail.data.dataset import ImageSamples, Skipped, Subset, load_into_memory, split
from vitrail.data.sources import open_source
from vitrail.errors import UsageError


def png(value: int, size=(4, 4)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


def source_of(tmp_path, entries: dict[str, bytes]):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return open_source(tmp_path / "z.zip")


@pytest.fixture
def ten(tmp_path):
    """Class a with 10 pictures, class b with 20."""
    entries = {f"a/{n:02d}.png": png(n) for n in range(10)}
    return source_of(tmp_path, entries | {f"b/{n:02d}.png": png(100 + n) for n in range(20)})


def test_split_is_stratified_and_seeded(ten) -> None:
    train, val = split(ten, 0.2, 0)
    assert np.bincount(ten.labels[val.indices]).tolist() == [2, 4]
    assert sorted([*train.indices, *val.indices]) == list(range(30))
    again, other = split(ten, 0.2, 0)[1], split(ten, 0.2, 1)[1]
    assert val.indices.tolist() == again.indices.tolist() != other.indices.tolist()


def test_split_of_nothing(ten) -> None:
    train, val = split(ten, 0.0, 0)
    assert (len(train), len(val)) == (30, 0)


def test_split_gives_each_class_one(ten) -> None:
    assert np.bincount(ten.labels[split(ten, 0.001, 0)[1].indices]).tolist() == [1, 1]


def test_split_of_a_single_image(tmp_path) -> None:
    source = source_of(tmp_path, {"a/1.png": png(1), "b/1.png": png(1), "b/2.png": png(1)})
    with pytest.raises(UsageError, match=r"class 'a' with 1 image.*0\.5[\s\S]*--val"):
        split(source, 0.5, 0)


def test_into_memory(ten) -> None:
    part = Subset(ten, np.array([3, 25]))
    loaded = load_into_memory(part, (4, 4), 1000, Skipped(0))
    assert loaded is not None
    pixels = loaded.source.pixels
    assert pixels.shape == (2, 3, 4, 4)
    assert pixels.dtype == torch.uint8
    assert pixels[:, 0, 0, 0].tolist() == [3, 115]
    assert loaded.source.names == (ten.name(3), ten.name(25))
    assert loaded.indices.tolist() == [0, 1]


def test_into_memory_only_where_it_fits(ten, tmp_path) -> None:
    part = split(ten, 0.0, 0)[0]
    assert load_into_memory(part, (4, 4), 30 * 48 - 1, Skipped(0)) is None
    assert load_into_memory(part, (8, 8), 1 << 20, Skipped(0)) is None
    mixed = source_of(tmp_path, {"a/1.png": png(1), "a/2.png": png(2, (4, 5))})
    assert load_into_memory(split(mixed, 0.0, 0)[0], (4, 4), 1 << 20, Skipped(0)) is None


def test_into_memory_leaves_out_what_cannot_be_read(tmp_path) -> None:
    entries = {"a/1.png": png(1), "a/2.png": b"no picture", "b/1.png": png(3)}
    skipped = Skipped(5)
    loaded = load_into_memory(
        split(source_of(tmp_path, entries), 0.0, 0)[0], (4, 4), 1 << 20, skipped
    )
    assert loaded is not None
    assert loaded.source.labels.tolist() == [0, 1]
    assert loaded.source.pixels[:, 0, 0, 0].tolist() == [1, 3]
    assert list(skipped.reasons) == [f"{tmp_path}/z.zip/a/2.png"]
    assert "no picture" in next(iter(skipped.reasons.values()))


def test_too_many_bad_images() -> None:
    skipped = Skipped(2)
    skipped.add(Unreadable("x.png", "'x.png', damaged"))
    skipped.add(Unreadable("x.png", "'x.png', damaged"))  # met again in the next epoch
    skipped.add(Unreadable("y.png", "'y.png', damaged"))
    with pytest.raises(UsageError, match=r"3 unreadable images.*x\.png[\s\S]*at most 2[\s\S]*bad"):
        skipped.add(Unreadable("z.png", "'z.png', damaged"))


def test_pictures_depend_on_their_key_alone(ten) -> None:
    transform = v2.Compose([v2.ToImage(), v2.RandomCrop(4, padding=2), v2.ToDtype(torch.float32)])
    pictures = ImageSamples(split(ten, 0.0, 0)[0], transform)

    def shown(key: int) -> torch.Tensor:
        sample = pictures[25, key]
        assert isinstance(sample, Sample)
        assert (sample.target, sample.name) == (1, ten.name(25))
        return sample.input

    first = shown(7)
    pictures[3, 1]
    torch.rand(5)
    assert torch.equal(shown(7), first)
    assert any(not torch.equal(shown(key), first) for key in range(10))
    assert len(pictures) == 30


def test_what_cannot_be_read_stands_in_the_place_of_an_unreadable_picture(tmp_path) -> None:
    source = source_of(tmp_path, {"a/1.png": b"no picture"})
    found = ImageSamples(split(source, 0.0, 0)[0], v2.ToImage())[0, 0]
    assert isinstance(found, Unreadable)
    assert found.name == f"{tmp_path}/z.zip/a/1.png"
    assert found.name in found.reason


def test_only_an_image_that_cannot_be_read_is_skipped(ten) -> None:
    """Any other error of a source ends the work."""

    class Wrong:
        classes, labels, name = ten.classes, ten.labels, ten.name

        def image(self, index: int):
            raise UsageError("segmentation maps", "class numbers", "another set")

    subset = Subset(Wrong(), np.arange(2))
    with pytest.raises(UsageError, match="segmentation"):
        ImageSamples(subset, v2.ToImage())[0, 0]
    with pytest.raises(UsageError, match="segmentation"):
        load_into_memory(subset, (4, 4), 1 << 20, Skipped(10))
