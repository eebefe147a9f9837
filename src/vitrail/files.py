"""Files that are whole or absent."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vitrail.errors import UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = (
    "no space left",
    "os error 28",
    "quota exceeded",
    "os error 122",
    "file too large",
    "os error 27",
)
_AGAIN = "free some space, then run the same command again; what was written before is whole"

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


def check_apart(
    out: str | Path, *inputs: str | Path | None, instead: str | Path | None = None
) -> None:
    """Refuse to write over a file that is read, whatever path or link leads to it.

    Args:
        out: the file to write.
        inputs: what is read; a folder stands for the files in it; None, and what is not here, is
            left out.
        instead: the name that the error proposes; default one beside ``out``.
    Raises:
        UsageError: one of ``inputs`` is ``out``.
    """
    for given in inputs:
        if given is not None and any(_same(out, read) for read in _files_in(given)):
            path = Path(out)
            raise UsageError(
                f"{out} as the file to write, which is the file that is read ({given})",
                "a file of its own: what is read is never written over",
                f"write {instead or path.with_stem(path.stem + '-new')}",
            )


def check_outside(folder: Path, *inputs: str | Path | None, option: str = "--output") -> None:
    """Refuse to write a folder of results into a data set, which would then have another class.

    Args:
        folder: the folder to write, which need not exist yet.
        inputs: what is read; None, and what is no folder here, is left out.
        option: the option that gave it, for the error.
    Raises:
        UsageError: ``folder`` is one of ``inputs``, or inside it.
    """
    place = folder.expanduser().resolve()
    for given in inputs:
        if given is None or not os.path.isdir(given):
            continue
        root = Path(given).resolve()
        if any(_same(root, above) for above in (place, *place.parents)):
            raise UsageError(
                f"{option} {folder}, in the folder of images {given}",
                "a folder outside it: what is written there would be read as images of a class",
                f"use {option} {root.parent / (root.name + '-results')}",
            )


def _files_in(given: str | Path) -> list[str | Path]:
    return [given, *Path(given).iterdir()] if os.path.isdir(given) else [given]


def _same(one: str | Path, other: str | Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them is not there
        return False


@contextmanager
def whole_or_absent(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Give the path of a temporary file to write; once written, it takes the place of ``path``.

    A reader finds what was there before or the whole new file, even after a power cut. Who may
    read it is what the umask says, whatever its writer thinks of that. Where its writer writes the
    file that belongs to it (``files_of``) too, both take their places, and there is no moment at
    which the first stands beside the second of another model.

    Args:
        path: the file, in a folder that exists.
        mode: rights, from which the umask takes.
    Raises:
        OSError: the folder or the disk does not take it. Nothing half-written is left.
    """
    # The ending stays, as writers look at it; of a long name only so much that there is room.
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")
    # What belongs to the file comes first.
    parts = dict(zip(files_of(temporary)[::-1], files_of(path)[::-1], strict=True))
    try:
        temporary.touch(mode)
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


def write_whole(path: Path, write: Callable[[Path], object], *, fix: str = _AGAIN) -> None:
    """Write a file whole or not at all; its folder is made where there is none.

    Args:
        path: the file; one that exists stays whole until the new one is.
        write: takes the path of a temporary file and writes it.
        fix: what to do when the disk is full.
    Raises:
        UsageError: the disk is full; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path, fix=fix), whole_or_absent(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, as ``write_whole`` does; names of files keep their bytes."""
    write_whole(path, lambda part: part.write_text(text, "utf-8", "surrogateescape", newline="\n"))


def remove_litter(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder."""
    if folder.is_dir():
        for path in folder.glob(".*.part*"):
            path.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path, *, fix: str = _AGAIN) -> Iterator[None]:
    """Turn a full disk, in whatever words a library reports it, into a ``UsageError``."""
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
            allowed="a disk with room for it",
            fix=fix,
        ) from None


def check_writable(path: Path, option: str = "--output") -> None:
    """Check, before any work, that a file can be written at a path; nothing is left there.

    Folders that are missing on the way count as writable where they can be made.

    Args:
        path: the file.
        option: the option that gave it, for the error.
    Raises:
        UsageError: a folder is in its place, a file is where a folder has to be, or the folder
            takes no new files.
    """
    if path.is_dir():
        raise UsageError(
            given=f"{option} {path}, which is a folder",
            allowed="the path of a file",
            fix=f"name a file in it: {option} {path / 'NAME'}",
        )
    check_folder(path.parent, option)


def check_folder(folder: Path, option: str = "--output") -> None:
    """Check, before any work, that files can be written into a folder, which need not exist yet.

    Args:
        folder: the folder.
        option: the option that gave it, for the error.
    Raises:
        UsageError: there is a file in its place or on the way, or it takes no new files.
    """
    # The nearest folder that is there; a dangling link counts as there and is no folder.
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    probe = there / f".{secrets.token_hex(8)}.part"
    try:
        probe.touch(exist_ok=False)
    except OSError as error:
        raise UsageError(
            given=f"{option} {folder}, where nothing can be written "
            f"({there}: {(error.strerror or str(error)).lower()})",
            allowed="a folder that is there or can be made, in which this user may write",
            fix=f"change the rights of {there}, or choose another place for {option}",
        ) from None
    probe.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut, where folders can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
