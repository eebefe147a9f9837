"""Tar shards: what webdataset writes is read, what we write it reads; nothing hostile gets in."""

import io
import json
import pickle
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tasks.pairs import encoded, pair
from vitrail.data import tars
from vitrail.data.dataset import Skipped, Subset, load_into_memory
from vitrail.data.images import ImageError
from vitrail.data.pairs import PairSource, open_pairs
from vitrail.data.shards import ShardImages, write_shards
from vitrail.data.sources import open_source
from vitrail.data.tars import TarStore
from vitrail.errors import UsageError
from vitrail.training.loader import WINDOW, Plan, shards_of


def png(value: int) -> bytes:
    return encoded(Image.new("RGB", (16, 16), (value, value, value)))


def tar(path: Path, *files: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def greys(source: ShardImages) -> list[int]:
    return [int(np.asarray(source.image(n))[0, 0, 0]) for n in range(len(source.labels))]


def test_what_webdataset_writes(tmp_path) -> None:
    """Uneven shards, keys with folders and of any length, and each way to say a class."""
    wds = pytest.importorskip("webdataset")
    long = "deep." * 30 + "er/" + "n" * 90
    with wds.ShardWriter(str(tmp_path / "a-%04d.tar"), maxcount=3, verbose=0) as writer:
        for number, key in enumerate(("x/0", "x/1", long, "3", "4")):
            writer.write({"__key__": key, "png": png(number), "cls": number % 3})
    source = open_source(str(tmp_path / "a-{0000..0001}.tar"))
    assert isinstance(source, ShardImages)
    assert source.classes == ("0", "1", "2")
    assert source.labels.tolist() == [0, 1, 2, 0, 1]
    assert source.shards.tolist() == [0, 0, 0, 1, 1]
    assert greys(source) == [0, 1, 2, 3, 4]
    assert source.name(2) == f"{tmp_path / 'a-0000.tar'}/{long}.png"
    (tmp_path / "classes.txt").write_text("cat\ndog\nowl\n")
    assert open_source(str(tmp_path / "a-*.tar")).classes == ("cat", "dog", "owl")
    with wds.TarWriter(str(tmp_path / "json.tar")) as writer:
        for number, label in enumerate(("owl", "cat")):
            writer.write({"__key__": str(number), "png": png(number), "json": {"label": label}})
    assert open_source(str(tmp_path / "json.tar")).labels.tolist() == [2, 0]


def test_what_webdataset_reads(tmp_path) -> None:
    theirs = pytest.importorskip("webdataset.tariterators")
    samples = [(f"k/{n:03d}", {"png": png(n), "cls": str(n % 2).encode()}) for n in range(7)]
    paths = write_shards(samples, tmp_path, most=3 * len(png(0)))
    assert [path.name for path in paths] == [f"shard-00000{n}.tar" for n in range(3)]
    found = []
    for path in paths:
        with path.open("rb") as file:  # their WebDataset leaves its files open
            members = ({**m, "__url__": ""} for m in theirs.tar_file_iterator(file))
            for row in theirs.group_by_keys(members):
                found.append((row["__key__"], {"png": row["png"], "cls": row["cls"]}))
    assert found == samples
    again = [path.read_bytes() for path in paths]
    assert [p.read_bytes() for p in write_shards(samples, tmp_path, most=3 * len(png(0)))] == again
    with pytest.raises(UsageError, match=r"key 'a.b'[\s\S]*use 'a-b'"):
        write_shards([("a.b", {"png": b""})], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_label_maps(tmp_path) -> None:
    image, labels = pair(0)
    files = {"png": encoded(Image.fromarray(image)), "mask.png": encoded(Image.fromarray(labels))}
    (path,) = write_shards([("a", files), ("b", files)], tmp_path)
    (tmp_path / "shard-000000.csv").write_text("id,kind\na,even\nb,odd")
    source = open_pairs([str(path)])
    assert source.kinds == ("even", "odd")
    assert isinstance(source, PairSource)
    assert source.shards is not None
    assert np.array_equal(source.pair(1).labels, labels)
    assert np.array_equal(np.moveaxis(source.pair(1).image, 0, -1), image)
    tar(tmp_path / "lone.tar", ("a.png", png(0)))
    with pytest.raises(UsageError, match=r"lone.tar/a.png' without its label map[\s\S]*mask.png"):
        open_pairs([str(tmp_path / "lone.tar")])


def test_the_index_is_read_and_made_anew(tmp_path, monkeypatch) -> None:
    path = tar(tmp_path / "a.tar", ("1.png", png(1)), ("1.cls", b"0"))
    members = TarStore(path).members
    scanned, index = tars._scanned, tmp_path / "a.tar.index"
    monkeypatch.setattr(tars, "_scanned", lambda *given: pytest.fail("the headers are read again"))
    assert TarStore(path).members == members
    monkeypatch.setattr(tars, "_scanned", scanned)
    whole = json.loads(index.read_bytes())
    beyond = {**whole, "members": [["1.png", 512, 10**9, ""]]}
    for damage in (b"", b"[]", b"{", json.dumps(beyond).encode(), b'{"format": 1}'):
        index.write_bytes(damage)
        assert TarStore(path).members == members, damage
        assert json.loads(index.read_bytes()) == whole
    tar(path, ("22.png", png(2)), ("22.cls", b"0"))
    assert TarStore(path).members[0].name == "22.png", "of a tar that has changed"
    index.unlink()
    index.mkdir()  # where none can be written
    assert TarStore(path).members[0].name == "22.png"


def test_a_tar_that_breaks_off(tmp_path) -> None:
    """Wherever it does, also between two members."""
    whole = tar(tmp_path / "a.tar", ("1.png", b"x" * 600), ("2.png", b"y" * 100)).read_bytes()
    assert len(TarStore(tmp_path / "a.tar").members) == 2
    for length in (0, 100, 512, 900, 1536, 1600, 2048, 2100, 2560):
        (tmp_path / "b.tar").write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"truncated or damaged[\s\S]*copy or download it"):
            TarStore(tmp_path / "b.tar")
    damaged = bytearray(whole)
    damaged[1536 + 150] ^= 0xFF  # the checksum of the second header
    (tmp_path / "b.tar").write_bytes(damaged)
    with pytest.raises(UsageError, match=r"truncated or damaged"):
        TarStore(tmp_path / "b.tar")


@pytest.mark.parametrize("name", ["../1.png", "/etc/1.png", "a/../../1.png", "a\n.png", "a\\b.png"])
def test_hostile_names(name, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"with a member named[\s\S]*may be hostile"):
        TarStore(tar(tmp_path / "a.tar", (name, b"")))
    assert not (tmp_path / "a.tar.index").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((("1.png", b""), ("1.png", b"")), r"two members named '1.png'"),
        ((("1.png", b""), ("1.PNG", b"")), r"1.png' and '\S*1.PNG'"),
        ((("1.png", b""), ("1.jpg", b"")), r"1.png' and '\S*1.jpg'[\s\S]*one image for a key"),
        ((("cat/1.png", b""),), r"no image with a class[\s\S]*unpack class folders"),
        ((("1.png", b""), ("1.cls", b"-3"), ("2.png", b""), ("2.cls", b"x")), "nothing"),
    ],
)
def test_names_that_collide_or_say_nothing(files, words, tmp_path) -> None:
    path = tar(tmp_path / "a.tar", *files)
    if words == "nothing":
        assert ShardImages([path]).classes == ("-3", "x"), "names, since not all are numbers"
        return
    with pytest.raises(UsageError, match=words):
        ShardImages([path])


def test_a_label_that_no_class_has(tmp_path) -> None:
    path = tar(tmp_path / "a.tar", ("1.png", b""), ("1.cls", b"2"))
    (tmp_path / "classes.txt").write_text("cat\ndog")
    with pytest.raises(UsageError, match=r"the label '2'[\s\S]*cat, dog[\s\S]*classes.txt"):
        ShardImages([path])


def test_members_without_a_partner_are_counted(tmp_path) -> None:
    path = tar(
        tmp_path / "a.tar",
        *(("1.png", png(1)), ("1.cls", b"0"), ("2.png", png(2)), ("3.cls", b"1")),
        *(("._4.png", b"mac"), ("__note.txt", b""), ("README", b"")),
    )
    source, skipped = ShardImages([path]), Skipped(5)
    kept = load_into_memory(Subset(source, np.arange(3)), (16, 16), 1 << 20, skipped)
    assert kept is not None
    assert len(kept) == 1
    assert [*skipped.reasons] == [f"{path}/2.png", f"{path}/3.cls"]
    with pytest.raises(UsageError, match="2 unreadable images"):
        load_into_memory(Subset(source, np.arange(3)), (16, 16), 1 << 20, Skipped(1))


def test_a_range_with_a_gap(tmp_path) -> None:
    for number in (0, 2):
        tar(tmp_path / f"a-{number}.tar", ("1.png", b""), ("1.cls", b"0"))
    with pytest.raises(UsageError, match=r"a-1.tar' does not exist[\s\S]*fetch what is missing"):
        open_source(str(tmp_path / "a-{0..2}.tar"))


def test_a_compressed_tar(tmp_path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(UsageError, match=r"a compressed tar[\s\S]*gunzip"):
        TarStore(tmp_path / "a.tar")
    with pytest.raises(UsageError, match=r"nowhere.tar', which cannot be read"):
        TarStore(tmp_path / "nowhere.tar")


def test_few_tars_are_open_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tars, "MAX_OPEN", 3)
    paths = [tar(tmp_path / f"{n}.tar", ("1.png", png(n)), ("1.cls", b"0")) for n in range(5)]
    source = ShardImages(paths)
    for _ in range(2):
        assert greys(source) == [0, 1, 2, 3, 4]
        assert len(source.stores[0].files._open) == 3
    assert greys(pickle.loads(pickle.dumps(source))) == [0, 1, 2, 3, 4]
    paths[1].write_bytes(paths[1].read_bytes()[:520])
    tars._close(source.stores[1].files._open)
    with pytest.raises(ImageError, match="shorter than when it was indexed"):
        source.image(1)


def test_images_are_drawn_from_few_shards_at_a_time() -> None:
    """All of them, shards in another order each epoch, and the same whatever process draws."""
    lengths = np.random.default_rng(0).integers(1, 9, 30)
    shards = np.repeat(np.arange(30), lengths)
    count = len(shards) // 2 * 2
    shards = shards[:count]
    plan = Plan(images=count, batch=2, seed=5, shards=shards)
    orders = []
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        order = np.concatenate([plan.positions(step) for step in steps])
        assert sorted(order) == [*range(count)]
        orders.append(order)
        first = {int(s): int(np.flatnonzero(shards[order] == s)[0]) for s in set(shards)}
        last = {int(s): int(np.flatnonzero(shards[order] == s)[-1]) for s in set(shards)}
        for place in range(count):
            assert sum(first[s] <= place <= last[s] for s in first) <= WINDOW
        assert any(a > b for a, b in pairwise(order[:20]))
    assert not np.array_equal(*orders)
    ranks = [
        Plan(images=count, batch=2, seed=5, rank=r, processes=2, shards=shards) for r in (0, 1)
    ]
    assert np.array_equal(np.concatenate([r.positions(3) for r in ranks]), plan.positions(3))


def test_a_part_knows_its_shards(tmp_path) -> None:
    paths = [
        tar(
            tmp_path / f"{n}.tar",
            *((f"{i}.{end}", b"0") for i in range(n + 1) for end in ("png", "cls")),
        )
        for n in range(3)
    ]
    part = Subset(ShardImages(paths), np.array([5, 0, 1]))
    assert shards_of(part).tolist() == [2, 0, 1]  # type: ignore[union-attr]
