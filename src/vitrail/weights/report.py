"""What happened to each weight: which were loaded, which did not fit, why, and what to do."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from vitrail.errors import UsageError

Status = Literal["resized", "adapted", "fresh", "ignored",
                 "missing", "unexpected", "mismatch", "not finite"]  # fmt: skip

# These keep a model from being what the file says; the others are only reported.
PROBLEMS: tuple[Status, ...] = ("missing", "unexpected", "mismatch", "not finite")
_SHOWN = 12
KEEP = "load what fits with vitrail.weights.load(model, weights, strict=False)"


class Misfit(UsageError):
    """Weights that do not fit a model.

    Args:
        given: see ``UsageError``, as are ``allowed`` and ``fix``.
        problems: the weights that did not fit.
        alone: a model can be built from the weights alone.
    """

    def __init__(
        self,
        given: str,
        allowed: str,
        fix: str,
        problems: "tuple[Entry, ...]" = (),
        alone: bool = False,
    ) -> None:
        super().__init__(given, allowed, fix)
        self.problems = problems
        self.alone = alone


@dataclass(frozen=True)
class Entry:
    """One weight that was not simply copied.

    Args:
        key: our name of it; the file's name where we have none.
        status: ``resized`` to another window, ``adapted`` to other channels or axes, left
            ``fresh``, ``ignored``; or a problem: ``missing``, ``unexpected``, ``mismatch``, ``not
            finite``.
        reason: the likely reason.
        fix: what to do about it; empty where nothing needs doing.
    """

    key: str
    status: Status
    reason: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f" -> {self.fix}" if self.fix else ""
        # A hostile file may hold names of any length.
        key = self.key if len(self.key) < 150 else f"{self.key[:60]}...{self.key[-60:]}"
        return f"{self.status:10} {key}: {self.reason}{fix}"


@dataclass(frozen=True)
class LoadReport:
    """What a load did, key by key.

    Args:
        format: the format of the file, e.g. ``timm``.
        loaded: our names of the weights that came from the file.
        entries: the weights that were not simply copied.
        notes: what else is worth knowing.
    """

    format: str
    loaded: tuple[str, ...]
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Entry, ...]:
        """The weights that did not fit."""
        return tuple(entry for entry in self.entries if entry.status in PROBLEMS)

    def __str__(self) -> str:
        counts = Counter(entry.status for entry in self.entries)
        others = "".join(f", {n} {status}" for status, n in counts.items())
        lines = [f"{len(self.loaded)} weights loaded from the {self.format} format{others}"]
        lines += [f"  {line}" for line in (*self.entries, *self.notes)]
        return "\n".join(lines)

    def raise_problems(self, what: str, *, alone: bool = False) -> None:
        """Raise one error with everything that did not fit.

        Args:
            what: the model that was to be loaded.
            alone: a model can be built from the weights alone.
        Raises:
            Misfit: if anything did not fit.
        """
        problems = self.problems
        if not problems:
            return
        # Their fixes stand below, each once.
        lines = [f"  {replace(entry, fix='')}" for entry in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"  ... and {len(problems) - _SHOWN} more")
        fixes = list(dict.fromkeys(entry.fix for entry in problems if entry.fix))[:3]
        if any(entry.status == "not finite" for entry in problems) or not fixes:
            fixes.append(KEEP)
        counts = Counter(entry.status for entry in problems)
        numbers = ", ".join(f"{n} {status}" for status, n in counts.items())
        raise Misfit(
            f"{self.format} weights for {what}: {numbers}\n" + "\n".join(lines),
            "weights of a model with the same structure (nothing was loaded)",
            "; or ".join(fixes),
            problems,
            alone,
        )
