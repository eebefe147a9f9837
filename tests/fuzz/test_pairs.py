"""Damaged and odd images with label maps: pairs, or the three lines."""

import gzip
import io
import random
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz import frame
from tests.tasks.volumes import nifti
from vitrail.data.dataset import Skipped
from vitrail.data.pairs import load_pairs, open_pairs, split_pairs
from vitrail.data.stores import MAX_ENTRY_BYTES

LABELS = np.arange(16, dtype=np.uint8).reshape(4, 4) % 3
MODES = ("L", "P", "1", "RGB", "RGBA", "LA", "I;16", "I", "F", "CMYK")
FOLDERS = ("images", "labels", "masks", "Images", "label", ".labels", "images/labels")
LISTS = (b"a\nb\nc\n", b"a\na", b"\xff\xfe", b"", b"\0\n\x1b[31m\n")


def picture(rng: random.Random) -> tuple[bytes, str]:
    if rng.random() < 0.2:
        data, suffix = (
            nifti(LABELS.reshape(rng.choice(((2, 2, 4), (4, 2, 2, 1), (4, 4))))),
            "nii.gz",
        )
        data, suffix = rng.choice(((data, suffix), (gzip.decompress(data), "nii")))
        return (frame.mutated(rng, data) if rng.random() < 0.5 else data), suffix
    kind, suffix = rng.choice((("PNG", "png"), ("TIFF", "tif"), ("JPEG", "jpg"), ("PNG", "TIFF")))
    mode = rng.choice(MODES) if rng.random() < 0.4 else "L"
    stream = io.BytesIO()
    try:
        Image.fromarray(LABELS[: rng.choice((4, 4, 4, 3))]).convert(mode).save(stream, kind)
    except (OSError, ValueError):  # a mode that this format, or conversion, has not
        stream = io.BytesIO()
        Image.fromarray(LABELS).save(stream, "PNG")
    data = stream.getvalue()
    return (frame.mutated(rng, data) if rng.random() < 0.4 else data), suffix


def zipped(rng: random.Random) -> bytes:
    stream, files = io.BytesIO(), {}
    for number in range(rng.randrange(1, 6)):
        for folder in ("images", "labels"):
            where = rng.choice(FOLDERS) if rng.random() < 0.03 else folder
            data, suffix = picture(rng)
            files[f"{where}/{number}.{suffix}"] = data
    if rng.random() < 0.2:
        files[rng.choice(("classes.txt", "labels.txt"))] = rng.choice(LISTS)
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return frame.mutated(rng, stream.getvalue()) if rng.random() < 0.2 else stream.getvalue()


@frame.LONG
def test_pairs(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"

    def case(rng: random.Random) -> None:
        path.write_bytes(zipped(rng))
        rows = rng.choice(
            ("id,kind\n0,a\n", "id\n", "kind,kind\n\n", '"', "id,kind,group\n0\n1,,,,\n")
        )
        path.with_suffix(".csv").write_bytes(frame.mutated(rng, rows.encode()))
        with frame.nothing_executed():
            source = open_pairs([path])
            skipped = Skipped(1000)
            kept = load_pairs(split_pairs(source, 0.0, 0)[0], 1 << 20, skipped)
            assert kept is not None
            assert len(kept[0]) + len(skipped.reasons) == len(source)
            for index in range(len(kept[0])):
                pair = kept[0].source.pair(index)
                assert pair.image.shape[1:] == pair.labels.shape
            _ = source.survey

    outcomes = frame.fuzz("pairs", case, memory=MAX_ENTRY_BYTES + (64 << 20))
    assert min(outcomes["accepted"], outcomes["refused"]) > 0
