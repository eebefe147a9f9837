"""Every strange photo is either the right RGB picture or the three-line error."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from vitrail.data import images
from vitrail.data.images import ImageError, decode, open_photo
from vitrail.errors import UsageError

RED = (200, 30, 40)


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def pixels(path: Path) -> np.ndarray:
    photo = open_photo(path)
    assert photo.image.mode == "RGB"
    return np.asarray(photo.image)


def test_plain(tmp_path) -> None:
    photo = open_photo(saved(Image.new("RGB", (5, 3), RED), tmp_path / "a.png"))
    assert photo.image.size == (5, 3)
    assert photo.image.getpixel((2, 1)) == RED
    assert photo.notes == ()


def test_jpeg_without_exif_outlives_its_file(tmp_path) -> None:
    path = saved(Image.new("RGB", (16, 16), RED), tmp_path / "a.jpg", quality=100)
    photo = open_photo(path)
    path.unlink()
    assert np.abs(np.asarray(photo.image).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF", "PPM", "GIF", "ICO", "TGA", "AVIF"])
def test_formats(kind, tmp_path) -> None:
    path = saved(Image.new("RGB", (16, 16), RED), tmp_path / "a", format=kind)
    assert np.abs(pixels(path).astype(int) - RED).max() <= 6


def test_an_ending_does_not_matter(tmp_path) -> None:
    path = saved(Image.new("RGB", (4, 4), RED), tmp_path / "photo.txt", format="PNG")
    assert pixels(path).shape == (4, 4, 3)


# ---- colours ---------------------------------------------------------------------------------


def test_cmyk(tmp_path) -> None:
    path = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "a.jpg", quality=100)
    found = pixels(path)
    assert np.abs(found.astype(int) - (255, 0, 0)).max() <= 6
    assert "CMYK" in open_photo(path).notes[0]


def test_sixteen_bit_grey_png(tmp_path) -> None:
    values = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    path = saved(Image.fromarray(values), tmp_path / "a.png")
    assert pixels(path)[..., 0].tolist() == [[0, 100], [200, 255]]
    assert "16-bit" in open_photo(path).notes[0]


def test_sixteen_bit_big_endian_tiff(tmp_path) -> None:
    values = np.array([[0, 257 * 7], [257 * 99, 65535]], dtype=">u2")
    data = values.tobytes()
    image = Image.frombytes("I;16B", (2, 2), data)
    path = saved(image, tmp_path / "a.tif")
    assert pixels(path)[..., 1].tolist() == [[0, 7], [99, 255]]


def test_thirty_two_bit_and_float(tmp_path) -> None:
    wide = np.array([[-100000, 0], [50000, 100000]], dtype=np.int32)
    path = saved(Image.fromarray(wide), tmp_path / "i.tif")
    assert pixels(path)[..., 0].tolist() == [[0, 128], [191, 255]]
    assert "stretched" in open_photo(path).notes[0]
    unit = np.array([[0.0, 0.2], [0.6, 1.0]], dtype=np.float32)
    path = saved(Image.fromarray(unit), tmp_path / "f.tif")
    assert pixels(path)[..., 2].tolist() == [[0, 51], [153, 255]]
    flat = saved(Image.fromarray(np.full((2, 2), 7e5, np.float32)), tmp_path / "flat.tif")
    assert pixels(flat).max() == 0


def test_values_that_are_not_finite(tmp_path) -> None:
    values = np.array([[0.0, np.nan]], dtype=np.float32)
    path = saved(Image.fromarray(values), tmp_path / "nan.tif")
    with pytest.raises(UsageError, match=r"nan\.tif.*not finite[\s\S]*fix: copy"):
        open_photo(path)


def test_palette(tmp_path) -> None:
    image = Image.new("RGB", (4, 4), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    assert pixels(saved(image, tmp_path / "a.png"))[0, 0].tolist() == list(RED)


def test_palette_with_a_transparent_colour(tmp_path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 30, 40])
    image.putpixel((1, 1), 1)
    path = saved(image, tmp_path / "a.png", transparency=0)
    found = pixels(path)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 1].tolist() == list(RED)
    assert "white" in open_photo(path).notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode, tmp_path) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    path = saved(image.convert(mode), tmp_path / "a.png")
    assert pixels(path)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_half_transparent() -> None:
    stream = io.BytesIO()
    Image.new("RGBA", (1, 1), (255, 0, 0, 128)).save(stream, "PNG")
    assert decode(stream.getvalue(), "x").image.getpixel((0, 0)) == (255, 127, 127)


def test_opaque_alpha_is_not_mentioned(tmp_path) -> None:
    path = saved(Image.new("RGBA", (2, 2), (*RED, 255)), tmp_path / "a.png")
    assert open_photo(path).notes == ()


def test_black_and_white(tmp_path) -> None:
    path = saved(Image.new("1", (3, 3), 1), tmp_path / "a.png")
    assert pixels(path).min() == 255


# ---- orientation and frames ------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation, tmp_path) -> None:
    """All eight orientations show the same upright picture."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255  # top left
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    path = saved(stored, tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    found = pixels(path).astype(int)
    assert found.shape == upright.shape
    assert np.abs(found - upright).max() < 60
    assert bool(open_photo(path).notes) == (orientation != 1)


def test_damaged_exif(tmp_path) -> None:
    path = saved(Image.new("RGB", (8, 8), RED), tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff")
    assert pixels(path).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_shows_its_first_frame(kind, tmp_path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    options = {} if kind == "TIFF" else {"duration": 100}
    if kind == "WEBP":
        options["lossless"] = True
    path = tmp_path / "a"
    frames[0].save(path, format=kind, save_all=True, append_images=frames[1:], **options)
    found = pixels(path)
    assert np.abs(found.astype(int) - RED).max() <= 8
    assert "3 frames; only the first" in open_photo(path).notes[0]


# ---- sizes -----------------------------------------------------------------------------------


def test_one_pixel(tmp_path) -> None:
    assert pixels(saved(Image.new("RGB", (1, 1), RED), tmp_path / "a.png")).tolist() == [[[*RED]]]


def test_zero_size(tmp_path) -> None:
    path = tmp_path / "zero.png"
    path.write_bytes(png_header(0, 5))
    with pytest.raises(UsageError, match=r"zero\.png[\s\S]*fix: "):
        open_photo(path)


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (12_000, 10_000)])
def test_decompression_bomb(width, height, tmp_path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(UsageError, match=r"bomb\.png.*pixels[\s\S]*100,000,000[\s\S]*scale"):
        open_photo(path)


def test_endless_strip(tmp_path) -> None:
    path = saved(Image.new("L", (4000, 2)), tmp_path / "strip.png")
    with pytest.raises(UsageError, match=r"4000 x 2 pixels[\s\S]*200 times[\s\S]*crop"):
        open_photo(path)


# ---- no picture ------------------------------------------------------------------------------


def test_missing(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"gone\.jpg.*does not exist[\s\S]*check the path"):
        open_photo(tmp_path / "gone.jpg")


def test_folder(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"not a file[\s\S]*name the pictures themselves"):
        open_photo(tmp_path)


def test_empty_file(tmp_path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UsageError, match=r"empty\.jpg.*no picture[\s\S]*PNG or JPEG"):
        open_photo(tmp_path / "empty.jpg")


@pytest.mark.parametrize("content", [b"hello", b"%PDF-1.7\n", b"<svg></svg>", b"\xff\xd8\xff"])
def test_no_picture(content, tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.jpg[\s\S]*fix: "):
        open_photo(tmp_path / "a.jpg")


def test_postscript_is_not_run(tmp_path) -> None:
    """Pillow would hand an EPS file to Ghostscript."""
    path = saved(Image.new("RGB", (4, 4)), tmp_path / "a.eps")
    with pytest.raises(UsageError, match=r"a\.eps.*no picture in a known format"):
        open_photo(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated(kind, tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    path = tmp_path / "cut"
    path.write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(UsageError, match=r"cut'[\s\S]*fix: "):
        open_photo(path)


def test_an_avif_without_its_last_byte() -> None:
    """Its decoder raises RuntimeError."""
    stream = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(stream, "AVIF")
    with pytest.raises(ImageError, match=r"'x', a damaged or truncated picture \(\w+[\s\S]*copy"):
        decode(stream.getvalue()[:-1] + b"\0", "x")


@pytest.mark.parametrize("error", [RuntimeError("odd"), MemoryError(), OverflowError("big")])
def test_whatever_a_decoder_raises_is_one_error(error, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageError, match=rf"\({error or 'MemoryError'}\)"):
        decode(b"x", "x")


def test_a_file_that_is_too_large(tmp_path) -> None:
    path = tmp_path / "a.avif"
    path.touch()
    os.truncate(path, images.MAX_BYTES + 1)
    with pytest.raises(ImageError, match=r"a\.avif', a file of 536,870,913 bytes[\s\S]*JPEG"):
        open_photo(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_file(tmp_path) -> None:
    path = saved(Image.new("RGB", (4, 4)), tmp_path / "a.png")
    path.chmod(0)
    with pytest.raises(UsageError, match=r"may not read[\s\S]*permissions"):
        open_photo(path)


def test_permission_error_is_reported(tmp_path, monkeypatch) -> None:
    path = saved(Image.new("RGB", (4, 4)), tmp_path / "a.png")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images, "decode", refuse)
    with pytest.raises(UsageError, match=r"a\.png.*may not read[\s\S]*permissions"):
        open_photo(path)


def test_tiff_tags_of_a_wrong_type(tmp_path) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[0x0112] = 300  # no orientation
    path = saved(Image.new("RGB", (4, 6), RED), tmp_path / "a.tif", tiffinfo=info)
    assert pixels(path).shape == (6, 4, 3)
