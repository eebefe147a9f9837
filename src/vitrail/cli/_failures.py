"""What a failure says on the command line: given, allowed, fix; None for a bug of ours."""

import errno
import shlex
from collections.abc import Sequence

from vitrail.errors import UsageError
from vitrail.extras import missing_extra

# Package -> the extra that brings it.
EXTRA_OF = {
    "torchvision": "train",
    "accelerate": "train",
    "tensorboard": "train",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "openvino",
    "nncf": "openvino",
    "matplotlib": "plot",
    "skimage": "demo",
    "nibabel": "volumes",
    "tifffile": "tiff",
    "zarr": "tiff",
    "timm": "peers",
    "transformers": "peers",
    "starlette": "serve",
    "uvicorn": "serve",
    "anywidget": "notebook",
}


def explain_failure(error: Exception, words: Sequence[str] = ()) -> str | None:
    """Return the three lines for an error that the user can mend, else None.

    Args:
        error: what a verb, or the parsing of its options, raised.
        words: what was typed after `vitrail`, repeated in errors of parsing.
    Returns:
        `given: / allowed: / fix:`, or None when the error is a bug and wants its traceback.
    """
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing_package(error)
    if isinstance(error, OSError) and error.strerror:
        return _system(error)
    message = getattr(error, "format_message", None)
    if message is not None:  # typer's own: an unknown option, a missing argument, ...
        return _parsing(error, " ".join(message().split()), words)
    return None


def printable(text: str) -> str:
    """Return `text` without control characters, which a hostile file name may bring along."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _missing_package(error: ModuleNotFoundError) -> str | None:
    package = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(package)
    if extra is None:
        return None
    given = f"a command that needs the package {package!r}, which is not installed"
    return str(missing_extra(given, extra))


def _system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    fixes = {
        errno.ENOENT: ("a path that exists", "check the spelling of the path"),
        errno.EACCES: ("a path this user may read or write", "choose another path"),
        errno.ENOSPC: ("a disk with free space", "free some space or write elsewhere"),
        errno.EISDIR: ("a file", "name a file inside that folder"),
        errno.ENOTDIR: ("a folder", "name a folder"),
    }
    default = ("a file system operation that succeeds", "check the path, the disk and its rights")
    allowed, fix = fixes.get(error.errno or 0, default)
    return str(UsageError(given=f"{where}{error.strerror}", allowed=allowed, fix=fix))


def _parsing(error: Exception, message: str, words: Sequence[str]) -> str:
    context = getattr(error, "ctx", None)
    usage = context.get_usage().removeprefix("Usage:").strip() if context else "vitrail COMMAND"
    path = context.command_path if context else "vitrail"
    near = getattr(error, "possibilities", None)
    typed = f" (in: vitrail {shlex.join(words)})" if words else ""
    return str(
        UsageError(
            given=message.partition(" (Possible options")[0].rstrip(".") + typed,
            allowed=" ".join(usage.split()),
            fix=f"use {near[0]}" if near else f"run `{path} --help`",
        )
    )
