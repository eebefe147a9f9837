"""Files of data by their names, whether they lie in a folder or in zips."""

import os
import stat
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

from vitrail.data.images import MAX_BYTES, ImageError
from vitrail.errors import UsageError

MAX_ENTRY_BYTES = 128 << 20  # unpacked; an entry is held in memory while it is decoded


@runtime_checkable
class Store(Protocol):
    """Files that can be read in any order, from any process."""

    @property
    def shown(self) -> str:
        """Where it is, for messages."""
        ...

    def entries(self) -> list[str]:
        """Names of the files, sorted, with ``/`` between folders; hidden ones are left out."""
        ...

    def name(self, entry: str) -> str:
        """What to call a file in a message: its path."""
        ...

    def read(self, entry: str) -> bytes:
        """The content of a file.

        Raises:
            ImageError: it is too large, or cannot be read.
        """
        ...


class FolderStore:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def shown(self) -> str:
        """The folder's path."""
        return str(self.root)

    def entries(self) -> list[str]:
        """Names of the files below it.

        Raises:
            UsageError: a folder cannot be listed.
        """
        found: list[str] = []
        try:
            for where, folders, files in os.walk(self.root, onerror=_fail):
                folders[:] = [name for name in folders if not name.startswith(".")]
                here = Path(where).relative_to(self.root)
                found += [(here / name).as_posix() for name in files if not name.startswith(".")]
        except OSError as error:
            raise unlisted(self.root, error) from None
        return sorted(found)

    def name(self, entry: str) -> str:
        """The file's path."""
        return str(self.root / entry)

    def read(self, entry: str) -> bytes:
        """The file, whole."""
        path = self.root / entry
        try:
            state = path.stat()
            if not stat.S_ISREG(state.st_mode):  # a pipe would be waited for
                raise unreadable(str(path), "it is no regular file")
            if state.st_size > MAX_BYTES:
                raise ImageError(
                    given=f"{str(path)!r}, a file of {state.st_size:,} bytes",
                    allowed=f"at most {MAX_BYTES:,} bytes",
                    fix="save it smaller, or cut it into several",
                )
            return path.read_bytes()
        except OSError as error:
            raise unreadable(str(path), error) from None


class ZipStore:
    """The files in a zip, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: dict[int, zipfile.ZipFile] = {}

    @property
    def archive(self) -> zipfile.ZipFile:
        """The open zip.

        Raises:
            UsageError: its table of contents is damaged.
        """
        # A handle shared by two processes would share its file position, so each process opens its
        # own.
        process = os.getpid()
        if process not in self._open:
            try:
                archive = zipfile.ZipFile(self.path)
            except Exception as error:  # a damaged table of contents breaks it in many ways
                raise UsageError(
                    given=f"{str(self.path)!r}, which is no readable zip ({error})",
                    allowed="a whole zip",
                    fix="copy or download it again",
                ) from None
            self._open[process] = archive
            # In a cycle of references the file could be destroyed before the archive closes it.
            weakref.finalize(self, archive.close)
        return self._open[process]

    def __getstate__(self) -> dict[str, Any]:
        """Open files do not travel to worker processes."""
        return {**self.__dict__, "_open": {}}

    @property
    def shown(self) -> str:
        """The zip's path."""
        return str(self.path)

    def entries(self) -> list[str]:
        """Names of the files in it."""
        names = (name for name in self.archive.namelist() if not name.endswith("/"))
        return sorted(name for name in names if PurePosixPath(name).parts and not is_hidden(name))

    def name(self, entry: str) -> str:
        """The zip's path and the entry's name in it."""
        return f"{self.path}/{entry}"

    def read(self, entry: str) -> bytes:
        """The entry, unpacked."""
        size = self.archive.getinfo(entry).file_size
        if size > MAX_ENTRY_BYTES:
            raise ImageError(
                given=f"{self.name(entry)!r}, which unpacks to {size:,} bytes",
                allowed=f"at most {MAX_ENTRY_BYTES:,} bytes for a picture in a zip",
                fix="save the picture smaller, or unpack the zip into a folder",
            )
        try:
            with self.archive.open(entry) as file:
                return file.read(size)  # of no limit, `read` would hold it twice
        except Exception as error:  # each method of compression raises errors of its own
            raise unreadable(self.name(entry), error) from None


def is_hidden(name: str) -> bool:
    """Whether an entry of a zip is none of the user's own files."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def unreadable(name: str, why: object) -> ImageError:
    """The error for a file that is there and cannot be read."""
    return ImageError(
        given=f"{name!r}, which cannot be read ({why})",
        allowed="a whole picture file",
        fix="copy or download it again, or leave it out",
    )


def unlisted(root: Path, error: OSError) -> UsageError:
    """The error for a folder that cannot be listed."""
    return UsageError(
        given=f"the folder {str(error.filename or root)!r}, which cannot be listed "
        f"({error.strerror or error})",
        allowed="folders that this user may list",
        fix="change the folder's rights, or move it out of the data",
    )


def paths_of(stores: Sequence[Store]) -> str:
    """Where several stores are, for messages."""
    return ", ".join(store.shown for store in stores)


def _fail(error: OSError) -> None:
    raise error
