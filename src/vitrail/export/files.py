"""Files that are whole or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_or_absent(path: Path, beside: str | None = None) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of ``path`` once it is written.

    Args:
        path: the file.
        beside: ending of a second file that belongs to it, as an .xml's .bin. There is no moment at
            which the first stands beside the second of another model.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    second = temporary.with_suffix(beside) if beside else None
    try:
        yield temporary
        for written in filter(None, (temporary, second)):
            with written.open("rb") as file:
                os.fsync(file.fileno())
        if second is not None:
            path.unlink(missing_ok=True)
            second.replace(path.with_suffix(second.suffix))
        temporary.replace(path)
    finally:
        for left in filter(None, (temporary, second)):
            left.unlink(missing_ok=True)
