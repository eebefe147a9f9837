"""TIFF of any channels, read by parts; arrays; label maps written by tiles."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.support import refuses
from tests.tasks.pairs import encoded
from vitrail.data.pairs import open_pairs
from vitrail.data.rasters import (
    Moments,
    Raster,
    decode_array,
    of_array,
    open_raster,
    write_labels,
)

DEEP = np.random.default_rng(0).integers(0, 60_000, (7, 90, 130), dtype=np.uint16)
PLACE = [
    (33550, 12, 3, (10.0, 10.0, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 4e6, 0.0), True),
    (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34737, 2, 0, "WGS 84|", True),
]


def tiff(path: Path, image: np.ndarray = DEEP, **words) -> Path:
    tifffile.imwrite(path, image, photometric="minisblack", **words)
    return path


LAYOUTS = {
    "planes": {"planarconfig": "separate", "tile": (32, 48), "compression": "zlib"},
    "pixels": {"planarconfig": "contig", "tile": (32, 48)},
    "strips": {"planarconfig": "separate", "rowsperstrip": 7},
    "pages": {},
    "floats": {"planarconfig": "separate"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_are_read_of_any_layout(tmp_path, layout) -> None:
    image = DEEP / np.float32(7) if layout == "floats" else DEEP
    stored = np.moveaxis(image, 0, -1) if layout == "pixels" else image
    path = tiff(tmp_path / "x.tif", stored, **LAYOUTS[layout])
    for raster in (open_raster(path), open_raster(path.read_bytes(), "x")):
        assert raster.shape == image.shape
        assert raster.dtype == image.dtype
        assert np.array_equal(raster.whole(), image)
        part = (slice(20, 61), slice(100, 130))
        assert np.array_equal(raster.read(part), image[:, 20:61, 100:130])
        assert not raster.plain
    grey = open_raster(tiff(tmp_path / "grey.tif", image[0]))
    assert np.array_equal(grey.read((slice(3, 9), slice(0, 5))), image[:1, 3:9, :5])


def test_only_the_tiles_of_a_part_are_decoded(tmp_path, monkeypatch) -> None:
    path = tiff(tmp_path / "x.tif", DEEP[0], tile=(16, 16))
    raster, read = open_raster(path), []
    original = tifffile.FileHandle.read

    def watch(self, size=-1, /):
        data = original(self, size)
        read.append(len(data))
        return data

    monkeypatch.setattr(tifffile.FileHandle, "read", watch)
    raster.read((slice(16, 32), slice(16, 32)))
    assert sum(read) < DEEP[0].nbytes / 4


def test_the_finest_level_of_a_pyramid_is_read(tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(DEEP[0], subifds=1, tile=(32, 32), photometric="minisblack")
        file.write(DEEP[0, ::2, ::2], subfiletype=1, tile=(32, 32), photometric="minisblack")
    raster = open_raster(tmp_path / "x.tif")
    assert np.array_equal(raster.whole(), DEEP[:1])
    assert raster.notes == ("a pyramid of 2 levels; the finest is used",)


def test_pictures_are_told_from_what_needs_tiles(tmp_path) -> None:
    colours = np.zeros((20, 30, 3), np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", colours, photometric="rgb")
    assert open_raster(tmp_path / "rgb.tif").plain
    tifffile.imwrite(tmp_path / "map.tif", colours, photometric="rgb", extratags=PLACE)
    assert not open_raster(tmp_path / "map.tif").plain


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_labels_are_written_by_tiles_where_the_input_lies(tmp_path, kind) -> None:
    numbers = np.random.default_rng(1).integers(0, 200, (300, 530)).astype(np.int64)
    tags = open_raster(tiff(tmp_path / "x.tif", extratags=PLACE)).tags
    parts = []

    def part_of(part):
        parts.append(part)
        return numbers[part]

    write_labels(tmp_path / "mask.tif", part_of, numbers.shape, kind, tags)
    assert max(part[0].stop - part[0].start for part in parts) == 256
    assert np.array_equal(tifffile.imread(tmp_path / "mask.tif"), numbers)
    with (
        tifffile.TiffFile(tmp_path / "mask.tif") as mask,
        tifffile.TiffFile(tmp_path / "x.tif") as own,
    ):
        for code, *_ in PLACE:
            assert mask.pages[0].tags[code].value == own.pages[0].tags[code].value  # type: ignore[union-attr]


def test_moments_of_parts_are_those_of_the_whole() -> None:
    moments = Moments()
    for block in (DEEP[:, :40], DEEP[:, 40:]):
        moments.add(block)
    mean, deviation = moments.result()
    assert mean == pytest.approx(DEEP.mean((1, 2)))
    assert deviation == pytest.approx(DEEP.std((1, 2)))
    flat = Moments()
    flat.add(np.full((2, 5), 7e9))
    assert flat.result() == ((7e9, 7e9), (1.0, 1.0))
    blocks = [*Raster("x", (1, 5, 4), np.dtype("u1"), lambda part: np.ones((1, 5, 4))).blocks()]
    assert len(blocks) == 1


def test_what_is_no_raster(tmp_path) -> None:
    (tmp_path / "x.tif").write_bytes(tiff(tmp_path / "y.tif").read_bytes()[:200])
    with refuses("a TIFF that cannot be read", "download it again"):
        open_raster(tmp_path / "x.tif").whole()
    with refuses("cannot be read", "download it again"):
        open_raster(b"no tiff", "x")
    with refuses("cannot be read", "download it again"):
        open_raster(tmp_path / "nowhere.tif")
    stack = np.zeros((2, 3, 4, 5), np.uint8)
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    with refuses("a TIFF with the axes Z 2, C 3, Y 4, X 5", "planes"):
        open_raster(tmp_path / "z.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 5), np.complex64))
    with refuses("a TIFF of complex64", "real type"):
        open_raster(tmp_path / "c.tif")


# ---- arrays ----------------------------------------------------------------------------------


def saved(array: np.ndarray, **more: np.ndarray) -> bytes:
    stream = io.BytesIO()
    if more:
        np.savez(stream, x=array, **more)  # type: ignore[arg-type]
    else:
        np.save(stream, array)
    return stream.getvalue()


def test_arrays() -> None:
    assert np.array_equal(decode_array(saved(DEEP), "x"), DEEP)
    for data in (b"", b"PK\3\4", saved(DEEP)[:-9], saved(np.array([{}]))):
        with refuses("no whole array of numpy", "numpy.save"):
            decode_array(data, "x")
    with refuses("with the arrays x, y", "numpy.save"):
        decode_array(saved(DEEP, y=DEEP), "x")
    with refuses("an array of float64 with shape (3,)", "array[None]"):
        of_array(np.zeros(3), "x")


@pytest.mark.parametrize("spatial", [(9,), (6, 7), (3, 4, 5)])
def test_pairs_in_one_npz(tmp_path, spatial) -> None:
    images = np.random.default_rng(0).normal(size=(4, 5, *spatial))
    labels = (images[:, 0] > 0).astype(np.int64)
    np.savez(tmp_path / "x.npz", images=images, labels=labels, classes=["low", "high"])
    source = open_pairs([tmp_path / "x.npz"])
    assert source.form == (len(spatial), 5, True)
    assert source.classes == ("low", "high")
    pair = source.pair(2)
    assert np.allclose(pair.image, images[2])
    assert np.array_equal(pair.labels, labels[2])
    np.savez(tmp_path / "one.npz", images=images[:, 0], labels=labels)
    assert open_pairs([tmp_path / "one.npz"]).form.channels == 1


def test_arrays_that_do_not_fit_together(tmp_path) -> None:
    images, labels = np.zeros((2, 3, 4, 5)), np.zeros((2, 4, 5))
    np.savez(tmp_path / "last.npz", images=np.moveaxis(images, 1, -1), labels=labels)
    with refuses("images of shape (2, 4, 5, 3)", "moveaxis"):
        open_pairs([tmp_path / "last.npz"])
    np.savez(tmp_path / "x.npz", x=images, labels=labels)
    with refuses("with the arrays x, labels", "numpy.savez"):
        open_pairs([tmp_path / "x.npz"])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:300])
    with refuses("no whole .npz", "numpy.savez"):
        open_pairs([tmp_path / "cut.npz"])
    images[0, 0, 0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", images=images, labels=labels + 0.5)
    source = open_pairs([tmp_path / "nan.npz"])
    with refuses("NaN or infinite", "nan_to_num"):
        source.image(0)
    with refuses("a label map of float64 with shape (4, 5)", "numbers of the classes"):
        source.labels(0)


def test_files_of_arrays_and_of_many_channels(tmp_path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    labels = (DEEP[0] > 30_000).astype(np.uint8)
    (tmp_path / "labels/a.png").write_bytes(encoded(Image.fromarray(labels)))
    np.save(tmp_path / "labels/b.npy", labels)
    tiff(tmp_path / "images/a.tif", planarconfig="separate")
    np.save(tmp_path / "images/b.npy", DEEP)
    source = open_pairs([tmp_path])
    assert source.form == (2, 7, True)
    for n in range(2):
        assert np.array_equal(source.pair(n).image, DEEP)
        assert np.array_equal(source.pair(n).labels, labels)
