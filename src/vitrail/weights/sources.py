"""Where weights come from: a file, a state dict, the package itself, or the hub."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vitrail.errors import UsageError
from vitrail.weights.read import Content, read_file, tensors_of

Source = str | Path | Mapping[str, Any]

BUNDLED = "swin_nano_cifar10.safetensors"
# What repositories call their weights, the safe format first.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def read_source(source: Source) -> Content:
    """Read weights from wherever they are.

    Args:
        source: the path of a file; a state dict; ``"bundled"``, the weights that come with the
            package; or a hub repository ``owner/name``, optionally ``owner/name@revision``.
    Returns:
        Tensors by name, and what the file says besides.
    Raises:
        UsageError: nothing there, nothing readable there, or the hub cannot be reached.
    """
    if isinstance(source, Mapping):
        return tensors_of(source, "the mapping")
    if isinstance(source, Path):
        return read_file(source)
    if source == "bundled":
        return read_file(bundled_path())
    path = Path(source).expanduser()
    looks_like_path = path.suffix in (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
    if path.exists() or looks_like_path or source.startswith(("/", ".", "~")):
        return read_file(path)
    if _HUB_ID.fullmatch(source):
        return read_file(fetch(source))
    raise UsageError(
        f"weights {source!r}",
        "a file, a state dict, 'bundled', or a hub repository owner/name",
        "give the path of a file, or weights='bundled' with swin_nano",
    )


def files_read(source: Source) -> list[Path]:
    """Return the files of this machine that a source is read from; none of a hub repository."""
    if isinstance(source, Mapping):
        return []
    if source == "bundled":
        return [bundled_path()]
    return [Path(source).expanduser()]


def bundled_path() -> Path:
    """Return the file of the weights that come with the package.

    Raises:
        UsageError: this installation has none.
    """
    path = Path(str(resources.files("vitrail.weights") / "bundled" / BUNDLED))
    if not path.exists():
        raise UsageError(
            f"weights 'bundled', but {path} is missing",
            "an installation with its weights",
            "reinstall vitrail, or give a file of weights",
        )
    return path


def fetch(repository: str) -> Path:
    """Return the local copy of a hub repository's weights, fetching them if they are not cached.

    Args:
        repository: ``owner/name`` or ``owner/name@revision``.
    Raises:
        UsageError: no such repository or file, no access, or no network and no copy.
    """
    name, _, revision = repository.partition("@")
    for file in _HUB_FILES:
        try:
            return Path(hf_hub_download(name, file, revision=revision or None))
        # An offline miss is an entry that was not found, too: it comes first.
        except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
            raise UsageError(
                f"hub repository {name}, with no copy here and the hub out of reach",
                "a repository in the cache, or a connection to the hub",
                f"connect and try again, or fetch {_HUB_FILES[0]} elsewhere and give its path",
            ) from error
        except EntryNotFoundError:
            continue
        except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise _no_repository(repository, error) from error
        except (HFValidationError, HfHubHTTPError) as error:
            raise UsageError(
                f"hub repository {repository} ({str(error).splitlines()[0]})",
                "a repository owner/name that the hub serves",
                "check the name, or try again later",
            ) from error
    raise UsageError(
        f"hub repository {name}, which has none of {', '.join(_HUB_FILES)}",
        "a repository with weights of one model",
        "download the file you want and give its path",
    )


def _no_repository(repository: str, error: Exception) -> UsageError:
    if isinstance(error, GatedRepoError):
        return UsageError(
            f"hub repository {repository}, which asks for agreement to its terms",
            "a repository you have access to",
            "accept its terms on its page, then log in with `hf auth login`",
        )
    if isinstance(error, RevisionNotFoundError):
        return UsageError(
            f"hub repository {repository}, which has no such revision",
            "a branch, tag or commit of the repository",
            f"use {repository.partition('@')[0]}",
        )
    return UsageError(
        f"hub repository {repository}, which the hub does not know",
        "a public repository owner/name, or a private one after logging in",
        "check the spelling, or log in with `hf auth login`",
    )
