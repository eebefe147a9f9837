import errno
import os
import sys
import warnings

import pytest

from vitrail.errors import UsageError
from vitrail.training import lock
from vitrail.training.lock import FolderLock


def test_one_at_a_time(tmp_path) -> None:
    out = tmp_path / "new" / "out"
    first = FolderLock(out)
    with pytest.raises(UsageError, match=rf"out', in which.*process {os.getpid()}[\s\S]*-2"):
        FolderLock(out)
    (out / "steps.csv").touch()
    first.release()
    first.release()
    assert os.listdir(out) == ["steps.csv"]
    FolderLock(out).release()


def test_nothing_is_left_of_a_run_that_wrote_nothing(tmp_path) -> None:
    FolderLock(tmp_path / "out").release()
    assert not (tmp_path / "out").exists()
    (tmp_path / "there").mkdir()
    FolderLock(tmp_path / "there").release()
    assert (tmp_path / "there").exists()


def test_a_file_that_was_left_behind_locks_nothing(tmp_path) -> None:
    (tmp_path / lock.NAME).write_text("process 1 on this machine")
    FolderLock(tmp_path).release()


def test_a_lock_on_a_removed_file_is_no_lock(tmp_path, monkeypatch) -> None:
    """Another process opened the file before its holder removed it."""
    take, calls = lock._lock, []

    def slowly(file: int) -> bool:
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / lock.NAME).unlink()
        return take(file)

    monkeypatch.setattr(lock, "_lock", slowly)
    held = FolderLock(tmp_path)
    assert len(calls) == 2
    assert (tmp_path / lock.NAME).exists()
    held.release()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_worker_that_outlives_its_run_holds_nothing(tmp_path) -> None:
    held = FolderLock(tmp_path)
    ready, go = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads, of which this child uses none
        child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    assert held.file is not None
    os.close(held.file)  # as the system does for a killed process
    lock._held.discard(held.file)
    held.file = None
    try:
        FolderLock(tmp_path).release()
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)


def test_a_file_system_without_locks(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="no locks .No locks available.*second run"):
        FolderLock(tmp_path).release()


def test_a_place_that_is_no_folder(tmp_path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match=r"--output .*out[\s\S]*choose another"):
        FolderLock(tmp_path / "out")
