import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from vitrail.errors import UsageError
from vitrail.training.files import disk_errors, remove_litter, write_whole

SOURCE = str(Path(__file__).parents[2] / "src")


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
        pytest.raises(UsageError, match=r"full disk.*a\.bin[\s\S]*--resume"),
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
        env={**os.environ, "PYTHONPATH": SOURCE},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        check=False,
    )
    assert "given: a full disk while writing" in done.stdout, done.stderr
    assert "step-00000002.safetensors" in done.stdout
    assert "fix: free some space" in done.stdout
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000001.safetensors"]
