"""One run at a time in a folder: a lock that the system releases when its process ends."""

import os
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path

from vitrail.errors import UsageError
from vitrail.files import check_folder

NAME = ".lock"
_held: set[int] = set()


class FolderLock:
    """The right to write into a run's folder, which one process has at a time.

    The operating system holds the lock for an open file: it ends with ``release`` or with the
    process, also when that is killed. A file that is left behind locks nothing.

    Args:
        folder: the run's folder; it is made where there is none, and removed again by ``release``
            if nothing was written into it.
    Raises:
        UsageError: another process has the lock, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.file: int | None = None
        check_folder(folder, "--output")
        self.path = folder / NAME
        self.made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self.file = self._take()
        _held.add(self.file)

    def _take(self) -> int:
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            if not _lock(file):
                holder = os.read(file, 200).decode(errors="replace") or "another process"
                os.close(file)
                raise UsageError(
                    given=f"the folder {str(self.path.parent)!r}, in which a run goes on: {holder}",
                    allowed="one run at a time in a folder",
                    fix="wait for it or stop it, or use another folder: "
                    f"--output {self.path.parent}-2",
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(self.path)):
                    os.ftruncate(file, 0)
                    os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                    return file
            os.close(file)  # its last holder has removed it meanwhile

    def release(self) -> None:
        """Let other processes have the folder."""
        if self.file is None:
            return
        _held.discard(self.file)
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(self.file)
        with suppress(OSError):
            self.path.unlink()
        if sys.platform != "win32":
            os.close(self.file)
        self.file = None
        if self.made:
            with suppress(OSError):  # it holds the run
                self.path.parent.rmdir()

    __del__ = release


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # beyond the text, which others read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            warnings.warn(
                f"this file system has no locks ({error.strerror}): a second run in the same "
                "folder is not noticed",
                stacklevel=4,
            )
        return True

    def _close_in_child() -> None:
        """Close a forked child's copies, with which it would hold the lock after its parent."""
        for file in _held:
            os.close(file)
        _held.clear()

    os.register_at_fork(after_in_child=_close_in_child)
