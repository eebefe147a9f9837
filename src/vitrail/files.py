"""Files that are whole or absent, whoever writes them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Formats of two files: the ending that people name, and that of the file which belongs to it.
_PAIRS = {".xml": ".bin"}  # OpenVINO's graph and weights


def files_of(path: Path) -> list[Path]:
    """Return a file, and the one beside it that belongs to it in its format, if any."""
    second = _PAIRS.get(path.suffix)
    return [path] if second is None else [path, path.with_suffix(second)]


def owner_of(path: Path) -> Path | None:
    """Return the file beside this one that this one belongs to by its name, if there is one."""
    firsts = {second: first for first, second in _PAIRS.items()}
    owner = path.with_suffix(firsts[path.suffix]) if path.suffix in firsts else None
    return owner if owner is not None and os.path.exists(owner) else None


@contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file to write; once written, it takes the place of ``path``.

    A reader finds what was there before or the whole new file, even after a power cut. Who may
    read it is what the umask says, whatever its writer thinks of that. Where its writer writes the
    file that belongs to it (``files_of``) too, both take their places, and there is no moment at
    which the first stands beside the second of another model.

    Args:
        path: the file, in a folder that exists.
    Raises:
        OSError: the folder or the disk does not take it. Nothing half-written is left.
    """
    # The ending stays, as writers look at it; of a long name only so much that there is room.
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")
    # What belongs to the file comes first.
    parts = dict(zip(files_of(temporary)[::-1], files_of(path)[::-1], strict=True))
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()  # so that a writer which writes nothing is seen
        yield temporary
        # Files of other kinds may end so too, and have nothing beside them.
        parts = {part: whole for part, whole in parts.items() if part == temporary or part.exists()}
        for part in parts:
            with part.open("rb") as file:
                os.fsync(file.fileno())
            if part.stat().st_mode != mode:  # safetensors writes for the owner alone
                part.chmod(mode)
        if len(parts) > 1:
            path.unlink(missing_ok=True)
        for part, whole in parts.items():
            part.replace(whole)
        _sync_folder(path.parent)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut, where folders can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
