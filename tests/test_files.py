"""Files are whole or absent, also where two belong together."""

import errno
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vitrail.errors import UsageError
from vitrail.files import (
    check_apart,
    check_folder,
    check_outside,
    check_writable,
    disk_errors,
    remove_litter,
    whole_or_absent,
    write_text,
    write_whole,
)

SOURCE = Path(__file__).parents[1] / "src" / "vitrail"


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("before")
    with pytest.raises(RuntimeError), whole_or_absent(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    with whole_or_absent(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
        assert temporary.suffix == ".pt2"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_graph_never_stands_beside_another_s_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, weights = tmp_path / "m.xml", tmp_path / "m.bin"
    path.write_text("before")
    weights.write_text("before")
    seen, replace = [], Path.replace

    def watched(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        pair = [file.read_text() if file.exists() else None for file in (path, weights)]
        seen.append(pair)
        return moved

    monkeypatch.setattr(Path, "replace", watched)
    with whole_or_absent(path) as temporary:
        temporary.write_text("after")
        temporary.with_suffix(".bin").write_text("after")
    assert seen == [[None, "after"], ["after", "after"]]
    assert sorted(tmp_path.iterdir()) == [weights, path]


def test_a_file_that_is_no_graph_may_end_as_one(tmp_path: Path) -> None:
    path, other = tmp_path / "page.xml", tmp_path / "page.bin"
    other.write_text("of somebody")
    with whole_or_absent(path) as temporary:
        temporary.write_text("a page")
    assert path.read_text() == "a page"
    assert other.read_text() == "of somebody"


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_it_may_be_read_by_whom_the_umask_allows(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with whole_or_absent(tmp_path / "a.xml") as temporary:
            for part in (temporary, temporary.with_suffix(".bin")):
                part.touch(0o600)  # as safetensors does
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~mask}


def test_what_nobody_wrote_takes_no_place(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(FileNotFoundError), whole_or_absent(path):
        pass
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_takes_nothing_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_or_absent(tmp_path / "no" / "a.txt"):
        pytest.fail("it began to write")


def test_long_names_and_two_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".txt")
    with whole_or_absent(path) as first, whole_or_absent(path) as second:
        second.write_text("second")
        first.write_text("first")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_else_renames_files_into_place() -> None:
    renames = re.compile(r"os\.replace\(|\.replace\((path|target)\)|\.rename\(|mkstemp")
    found = {
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        if renames.search(file.read_text(encoding="utf-8"))
    }
    assert not found


def test_writes_and_replaces(tmp_path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        write_whole(path, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.txt"]


def test_the_temporary_file_keeps_its_ending(tmp_path) -> None:
    seen: list[str] = []

    def write(temporary: Path) -> None:
        seen.append(temporary.suffix)
        temporary.touch()

    write_whole(tmp_path / "a.safetensors", write)
    assert seen == [".safetensors"]


def test_a_failure_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk(error, tmp_path) -> None:
    with (
        pytest.raises(UsageError, match=r"full disk.*a\.bin[\s\S]*free some space"),
        disk_errors(tmp_path / "a.bin"),
    ):
        raise error


def test_other_errors_pass() -> None:
    with pytest.raises(OSError, match="Input/output"), disk_errors(Path("a")):
        raise OSError(errno.EIO, "Input/output error")
    with pytest.raises(UsageError, match="one"), disk_errors(Path("a")):
        raise UsageError("one", "two", "three")


def test_litter(tmp_path) -> None:
    for name in (".a.7.part.safetensors", "a.safetensors", ".hidden"):
        (tmp_path / name).touch()
    remove_litter(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "a.safetensors"]
    remove_litter(tmp_path / "gone")


def test_a_disk_that_really_refuses(tmp_path) -> None:
    """With a limit of 64 kB a file, safetensors fails in the middle of writing."""
    code = f"""
import torch
from pathlib import Path
from vitrail.training.checkpoint import Checkpoint, write
from vitrail.errors import UsageError
out = Path({str(tmp_path)!r})
write(out, 1, Checkpoint({{"model.a": torch.ones(10)}}, {{}}))
try:
    write(out, 2, Checkpoint({{"model.a": torch.ones(100_000)}}, {{}}))
except UsageError as error:
    print(error)
"""
    limit = (64 * 1024, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        check=False,
    )
    assert "given: a full disk while writing" in done.stdout, done.stderr
    assert "step-00000002.safetensors" in done.stdout
    assert "run the same command with --resume" in done.stdout
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000001.safetensors"]


def test_text_keeps_the_bytes_of_names(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")  # Latin-1, as old archives have it
    write_text(tmp_path / "new" / "a.csv", f"{name}\nÅ\n")
    assert (tmp_path / "new" / "a.csv").read_bytes() == b"caf\xe9.png\n" + "Å\n".encode()


def test_a_place_to_write(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep" / "a.json")
    check_folder(tmp_path / "new")
    assert not list(tmp_path.iterdir()), "nothing is left"


def test_no_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"-o .*, which is a folder[\s\S]*fix: name a file in it: -o"
    ):
        check_writable(tmp_path, "-o")
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for wrong in ("file", "dangling"):
        with pytest.raises(
            UsageError, match=rf"--output .*{wrong}.*\(.*(not a dir|no such)[\s\S]*fix:"
        ):
            check_folder(tmp_path / wrong / "run", "--output")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=r"permission denied[\s\S]*change the rights"):
        check_folder(tmp_path / "run")
    tmp_path.chmod(0o700)


def test_what_is_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read = tmp_path / "w.pth"
    read.write_bytes(b"numbers")
    (tmp_path / "sub").mkdir()
    os.link(read, tmp_path / "hard.pth")
    (tmp_path / "soft.pth").symlink_to("w.pth")
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    for out in ("w.pth", "./sub/../w.pth", "hard.pth", "soft.pth", "folder/w.pth", str(read)):
        with pytest.raises(
            UsageError, match=r"which is the file that is read[\s\S]*fix: write .*-new"
        ):
            check_apart(out, None, "bundled", read)
    (tmp_path / "other.pth").write_bytes(b"numbers")
    for folder in (tmp_path, "folder"):  # and files in a folder that is read
        with pytest.raises(UsageError, match="is read"):
            check_apart("soft.pth", folder)
    check_apart("other.pth", read, None, "owner/name", "a\0b")
    check_apart("new.pth", read, tmp_path)


def test_results_stay_outside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers" / "rose").mkdir(parents=True)
    (tmp_path / "link").symlink_to("flowers", target_is_directory=True)
    for out in ("flowers", "flowers/run/1", "link/rose", "new/../flowers"):
        with pytest.raises(UsageError, match=r"in the folder of images [\s\S]*flowers-results"):
            check_outside(Path(out), None, "owner/name", "a\0b", "flowers")
    check_outside(Path("flowers-2"), "flowers")
    check_outside(tmp_path, "flowers")
