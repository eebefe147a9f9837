"""Segmentation of arrays and TIFF of any channels and rank: statistics, tiles, masks in place."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import vitrail
from tests.data.test_rasters import PLACE
from tests.support import refuses
from vitrail.cli import main
from vitrail.data.batch import Sample
from vitrail.data.pairs import split_pairs
from vitrail.data.rasters import Raster
from vitrail.heads import UNetConfig
from vitrail.models import Preprocessing
from vitrail.tasks import raster_segmentation
from vitrail.tasks.options import options_of
from vitrail.tasks.raster_segmentation import RasterSegmentation
from vitrail.tasks.segment import Segment
from vitrail.training.recipe import Recipe

FACTS = Preprocessing(size=(8, 8), crop=1.0)
TINY = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "in_channels": 5, "num_classes": 3}
SCALES = np.array([1e-3, 1, 50, 1e4, 7], np.float32)
NAMES = {1: "swin1d_tiny", 2: "swin_nano", 3: "swin3d_nano"}


def arrays(count: int, spatial: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Five channels of different scales; the class is seen in each of them."""
    noise = np.random.default_rng(0)
    labels = noise.integers(0, 3, (count, *spatial))
    images = labels[:, None] * 10 + noise.normal(size=(count, 5, *spatial)) + 100
    return (images * SCALES.reshape(5, *(1,) * len(spatial))).astype(np.float32), labels


def written(path: Path, spatial: tuple[int, ...], count: int = 4) -> Path:
    images, labels = arrays(count, spatial)
    np.savez(path, images=images, labels=labels)
    return path


def part_of(path: Path):
    return split_pairs(Segment.open([str(path)], train=True, root=path, download=False), 0.0, 0)[0]


def task_of(path: Path, *words: str) -> Segment:
    return Segment.build(part_of(path), options_of(Segment, words))


def model_of(axes: int):
    torch.manual_seed(0)
    window = (2,) * axes
    made = vitrail.create_model(
        NAMES[axes], task="segment", head=UNetConfig(dim=4), window=window, **TINY
    )
    moments = task_of_moments(axes)
    made.preprocessing = replace(made.preprocessing, mean=moments[0], std=moments[1])
    made.task = replace(made.task, options={"normalise": "data", "tile": 16})
    return made.eval()


def task_of_moments(axes: int):
    images, _ = arrays(4, (6,) * axes)
    flat = images.swapaxes(0, 1).reshape(5, -1)
    return tuple(map(float, flat.mean(1))), tuple(map(float, flat.std(1)))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_channels_are_normalised_by_the_data(tmp_path, axes) -> None:
    path = written(tmp_path / "x.npz", (6,) * axes)
    task = task_of(path)
    assert (task.axes, task.channels, task.options.normalise) == (axes, 5, "data")
    facts = task.input_facts(FACTS)
    mean, std = task_of_moments(axes)
    assert facts.mean == pytest.approx(mean, rel=1e-4)
    assert facts.std == pytest.approx(std, rel=1e-3)
    whole = task.samples(part_of(path), facts, None)[0, 0]
    assert isinstance(whole, Sample)
    assert whole.input.abs().max() <= 4
    assert whole.input.mean().abs() < 0.5
    moved = task.samples(part_of(path), replace(facts, size=(8,) * axes), Recipe(seed=1))[0, 5]
    assert isinstance(moved, Sample)
    assert moved.input.shape == (5, *(8,) * axes)
    # Without movement and shade it is what is measured.
    still = task_of(
        path, "flip=none", "rotate=0", "scale=1", "gamma=1", "contrast=1", "brightness=0"
    )
    same = still.samples(part_of(path), replace(facts, size=(6,) * axes), Recipe(seed=1))[0, 5]
    assert isinstance(same, Sample)
    assert torch.allclose(same.input, whole.input, atol=1e-4)


def test_each_image_alone_where_that_is_chosen(tmp_path) -> None:
    path = written(tmp_path / "x.npz", (6, 7))
    task = task_of(path, "normalise=image")
    sample = task.samples(part_of(path), task.input_facts(FACTS), None)[1, 0]
    assert isinstance(sample, Sample)
    assert sample.input.mean((1, 2)).abs().max() < 1e-2
    with refuses("normalise=fixed for 5 channels", "normalise=data"):
        task_of(path, "normalise=fixed").input_facts(FACTS)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_arrays_are_predicted_in_any_rank(tmp_path, axes) -> None:
    model = model_of(axes)
    image = arrays(1, (20, 9, 11)[:axes])[0][0]
    np.save(tmp_path / "x.npy", image)
    found = vitrail.predict(model, tmp_path / "x.npy")
    assert isinstance(found, RasterSegmentation)
    assert np.array_equal(found.labels, vitrail.predict(model, image).labels)  # type: ignore[attr-defined]
    assert found.as_dict()["size"] == list(image.shape[1:])
    assert sum(row["pixels"] for row in found.as_dict()["classes"]) == image[0].size
    mask = np.load(found.save(tmp_path / "mask.npy"))
    assert np.array_equal(mask, found.labels)
    assert found.save(tmp_path / "x.jpg").exists()
    if axes != 2:
        with refuses("mask.tif' for a mask of", "mask.npy'"):
            found.save(tmp_path / "mask.tif")
    with refuses("of 4 channels", "a model of such data"):
        np.save(tmp_path / "y.npy", image[:4])
        vitrail.predict(model, tmp_path / "y.npy")
    with refuses("the size", "leave the size out"):
        vitrail.predict(model, image, size=8)


@pytest.fixture
def slide(tmp_path) -> Path:
    image = arrays(1, (70, 90))[0][0]
    tifffile.imwrite(tmp_path / "x.tif", image, planarconfig="separate", tile=(16, 16),
                     photometric="minisblack", extratags=PLACE)  # fmt: skip
    return tmp_path / "x.tif"


def test_a_tiff_is_read_by_tiles_and_its_mask_lies_where_it_lies(slide, monkeypatch) -> None:
    model = model_of(2)
    parts: list[int] = []
    original = Raster.__init__

    def watched(self, name, shape, dtype, read, *more):
        def reading(part):
            found = read(part)
            parts.append(found[0].size)
            return found

        original(self, name, shape, dtype, reading, *more)

    monkeypatch.setattr(Raster, "__init__", watched)
    found = vitrail.predict(model, slide)
    assert max(parts) == 16 * 16
    monkeypatch.undo()
    whole = vitrail.predict(model, tifffile.imread(slide))
    assert np.array_equal(found.labels, whole.labels)  # type: ignore[attr-defined]
    path = found.save(slide.with_name("mask.tif"))
    with tifffile.TiffFile(path) as mask:
        page: tifffile.TiffPage = mask.pages[0]  # type: ignore[assignment]
        assert np.array_equal(page.asarray(), found.labels)  # type: ignore[attr-defined]
        assert page.is_tiled
        assert page.tags[33922].value == PLACE[1][3]
    assert found.save(slide.with_name("mask.png")).exists()


def test_labels_of_a_large_one_lie_in_a_file(slide, monkeypatch) -> None:
    model = model_of(2)
    small = vitrail.predict(model, slide)
    monkeypatch.setattr(raster_segmentation, "_IN_MEMORY", 100)
    large = vitrail.predict(model, slide)
    assert isinstance(large, RasterSegmentation)
    assert isinstance(large.labels, np.memmap)
    assert large.as_dict() == small.as_dict()
    monkeypatch.setattr(raster_segmentation, "MAX_PIXELS", 100)
    with refuses("for a mask of 70 x 90", "mask.tif'"):
        large.save(slide.with_name("mask.png"))


def test_a_map_in_colours_keeps_its_place(tmp_path) -> None:
    """A GeoTIFF of a model of photos; each image normalised by itself, tile by tile."""
    torch.manual_seed(0)
    fields = {**TINY, "in_channels": 3, "window": (2, 2)}
    model = vitrail.create_model("swin_nano", task="segment", head=UNetConfig(dim=4), **fields)
    photo = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "plain.tif", photo, photometric="rgb")
    tifffile.imwrite(tmp_path / "map.tif", photo, photometric="rgb", extratags=PLACE)
    plain, placed = (vitrail.predict(model, tmp_path / f"{n}.tif") for n in ("plain", "map"))
    assert isinstance(placed, RasterSegmentation)
    assert not isinstance(plain, RasterSegmentation)
    same = (placed.labels == plain.labels).mean()  # type: ignore[attr-defined]
    assert same > 0.99
    with tifffile.TiffFile(placed.save(tmp_path / "mask.tif")) as mask:
        assert mask.pages[0].tags[33550].value == (10.0, 10.0, 0.0)  # type: ignore[union-attr]


def test_objects_in_a_raster(slide, monkeypatch) -> None:
    model = model_of(2)
    model.task = replace(model.task, options={"normalise": "image", "instances": True, "least": 1})
    found = vitrail.predict(model, slide)
    assert found.as_dict()["objects"] == found.objects.max()  # type: ignore[attr-defined]
    mask = tifffile.imread(found.save(slide.with_name("mask.tif")))
    assert np.array_equal(mask, found.objects)  # type: ignore[attr-defined]
    monkeypatch.setattr(raster_segmentation, "MAX_PIXELS", 100)
    with refuses("objects in", "cut it"):
        vitrail.predict(model, slide)


def test_what_a_model_of_many_channels_cannot_open(tmp_path) -> None:
    model = model_of(2)
    with refuses("photo.png', for a model of 2 axes and 5 channels", "all channels"):
        vitrail.predict(model, "photo.png")
    with refuses("cannot be read", "check the path"):
        vitrail.predict(model, tmp_path / "nowhere.npy")


def test_one_command_for_arrays(tmp_path, slide) -> None:
    """Trained, measured, and predicted from a TIFF of the same channels."""
    data = written(tmp_path / "x.npz", (16, 16), 8)
    model = model_of(2)
    vitrail.weights.save(model, tmp_path / "start.safetensors")
    words = ["train", str(data), "--model", str(tmp_path / "start.safetensors"), "--size", "16"]
    words += ["--epochs", "1", "-b", "4", "--workers", "0", "--device", "cpu", "--ema", "0"]
    assert main.run([*words, "-o", str(tmp_path / "run"), "--set", "tile=16"]) == 0
    trained = vitrail.load(tmp_path / "run/best.safetensors")
    assert len(trained.preprocessing.mean) == 5
    assert trained.preprocessing.mean[3] > 1e5
    best = ["--weights", str(tmp_path / "run/best.safetensors")]
    assert main.run(["evaluate", str(data), *best, "--json"]) == 0
    assert main.run(["predict", str(slide), *best, "-o", str(tmp_path / "out")]) == 0
    assert tifffile.imread(tmp_path / "out/x.tif").shape == (70, 90)
    answers = (tmp_path / "out/predictions.jsonl").read_text().splitlines()
    assert json.loads(answers[1])["size"] == [70, 90]
    with open(tmp_path / "run/epochs.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
