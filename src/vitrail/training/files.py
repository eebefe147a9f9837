"""Write files whole or not at all."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vitrail.errors import UsageError
from vitrail.files import whole_or_absent

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = (
    "no space left",
    "os error 28",
    "quota exceeded",
    "os error 122",
    "file too large",
    "os error 27",
)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file, in a folder that is made where there is none.

    Args:
        path: the file; one that exists stays whole until the new one is.
        write: writes the file it is given the path of.
    Raises:
        UsageError: if the disk is full; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path), whole_or_absent(path) as temporary:
        write(temporary)


def remove_litter(folder: Path) -> None:
    """Remove what a process that was killed had begun to write into a folder."""
    if folder.is_dir():
        for path in folder.glob(".*.part*"):
            path.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, however a library reports it, into an error that says what is still
    safe.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        # safetensors raises its own type, with the system's words in it.
        if not full and not any(word in str(error).lower() for word in _FULL_WORDS):
            raise
        raise UsageError(
            given=f"a full disk while writing {str(path)!r} ({error})",
            allowed="room for two checkpoints and the logs",
            fix="free some space, then run the same command with --resume; "
            "what was written before is whole",
        ) from None
