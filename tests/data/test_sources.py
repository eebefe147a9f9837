import gc
import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrail.data.images import ImageError
from vitrail.data.sources import FolderSource, TorchvisionSource, ZipSource, open_source, relabel
from vitrail.errors import UsageError


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


def make_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def make_folder(root: Path, entries: dict[str, bytes]) -> Path:
    for name, data in entries.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            (root / name).write_bytes(data)
        else:
            (root / name).mkdir(exist_ok=True)
    return root


ENTRIES = {"dog/1.png": png(10), "cat/2.PNG": png(20), "cat/deep/1.jpg": png(30)}


def shown(source) -> list[tuple[str, int]]:
    return [
        (source.classes[label], source.image(i).getpixel((0, 0))[0])
        for i, label in enumerate(source.labels)
    ]


# ---- what is read ----------------------------------------------------------------------------


def test_folder_and_zip_read_the_same(tmp_path) -> None:
    folder = open_source(make_folder(tmp_path / "f", ENTRIES))
    zipped = open_source(make_zip(tmp_path / "z.zip", ENTRIES))
    assert isinstance(folder, FolderSource)
    assert isinstance(zipped, ZipSource)
    assert shown(folder) == shown(zipped) == [("cat", 20), ("cat", 30), ("dog", 10)]
    assert folder.labels.dtype == np.int64
    assert folder.name(2).endswith("f/dog/1.png")
    assert zipped.name(2).endswith("z.zip/dog/1.png")


def test_several_zips_by_pattern_or_by_name(tmp_path) -> None:
    one = make_zip(tmp_path / "t-1.zip", {"a/1.png": png(1), "b/1.png": png(2)})
    two = make_zip(tmp_path / "t-2.zip", {"b/1.png": png(3), "c/1.png": png(4)})
    expected = [("a", 1), ("b", 2), ("b", 3), ("c", 4)]
    assert shown(open_source(str(tmp_path / "t-*.zip"))) == expected
    assert shown(open_source([one, two])) == expected


def test_a_file_whose_name_looks_like_a_pattern(tmp_path) -> None:
    path = make_zip(tmp_path / "t[1].zip", {"a/1.png": png(1)})
    assert len(open_source(path).labels) == 1


def test_one_top_folder_in_a_zip_is_passed(tmp_path) -> None:
    path = make_zip(tmp_path / "z.zip", {f"photos/{k}": v for k, v in ENTRIES.items()})
    assert open_source(path).classes == ("cat", "dog")


def test_other_files_are_left_out(tmp_path) -> None:
    extra = {
        "README.md": b"",
        "cat/notes.txt": b"",
        "cat/.hidden.png": png(0),
        ".git/x.png": png(0),
        "__MACOSX/cat/._2.png": b"",
        "top.png": png(0),
    }
    assert len(open_source(make_zip(tmp_path / "z.zip", ENTRIES | extra)).labels) == 3
    del extra["__MACOSX/cat/._2.png"]
    assert len(open_source(make_folder(tmp_path / "f", ENTRIES | extra)).labels) == 3


def test_a_zip_travels_to_other_processes(tmp_path) -> None:
    source = open_source(make_zip(tmp_path / "z.zip", ENTRIES))
    source.image(0)
    assert shown(pickle.loads(pickle.dumps(source))) == shown(source)


def test_each_process_opens_a_zip_for_itself(tmp_path, monkeypatch) -> None:
    """After a fork, one handle in two processes would share its position in the file."""
    source = open_source(make_zip(tmp_path / "z.zip", ENTRIES))
    assert isinstance(source, ZipSource)
    mine = source.stores[0].archive
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert source.stores[0].archive is not mine


def test_a_source_that_is_gone_leaves_no_file_open(tmp_path) -> None:
    source = ZipSource([make_zip(tmp_path / "z.zip", ENTRIES)])
    archive = source.stores[0].archive
    assert archive.fp is not None
    del source
    gc.collect()
    assert archive.fp is None


def test_real_zips(data_dir) -> None:
    source = open_source(str(data_dir / "cifar10" / "test.zip"))
    assert np.bincount(source.labels).tolist() == [1000] * 10
    assert source.classes[:2] == ("airplane", "automobile")
    assert source.image(9999).size == (32, 32)


# ---- what is wrong ---------------------------------------------------------------------------


def test_empty_class_in_a_folder(tmp_path) -> None:
    make_folder(tmp_path / "f", {**ENTRIES, "bird/": b"", "ant/readme.txt": b""})
    expected = r"class folder 'ant'.*no image \(and 1 more[\s\S]*remove the folder 'ant'"
    with pytest.raises(UsageError, match=expected):
        open_source(tmp_path / "f")


def test_empty_class_in_a_zip(tmp_path) -> None:
    path = make_zip(tmp_path / "z.zip", {**ENTRIES, "bird/": b""})
    with pytest.raises(UsageError, match=r"'bird'.*no image[\s\S]*fix: remove the folder 'bird'"):
        open_source(path)


def test_images_without_class_folders(tmp_path) -> None:
    make_folder(tmp_path / "f", {"1.png": png(1)})
    with pytest.raises(UsageError, match=r"no class folder[\s\S]*DATA/cat/1\.jpg"):
        open_source(tmp_path / "f")
    with pytest.raises(UsageError, match=r"no class folder[\s\S]*DATA/cat/1\.jpg"):
        open_source(make_zip(tmp_path / "z.zip", {"1.png": png(1)}))


def test_missing(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"gone'.*does not exist[\s\S]*check the path"):
        open_source(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"train-\*\.zip'.*no file matches[\s\S]*check the path"):
        open_source(str(tmp_path / "train-*.zip"))


def test_neither_folder_nor_zip(tmp_path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"a\.bin.*neither a folder nor a zip[\s\S]*DATA/cat"):
        open_source(tmp_path / "a.bin")
    make_folder(tmp_path / "f", ENTRIES)
    with pytest.raises(UsageError, match=r"f', which is a folder among several[\s\S]*DATA/cat"):
        open_source([tmp_path / "f", make_zip(tmp_path / "z.zip", ENTRIES)])


def test_truncated_zip(tmp_path) -> None:
    path = make_zip(tmp_path / "z.zip", ENTRIES)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UsageError, match=r"z\.zip'.*damaged or truncated[\s\S]*download it again"):
        open_source(path)


def test_unreadable_table_of_contents(tmp_path) -> None:
    path = make_zip(tmp_path / "z.zip", ENTRIES)
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    data[start : start + 4] = b"XXXX"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"z\.zip.*no readable zip[\s\S]*copy or download"):
        open_source(path)


def test_damaged_entry(tmp_path) -> None:
    path = make_zip(tmp_path / "z.zip", {"a/1.png": png(1), "a/2.png": png(2)})
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    source = open_source(path)
    with pytest.raises(UsageError, match=r"a/1\.png.*cannot be read[\s\S]*leave it out"):
        source.image(0)
    assert source.image(1).getpixel((0, 0)) == (2, 2, 2)


def test_an_entry_that_claims_to_be_huge(tmp_path) -> None:
    path = make_zip(tmp_path / "z.zip", {"a/1.png": png(1)})
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    data[start + 24 : start + 28] = struct.pack("<I", 0x7FFFFFFF)
    path.write_bytes(data)
    with pytest.raises(
        ImageError, match=r"a/1.png', which unpacks to 2,147,483,647[\s\S]*134,217,728[\s\S]*unpack"
    ):
        open_source(path).image(0)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_entry_whose_compression_is_damaged(method, tmp_path) -> None:
    """Each method of compression has errors of its own."""
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/1.png", png(1) + os.urandom(50) + bytes(4000))
    data = bytearray(path.read_bytes())
    for place in range(45, 120):
        data[place] ^= 0x5A
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a/1\.png.*cannot be read[\s\S]*leave it out"):
        open_source(path).image(0)


def test_a_pipe_is_not_waited_for(tmp_path) -> None:
    folder = make_folder(tmp_path / "f", ENTRIES)
    os.mkfifo(folder / "cat" / "0.png")
    with pytest.raises(ImageError, match=r"cat/0\.png.*no regular file[\s\S]*leave it out"):
        open_source(folder).image(0)


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch) -> None:
    """Its images are not left out without a word."""
    folder = make_folder(tmp_path / "f", ENTRIES)

    def walk(top, onerror=lambda error: None):
        onerror(PermissionError(13, "Permission denied", f"{top}/deep"))
        return iter(())

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(UsageError, match=r"cat/deep'.*Permission denied[\s\S]*rights"):
        open_source(folder)


def test_a_tar_has_to_be_unpacked(tmp_path) -> None:
    words = {"my data.tar": "no image with a class", "data.tar.gz": "neither a folder nor"}
    for name, given in words.items():
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(make_folder(tmp_path / "f", ENTRIES), "f")
        with pytest.raises(UsageError, match=rf"{given}[\s\S]*tar -xf '?.*{name}"):
            open_source(tmp_path / name)


def test_file_removed_meanwhile(tmp_path) -> None:
    source = open_source(make_folder(tmp_path / "f", ENTRIES))
    shutil.rmtree(tmp_path / "f" / "dog")
    with pytest.raises(UsageError, match=r"dog/1\.png.*cannot be read[\s\S]*leave it out"):
        source.image(2)


# ---- torchvision -----------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        values = np.arange(count)
        images = np.broadcast_to(values[:, None, None], (count, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(values % 10))
    return tmp_path


def test_torchvision_parts(mnist) -> None:
    train = open_source("torchvision:MNIST", root=mnist)
    test = open_source("torchvision:MNIST", train=False, root=mnist)
    assert isinstance(train, TorchvisionSource)
    assert (len(train.labels), len(test.labels), len(train.classes)) == (20, 10, 10)
    assert train.image(13).mode == "RGB"
    assert train.image(13).getpixel((0, 0)) == (13, 13, 13)
    assert train.labels[13] == 3
    assert train.name(13) == "torchvision:MNIST[13]"


def test_torchvision_without_a_list_of_labels(tmp_path) -> None:
    """FakeData draws everything; its labels are only found by reading each image."""
    source = open_source("torchvision:FakeData", root=tmp_path)
    assert len(source.labels) == 1000
    assert source.classes == tuple(map(str, range(10)))


def test_torchvision_missing_data(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"torchvision:CIFAR10 at[\s\S]*--download"):
        open_source("torchvision:CIFAR10", root=tmp_path)


@pytest.mark.parametrize("name", ["CIFAR11", "utils", ""])
def test_torchvision_unknown_set(name, tmp_path) -> None:
    with pytest.raises(UsageError, match=rf"torchvision:{name}[\s\S]*fix: use one of [A-Z]"):
        open_source(f"torchvision:{name}", root=tmp_path)


def test_torchvision_of_another_task(monkeypatch, mnist) -> None:
    source = open_source("torchvision:MNIST", root=mnist)
    monkeypatch.setattr(source, "_set", [(np.zeros(3), 0)])
    with pytest.raises(UsageError, match=r"gives ndarray[\s\S]*torchvision:CIFAR10"):
        source.image(0)
    monkeypatch.setattr(source, "_set", Unreadable())
    with pytest.raises(UsageError, match=r"MNIST\[0\].*cannot be read[\s\S]*leave it out"):
        source.image(0)


def test_torchvision_labels_of_another_task(monkeypatch, mnist) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets, "FakeData", lambda root: [(0, {"boxes": []})])
    with pytest.raises(UsageError, match=r"FakeData.*no class numbers[\s\S]*torchvision:CIFAR10"):
        TorchvisionSource("FakeData", train=True, root=mnist, download=False)


class Unreadable:
    def __getitem__(self, index: int) -> None:
        raise OSError("disk gone")


def test_without_torchvision(tmp_path) -> None:
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from vitrail.data.sources import open_source\n"
        "open_source('torchvision:MNIST')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        check=False,
    )
    assert "without the package torchvision" in done.stderr
    assert "fix: pip install '.[train]'" in done.stderr


# ---- class numbers ---------------------------------------------------------------------------


def test_relabel(tmp_path) -> None:
    source = open_source(make_zip(tmp_path / "z.zip", ENTRIES))
    model = relabel(source, ("zebra", "dog", "cat"), 3)
    assert shown(model) == shown(source)
    assert model.labels.tolist() == [2, 2, 1]
    assert model.name(0) == source.name(0)


def test_relabel_unknown_class(tmp_path) -> None:
    source = open_source(make_zip(tmp_path / "z.zip", ENTRIES))
    expected = r"class 'dog' for a model of 2[\s\S]*named cat, cow[\s\S]*rename"
    with pytest.raises(UsageError, match=expected):
        relabel(source, ("cat", "cow"), 2)
    with pytest.raises(UsageError, match=r"2 classes for a model of 1000[\s\S]*rename"):
        relabel(source, source.classes, 1000)
