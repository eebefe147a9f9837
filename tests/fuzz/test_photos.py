"""Damaged photos in every format that is opened: a picture, or the three lines."""

import io
import random

import pytest
from PIL import Image

from tests.fuzz import frame
from vitrail.data.images import FORMATS, ImageError, decode

MODES = {"AVIF": "RGBA", "GIF": "P", "PNG": "LA", "TIFF": "F", "WEBP": "RGBA"}  # else RGB


def photo(kind: str, mode: str) -> bytes:
    """A smooth picture with EXIF data where the format has a place for them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((24, 24)).convert(mode).save(stream, kind, exif=exif)
    return stream.getvalue()


WHOLE = {kind: [photo(kind, mode) for mode in {"RGB", MODES.get(kind, "RGB")}] for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_last_byte_of_every_format(kind) -> None:
    for whole in WHOLE[kind]:
        for data in (whole[:-1] + b"\0", whole[:-1], whole + b"\0"):
            try:
                assert decode(data, "x").image.mode == "RGB"
            except ImageError as error:
                assert error.fix


@frame.LONG
def test_photos() -> None:
    def case(rng: random.Random) -> None:
        data = frame.mutated(rng, rng.choice(WHOLE[rng.choice(FORMATS)]))
        with frame.nothing_executed():
            image = decode(data, "x").image
        assert image.mode == "RGB"
        assert min(image.size) > 0

    outcomes = frame.fuzz("photos", case, at_least=200, memory=2 << 30)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0
