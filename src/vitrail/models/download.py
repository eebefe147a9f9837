"""Fetch a file of a hub repository: one request shows whether the hub is within reach."""

from pathlib import Path
from typing import Any

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vitrail.errors import UsageError


def download(
    repository: str,
    file: str,
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    **options: Any,
) -> Path | None:
    """Return the local copy of a file, fetched if it is not in the cache.

    Args:
        repository: ``owner/name``.
        file: its path in the repository.
        revision: branch, tag or commit; default the main branch.
        token: of the user; default the one they logged in with.
        options: ``cache_dir``, ``force_download`` and ``local_files_only`` of ``hf_hub_download``.
    Returns:
        The file, or None if the repository has none of that name.
    Raises:
        UsageError: no such repository, no access, or no copy here and the hub out of reach.
    """
    where = repository if revision is None else f"{repository}@{revision}"
    try:
        _reach(repository, file, revision, token, options)
        return Path(hf_hub_download(repository, file, revision=revision, token=token, **options))
    # An entry that is not in the cache is an entry that was not found, too.
    except LocalEntryNotFoundError as error:
        raise _out_of_reach(where, error) from error
    except EntryNotFoundError:
        return None
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise _no_repository(where, error) from error
    except (HFValidationError, HfHubHTTPError) as error:
        raise UsageError(
            f"hub repository {where} ({str(error).splitlines()[0]})",
            "a repository owner/name that the hub serves",
            "check the name, or try again later",
        ) from error


def _reach(
    repository: str,
    file: str,
    revision: str | None,
    token: str | bool | None,
    options: dict[str, Any],
) -> None:
    """Make one request for a file that is not in the cache.

    ``hf_hub_download`` repeats such a request for 23 seconds before it says that it failed.
    """
    cached = try_to_load_from_cache(
        repository, file, cache_dir=options.get("cache_dir"), revision=revision
    )
    if options.get("local_files_only") or isinstance(cached, str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, file, revision=revision), token=token)
    except (HfHubHTTPError, EntryNotFoundError, HFValidationError):
        raise
    except Exception as error:  # of the network, whichever library of it is in use
        raise _out_of_reach(repository, error) from error


def _out_of_reach(repository: str, error: Exception) -> UsageError:
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return UsageError(
        f"hub repository {repository}, with no copy here and the hub out of reach ({reason})",
        "a repository in the cache, or a connection to the hub",
        "connect and try again, or fetch its model.safetensors elsewhere and give its path",
    )


def _no_repository(repository: str, error: Exception) -> UsageError:
    if isinstance(error, GatedRepoError):
        return UsageError(
            f"hub repository {repository}, whose terms have not been accepted",
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
        f"hub repository {repository}, which the hub does not have",
        "a public repository owner/name, or a private one after logging in",
        "check the spelling, or log in with `hf auth login`",
    )
