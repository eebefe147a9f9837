"""Optional packages: how to install an extra from where the user stands."""

import os
import re
import shlex
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from vitrail.errors import UsageError

_ROOT = Path(__file__).resolve().parents[2]  # of a checkout, where this is one


def install_words(extra: str) -> str:
    """Return a command that installs an extra's packages; it needs no index that has Vitrail.

    In a checkout it names the checkout, elsewhere the packages themselves.

    Args:
        extra: a name under ``optional-dependencies`` in pyproject.toml.
    """
    if (_ROOT / "pyproject.toml").is_file():
        here = "." if Path.cwd() == _ROOT else os.path.relpath(_ROOT)
        return f"pip install {shlex.quote(f'{here}[{extra}]')}"
    return f"pip install {' '.join(map(shlex.quote, packages(extra)))}"


def packages(extra: str) -> list[str]:
    """Return the requirements of an extra, those of the extras that it includes among them."""
    found: list[str] = []
    for line in _requirements():
        requirement, _, marker = line.partition(";")
        if not re.search(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]", marker):
            continue
        inner = re.match(r"vitrail\[([\w,-]+)\]", requirement)
        names = [requirement.strip()] if inner is None else [
            one for name in inner[1].split(",") for one in packages(name)
        ]  # fmt: skip
        found += [name for name in names if name not in found]
    return found


def missing_extra(given: str, extra: str) -> UsageError:
    """Return the error for something that needs the packages of an extra.

    Args:
        given: what was requested, and which package is not there.
        extra: the extra that brings it.
    """
    return UsageError(given, f"an environment with the extra {extra!r}", install_words(extra))


def _requirements() -> list[str]:
    try:
        return requires("vitrail") or []
    except PackageNotFoundError:
        return []
