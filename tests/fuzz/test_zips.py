"""Damaged archives and odd folders as data: labelled images, or the three lines."""

import io
import os
import random
import tarfile
import zipfile
from pathlib import Path

from PIL import Image

from tests.fuzz import frame
from vitrail.data.dataset import Skipped, load_into_memory, split
from vitrail.data.sources import LabelledImages, open_source
from vitrail.data.stores import MAX_ENTRY_BYTES
from vitrail.errors import UsageError

NAMES = ("cat/1.png", "cat/deep/2.png", "dog/1.jpg", "dog/", "top/cat/1.png", "top/dog/2.png")
ODD = (
    "/", "//", ".", "..", "../../up/1.png", "/etc/1.png", "cat\\1.png", "cat/.png", ".cat/1.png",
    "cat/1.png/2.png", "a\0/1.png", "é/\ud800.png", "a" * 250 + "/1.png", "cat/1.PNG", "cat//1.png",
    "__MACOSX/cat/1.png", "CON/nul.png", "cat/\x1b[31m.png", "cat/1\n2.png",
)  # fmt: skip
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, "PNG")
    return stream.getvalue()


PNG = png()


def names(rng: random.Random) -> list[str]:
    """Entries of an archive: mostly a good layout, some of any kind, some twice."""
    return [rng.choice(NAMES if rng.random() < 0.8 else ODD) for _ in range(rng.randrange(1, 12))]


def content(rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return frame.mutated(rng, PNG)
    return bytes(3 << 20) if kind == 1 else PNG


def zipped(rng: random.Random) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice(METHODS)) as archive:
        for name in names(rng):
            entry = name.encode("utf-8", "replace").decode()
            if not archive.NameToInfo.get(
                zipfile.ZipInfo(entry).filename
            ):  # a name twice is a warning
                archive.writestr(entry, content(rng))
    return frame.mutated(rng, stream.getvalue()) if rng.random() < 0.7 else stream.getvalue()


def use(source: LabelledImages) -> None:
    """Read everything, as training does."""
    subset = split(source, 0.0, 0)[0]
    skipped = Skipped(1000)
    loaded = load_into_memory(subset, (4, 4), 1 << 20, skipped)
    if loaded is not None:
        assert len(loaded) + len(skipped.reasons) >= len(set(map(source.name, subset.indices)))
    for index in subset.indices:
        try:
            assert source.image(int(index)).mode == "RGB"
        except UsageError as error:
            assert error.fix


@frame.LONG
def test_zips(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"

    def case(rng: random.Random) -> None:
        path.write_bytes(zipped(rng))
        with frame.nothing_executed():
            use(open_source(path))

    outcomes = frame.fuzz("zips", case, memory=MAX_ENTRY_BYTES + (64 << 20))
    assert min(outcomes["accepted"], outcomes["refused"]) > 0


@frame.LONG
def test_tars_and_other_files(tmp_path: Path) -> None:
    """What is no zip is refused before anything in it is unpacked."""

    def case(rng: random.Random) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=rng.choice(("w", "w:gz"))) as archive:
            for name in names(rng):
                archive.addfile(tarfile.TarInfo(name.encode("utf-8", "replace").decode()))
        path = tmp_path / f"data{rng.choice(('.tar', '.tar.gz', '.zip', ''))}"
        path.write_bytes(frame.mutated(rng, stream.getvalue()))
        # The index of a tar is written beside it, by way of a temporary file.
        with frame.nothing_executed("os.remove"):
            open_source(path)

    outcomes = frame.fuzz("tars", case, at_least=10)
    assert outcomes["accepted"] == 0
    assert {path.name[:4] for path in tmp_path.iterdir()} == {"data"}, "nothing was unpacked"


@frame.LONG
def test_folders(tmp_path: Path) -> None:
    counter = iter(range(1 << 30))

    def case(rng: random.Random) -> None:
        root = tmp_path / str(next(counter))
        for _ in range(rng.randrange(1, 9)):
            _put(rng, root, root / rng.choice(("cat", "dog", ".git", "caf\udce9")))
        with frame.nothing_executed():
            use(open_source(root))

    outcomes = frame.fuzz("folders", case)
    assert min(outcomes["accepted"], outcomes["refused"]) > 0


def _put(rng: random.Random, root: Path, folder: Path) -> None:
    """Put one thing into a class folder, or in its place."""
    folder.parent.mkdir(exist_ok=True)
    if not os.path.lexists(folder):
        if rng.random() < 0.1:
            folder.symlink_to(rng.choice((root, "gone", folder)))
            return
        folder.mkdir()
    path = folder / rng.choice(
        ("1.png", "2.png", "n\udce9.jpg", "a\nb.png", ".hidden.png", "x.txt")
    )
    kind = rng.randrange(8)
    if os.path.lexists(path) or not folder.is_dir():
        return
    if kind == 0:
        path.symlink_to(rng.choice((folder, "gone", path)))
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.mkdir()
    else:
        path.write_bytes(content(rng))
