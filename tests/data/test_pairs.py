import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrail.data.dataset import Skipped, Subset
from vitrail.data.images import ImageError, decode_labels
from vitrail.data.pairs import PairSource, load_pairs, open_pairs, split_pairs
from vitrail.errors import UsageError

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3


def encoded(image: Image.Image, kind: str = "PNG", **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def photo(height: int = 3, width: int = 4, value: int = 90) -> bytes:
    return encoded(Image.new("RGB", (width, height), (value, value, value)))


def grey(labels: np.ndarray = LABELS, kind: str = "PNG") -> bytes:
    return encoded(Image.fromarray(labels), kind)


FILES = {"images/a.png": photo(), "labels/a.png": grey(), "images/b.jpg": photo(),
         "labels/b.tif": grey(kind="TIFF"), "images/notes.txt": b"mine"}  # fmt: skip


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def opened(tmp_path: Path, files: dict[str, bytes]) -> PairSource:
    source = open_pairs([folder(tmp_path / "data", files)])
    assert isinstance(source, PairSource)
    return source


# ---- what is read ----------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "set/"])
@pytest.mark.parametrize("labels", ["labels", "masks"])
def test_folders_and_zips(tmp_path, top, labels) -> None:
    files = {top + name.replace("labels", labels): data for name, data in FILES.items()}
    for data in (folder(tmp_path / "f", files), zipped(tmp_path / "z.zip", files)):
        source = open_pairs([data])
        assert [Path(source.name(n)).name for n in range(len(source))] == ["a.png", "b.jpg"]
        for n in range(2):
            pair = source.pair(n)
            assert pair.image.shape == (3, 3, 4)
            assert pair.labels.tolist() == LABELS.tolist()
        numbers, colours, _ = source.survey
        assert numbers.tolist() == [0, 1, 2]
        assert colours == ()
        again = pickle.loads(pickle.dumps(source))
        assert np.array_equal(again.pair(1).image, source.pair(1).image)


def test_several_zips_and_a_pattern(tmp_path) -> None:
    for n in range(3):
        zipped(tmp_path / f"train-{n}.zip", {f"images/{n}.png": photo(), f"labels/{n}.png": grey()})
    assert len(open_pairs([str(tmp_path / "train-*.zip")])) == 3


def test_palettes_keep_their_numbers(tmp_path) -> None:
    image = Image.fromarray(LABELS, "P")
    image.putpalette([0, 0, 0, 250, 10, 20, 1, 2, 3])
    source = opened(tmp_path, {"images/a.png": photo(), "labels/a.png": encoded(image)})
    pair = source.pair(0)
    assert pair.labels.tolist() == LABELS.tolist()
    assert pair.colours[:3] == ((0, 0, 0), (250, 10, 20), (1, 2, 3))
    assert source.survey.colours == pair.colours


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_depths(kind) -> None:
    deep = LABELS.astype(np.uint16) * 30_000
    assert decode_labels(grey(deep, kind), "x").numbers.tolist() == deep.tolist()
    whole = decode_labels(encoded(Image.fromarray(LABELS.astype(np.int32)), "TIFF"), "x")
    assert whole.numbers.tolist() == LABELS.tolist()
    one = decode_labels(encoded(Image.fromarray(LABELS == 1), kind), "x")
    assert one.numbers.tolist() == (LABELS == 1).astype(int).tolist()


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_not_spread(bits) -> None:
    """Pillow multiplies such numbers to fill 8 bits."""
    import zlib

    rows = b"\0" + bytes([0b00_01_10_11]) if bits == 2 else b"\0\x01\x23"
    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    file += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert decode_labels(file, "x").numbers.tolist() == [[0, 1, 2, 3]]


def test_classes_come_from_a_list(tmp_path) -> None:
    source = opened(tmp_path, {**FILES, "classes.txt": "sky\n tree\n\nhouse\n".encode("utf-8-sig")})
    assert source.classes == ("sky", "tree", "house")


def test_kinds_and_groups_come_from_a_table(tmp_path) -> None:
    files = {
        f"{f}/{n}.png": d() for n in range(6) for f, d in (("images", photo), ("labels", grey))
    }
    for data in (folder(tmp_path / "set", files), zipped(tmp_path / "set.zip", files)):
        rows = "".join(f"{n},{'day' if n < 3 else 'night'},{n // 2}\n" for n in range(6))
        (tmp_path / "set.csv").write_text("id,kind,group\n" + rows)
        source = open_pairs([data])
        assert source.kinds == ("day",) * 3 + ("night",) * 3
        for seed in range(8):
            train, held = split_pairs(source, 0.3, seed)
            assert sorted([*train.indices, *held.indices]) == [*range(6)]
            assert not {n // 2 for n in train.indices} & {n // 2 for n in held.indices}
    (tmp_path / "set.csv").unlink()
    assert open_pairs([tmp_path / "set"]).kinds == ("",) * 6


def test_the_real_nuclei(data_dir) -> None:
    source = open_pairs([data_dir / "nuclei" / "val.zip"])
    assert len(source) == 68
    assert {kind: source.kinds.count(kind) for kind in set(source.kinds)} == {
        "fluorescence": 54, "stained_light": 12, "brightfield_grey": 2,
    }  # fmt: skip
    assert len(np.unique(source.groups)) == 28
    kept = load_pairs(split_pairs(source, 0.0, 0)[0], 1 << 30, Skipped(0))
    assert kept is not None
    pairs = [kept[0].source.pair(n) for n in range(68)]
    assert sum(int(pair.labels.max()) for pair in pairs) == 2753
    assert kept[1] == sum(pair.image.nbytes + pair.labels.nbytes for pair in pairs)


def test_what_does_not_fit_is_read_as_needed(tmp_path) -> None:
    part = split_pairs(opened(tmp_path, FILES), 0.0, 0)[0]
    assert load_pairs(part, 100, Skipped(0)) is None
    kept = load_pairs(part, 120, Skipped(0))
    assert kept is not None
    assert kept[1] == 2 * 3 * 4 * 5
    assert kept[0].source.name(1) == part.source.name(1)


# ---- what is wrong, at opening ---------------------------------------------------------------

LAYOUTS = {
    "no images": ({"labels/a.png": grey()}, r"no images in images/[\s\S]*DATA/images/1\.png"),
    "no labels": ({"images/a.png": photo()}, r"no label maps[\s\S]*DATA/labels/1\.png"),
    "both": ({**FILES, "masks/a.png": grey()}, r"both labels/ and masks/"),
    "image alone": (
        {**FILES, "images/c.png": photo(), "images/d.png": photo()},
        r"the image '.*c\.png' without.*labels/ \(and 1 more such\)[\s\S]*add labels/c\.png, or",
    ),
    "labels alone": (
        {**FILES, "labels/c.png": grey()},
        r"the label map '.*c\.png' without.*images/[\s\S]*add images/c\.png, or",
    ),
    "one stem twice": (
        {**FILES, "images/a.jpg": photo()}, r"a\.jpg' and '.*a\.png'[\s\S]*remove one of them",
    ),
    "lossy labels": (
        {**FILES, "labels/a.jpg": photo()}, r"a\.jpg', a label map in JPG[\s\S]*save it as PNG",
    ),
    "class twice": ({**FILES, "classes.txt": b"a\nb\na"}, r"'a' twice[\s\S]*correct the list"),
    "no class": ({**FILES, "classes.txt": b"\n"}, r"with no names[\s\S]*remove it"),
    "nothing": ({}, r"no images in images/"),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_layout_that_is_another(tmp_path, case) -> None:
    files, expected = LAYOUTS[case]
    (tmp_path / "f").mkdir()
    with pytest.raises(UsageError, match=expected):
        open_pairs([folder(tmp_path / "f", files)])
    with pytest.raises(UsageError, match=expected):
        open_pairs([zipped(tmp_path / "z.zip", files)])


def test_paths_that_are_no_data(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"does not exist[\s\S]*hold images/ and labels/"):
        open_pairs([tmp_path / "nowhere"])
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(UsageError, match=r"neither a folder nor a zip[\s\S]*DATA/images/1\.png"):
        open_pairs([tmp_path / "x.txt"])
    (tmp_path / "x.zip").write_bytes(zipped(tmp_path / "z.zip", FILES).read_bytes()[:200])
    with pytest.raises(UsageError, match=r"truncated zip[\s\S]*download it again"):
        open_pairs([tmp_path / "x.zip"])


def test_a_part_without_images(tmp_path) -> None:
    source = opened(tmp_path, {"images/a.png": photo(), "labels/a.png": grey()})
    with pytest.raises(UsageError, match=r"1 image\(s\) in 1 group[\s\S]*--val"):
        split_pairs(source, 0.5, 0)
    assert len(split_pairs(source, 0.0, 0)[1]) == 0


# ---- what is wrong, at reading ---------------------------------------------------------------


def pages() -> bytes:
    page = Image.fromarray(LABELS)
    return encoded(page, "TIFF", save_all=True, append_images=[page])


def bomb() -> bytes:
    return encoded(Image.new("1", (12_000, 12_000)))


UNREADABLE = {
    "other size": (grey(LABELS[:2]), r"a label map of 2 x 4 for an image of 3 x 4[\s\S]*as it is"),
    "colours": (photo(), r"a label map in RGB[\s\S]*one number a pixel"),
    "transparent": (encoded(Image.new("LA", (4, 3))), r"a label map in LA"),
    "floats": (encoded(Image.new("F", (4, 3)), "TIFF"), r"a label map in F"),
    "negative": (grey(LABELS.astype(np.int32) - 1, "TIFF"), r"labels from -1 to 1"),
    "too large": (grey(LABELS.astype(np.int32) * 70_000, "TIFF"), r"labels from 0 to 140000"),
    "pages": (pages(), r"a label map of 2 pages"),
    "truncated": (grey()[:-30], r"damaged or truncated"),
    "no picture": (b"\0" * 50, r"no picture in a known format[\s\S]*PNG, TIFF[\s\S]*to PNG"),
    "many pixels": (bomb(), r"12000 x 12000 pixels"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_label_map_that_cannot_be_read(tmp_path, case) -> None:
    data, expected = UNREADABLE[case]
    suffix = "tif" if data[:2] == b"II" else "png"
    files = {**FILES, "images/z.png": photo(), f"labels/z.{suffix}": data}
    source = open_pairs([zipped(tmp_path / "z.zip", files)])
    with pytest.raises(ImageError, match=expected):
        source.pair(2)
    skipped = Skipped(1)
    kept = load_pairs(split_pairs(source, 0.0, 0)[0], 1 << 20, skipped)
    assert kept is not None
    assert len(kept[0]) == 2
    assert [*skipped.reasons] == [source.name(2)]
    assert source.survey.numbers.tolist() == [0, 1, 2]  # of the others
    with pytest.raises(UsageError, match="1 unreadable"):
        load_pairs(split_pairs(source, 0.0, 0)[0], 1 << 20, Skipped(0))


def test_an_entry_that_unpacks_to_too_much(tmp_path) -> None:
    files = {"images/a.png": photo(), "labels/a.png": b"\0" * (129 << 20)}
    source = open_pairs([zipped(tmp_path / "z.zip", files)])
    with pytest.raises(ImageError, match=r"unpacks to 135,266,304 bytes"):
        source.labels(0)


def test_a_survey_of_nothing_that_can_be_read(tmp_path) -> None:
    source = opened(tmp_path, {"images/a.png": photo(), "labels/a.png": photo()})
    with pytest.raises(ImageError, match="a label map in RGB"):
        _ = source.survey
    assert len(Subset(source, np.arange(1))) == 1
