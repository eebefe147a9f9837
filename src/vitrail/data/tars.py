"""Tars read in any order: an index says where each member lies, and few tars are open at once."""

import json
import os
import re
import tarfile
import weakref
from collections import OrderedDict
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from vitrail.data.images import MAX_BYTES, ImageError
from vitrail.data.stores import is_hidden, unreadable
from vitrail.errors import UsageError
from vitrail.files import write_text

MAX_OPEN = 16  # tars of one source, in each process
_FORMAT = 1  # of an index file
_BLOCK = 512
_LABEL_BYTES = 1 << 16  # of a .cls or .json, which the index reads


class Member(NamedTuple):
    """A file in a tar: its name, the first byte and the number of bytes; the text of a small
    ``.cls`` or ``.json``.
    """

    name: str
    offset: int
    size: int
    text: str = ""


class OpenFiles:
    """The open tars of one process; the one that was not used for longest is closed first."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, IO[bytes]] = OrderedDict()
        self._process = os.getpid()
        weakref.finalize(self, _close, self._open)

    def __getstate__(self) -> dict[str, Any]:
        """Open files do not travel to worker processes."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Starts with none open."""
        self.__init__()

    def __getitem__(self, path: Path) -> IO[bytes]:
        """The tar, opened if it is not.

        Raises:
            OSError: it cannot be opened.
        """
        if self._process != os.getpid():  # a forked process would share the files' positions
            _close(self._open)
            self._process = os.getpid()
        if path not in self._open:
            while len(self._open) >= MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[path] = path.open("rb", buffering=0)
        self._open.move_to_end(path)
        return self._open[path]


class TarStore:
    """The files in a tar, read in place.

    The first use writes ``NAME.tar.index`` beside it, where that is possible; it is read instead of
    the tar's headers as long as the tar keeps its size and time.
    """

    def __init__(self, path: Path, files: OpenFiles | None = None) -> None:
        """Reads the index, or the headers.

        Args:
            path: the tar.
            files: the open tars that it is one of.
        Raises:
            UsageError: it is no whole tar, packed, or has a name twice or one that leads outside.
        """
        self.path, self.files = path, files or OpenFiles()
        self.members = _index(path)

    @property
    def shown(self) -> str:
        """The tar's path."""
        return str(self.path)

    def entries(self) -> list[str]:
        """Names of the files in it."""
        return sorted(self._where)

    def name(self, entry: str) -> str:
        """The tar's path and the entry's name in it."""
        return f"{self.path}/{entry}"

    def read(self, entry: str) -> bytes:
        """The entry."""
        return self.content(self.members[self._where[entry]])

    def content(self, member: Member) -> bytes:
        """The file of a member.

        Raises:
            ImageError: it is too large, or cannot be read.
        """
        name = self.name(member.name)
        if member.size > MAX_BYTES:
            raise ImageError(
                given=f"{name!r}, a file of {member.size:,} bytes",
                allowed=f"at most {MAX_BYTES:,} bytes",
                fix="save it smaller, or cut it into several",
            )
        try:
            file = self.files[self.path]
            file.seek(member.offset)
            data = file.read(member.size)
        except OSError as error:
            raise unreadable(name, error) from None
        if len(data) < member.size:
            raise unreadable(name, "the tar is shorter than when it was indexed")
        return data

    @cached_property
    def _where(self) -> dict[str, int]:
        return {member.name: number for number, member in enumerate(self.members)}


def _index(path: Path) -> list[Member]:
    """The members, from the index file if it is of this tar as it is now."""
    try:
        facts = path.stat()
        stamp = {"format": _FORMAT, "bytes": facts.st_size, "time": facts.st_mtime_ns}
        beside = path.with_name(path.name + ".index")
        known = _known(beside, stamp)
        if known is not None:
            return known
        members = _scanned(path, facts.st_size)
    except OSError as error:
        raise UsageError(
            given=f"{str(path)!r}, which cannot be read ({error.strerror or error})",
            allowed="a tar that this user may read",
            fix="change its rights, or copy it",
        ) from None
    with suppress(OSError, UsageError):  # a folder that takes no files: read again the next time
        write_text(beside, json.dumps({**stamp, "members": members}))
    return members


def _known(beside: Path, stamp: dict[str, int]) -> list[Member] | None:
    """What an index file says; None where it is absent, damaged, or of another tar."""
    try:
        content = json.loads(beside.read_bytes())
        if {key: content[key] for key in stamp} != stamp:
            return None
        members = [Member(*row) for row in content["members"]]
        inside = all(
            isinstance(one.name, str)
            and isinstance(one.text, str)
            and 0 <= int(one.offset) <= int(one.offset) + int(one.size) <= stamp["bytes"]
            for one in members
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return members if inside else None


def _scanned(path: Path, length: int) -> list[Member]:
    """One pass over the headers."""
    found: dict[str, Member] = {}
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                _check_name(path, entry.name, found)
                if not entry.isreg() or entry.issparse() or _is_ours(entry.name):
                    continue
                text = ""
                if entry.name.endswith((".cls", ".json")) and entry.size <= _LABEL_BYTES:
                    file.seek(entry.offset_data)
                    text = file.read(entry.size).decode("utf-8", "replace").strip()
                found[entry.name] = Member(entry.name, entry.offset_data, entry.size, text)
            file.seek(archive.offset)
            end = file.read(_BLOCK)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise _damaged(path, str(error)) from None
    # tarfile takes a damaged header after the first one for the end.
    if len(end) < _BLOCK or any(end):
        raise _damaged(path, f"it breaks off or is damaged after {len(found)} members")
    return list(found.values())


def _is_ours(name: str) -> bool:
    """Whether a member is none of the user's own files."""
    return is_hidden(name) or PurePosixPath(name).name.startswith("__")


def _check_name(path: Path, name: str, found: dict[str, Member]) -> None:
    outside = name.startswith("/") or ".." in PurePosixPath(name).parts
    if outside or re.search(r"[\x00-\x1f\\]", name):
        raise UsageError(
            given=f"{str(path)!r} with a member named {name[:200]!r}",
            allowed="names of files below the tar's top, without control characters",
            fix="write the tar again from a folder, or leave it out: it may be hostile",
        )
    if name in found:
        raise UsageError(
            given=f"{str(path)!r} with two members named {name!r}",
            allowed="one member of a name",
            fix="write the shard again with a key of its own for each sample",
        )


def _damaged(path: Path, why: str) -> UsageError:
    with path.open("rb") as file:
        head = file.read(6)
    if head[:2] == b"\x1f\x8b" or head[:3] == b"BZh" or head == b"\xfd7zXZ\x00":
        return UsageError(
            given=f"{str(path)!r}, a compressed tar",
            allowed="a tar as it is: a member of a compressed one cannot be read alone",
            fix=f"unpack it once: gunzip {path}" if head[:2] == b"\x1f\x8b" else "decompress it",
        )
    return UsageError(
        given=f"{str(path)!r}, a truncated or damaged tar ({why})",
        allowed="a whole tar, which ends in zeros",
        fix="copy or download it again",
    )


def _close(files: OrderedDict[Path, IO[bytes]]) -> None:
    for file in files.values():
        file.close()
    files.clear()
