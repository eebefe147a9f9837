"""Built kernels as files: only their user may write them, and their names hold their content.

Loading a library executes it, and one that is cut short ends the process by a signal. So a file is
loaded only if no other user could have written it and its content has the hash in its name.
"""

import fcntl
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vitrail.errors import UsageError
from vitrail.files import whole_or_absent

_log = logging.getLogger("vitrail.kernels")


def private_folder(folder: Path) -> Path:
    """Return a folder for kernels, made unless it is there.

    Raises:
        UsageError: others may put files there.
        OSError: it cannot be made.
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.stat().st_uid
    if owner not in (0, os.geteuid()):
        raise UsageError(
            f"{folder}, the folder that keeps kernels, which belongs to user {owner}",
            "a folder of your own: what is in it is executed",
            "set VITRAIL_CACHE to one: export VITRAIL_CACHE=~/.cache/vitrail-kernels",
        )
    for place in (folder, *folder.parents):
        status = place.stat()
        # In a sticky folder such as /tmp, others cannot exchange what is ours.
        if _others_write(status) and not (place != folder and status.st_mode & stat.S_ISVTX):
            raise UsageError(
                f"{folder}, the folder that keeps kernels, while others may write in {place}",
                "a folder that only you can write in: what is in it is executed",
                f"chmod go-w {place}, or set VITRAIL_CACHE to another folder",
            )
    return folder


def kept(folder: Path, name: str, build: Callable[[Path], None]) -> Path:
    """Return the file of a kernel, built unless a whole one is there; one process builds at a time.

    Args:
        folder: a ``private_folder``.
        name: of the kernel; it changes with everything that determines the build.
        build: writes the kernel to a path.
    """
    found = _find(folder, name)
    if found is None:
        with _alone(folder):
            found = _find(folder, name) or _add(folder, name, build)
    return found


def _find(folder: Path, name: str) -> Path | None:
    """Return the whole file of a kernel, if there is one; files that do not fit are removed."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        if _fits(path):
            return path
        _log.warning("%s is damaged, or not yours: it is built again", path)
        path.unlink(missing_ok=True)
    return None


def _fits(path: Path) -> bool:
    """Return whether a file is whole, and only its user and root could have written it."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        return False
    return not _others_write(status) and path.stem.endswith(f"-{_digest(path.read_bytes())}")


def _add(folder: Path, name: str, build: Callable[[Path], None]) -> Path:
    with tempfile.TemporaryDirectory() as work:
        built = Path(work) / "kernel.so"
        build(built)
        data = built.read_bytes()
    target = folder / f"{name}-{_digest(data)}.so"
    # The umask takes rights away; it may not give others the right to write, not even for a moment.
    with (
        whole_or_absent(target, mode=0o644) as part,
        open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "wb") as file,
    ):
        file.write(data)
    return target


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other threads and processes that build; a lock that no crash leaves behind."""
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("waiting for another process, which builds kernels: up to 60 s")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:  # a disk without locks; two builders only do the work twice
            _log.info("no lock in %s: %s", folder, error)
        yield
    finally:
        os.close(handle)


def _others_write(status: os.stat_result) -> bool:
    """Return whether others may write: the group counts unless it is the user's own."""
    group = status.st_mode & stat.S_IWGRP and not _own_group(status)
    return bool(status.st_mode & stat.S_IWOTH or group)


def _own_group(status: os.stat_result) -> bool:
    """Return whether a group has no member but the owner, as where each user has a group."""
    import grp
    import pwd

    try:
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid)
    except KeyError:  # of no name
        return False
    return group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
