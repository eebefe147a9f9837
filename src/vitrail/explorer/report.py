"""The report: one HTML file with everything inside, which needs no network."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrail.errors import UsageError
from vitrail.explain import Trace
from vitrail.explorer import display
from vitrail.explorer.arrays import Arrays
from vitrail.explorer.page import Side, report_page
from vitrail.files import whole_or_absent

if TYPE_CHECKING:
    from vitrail.explorer.widget import ExplorerWidget


class Report:
    """What a model made of a photo, to look at: as a file, in a notebook, or as numbers.

    Args:
        trace: what was captured.
        manifest: what the page knows of it, by the names of ``schema.json``.
        arrays: its arrays by name.
    """

    def __init__(self, trace: Trace, manifest: Mapping[str, Any], arrays: Arrays) -> None:
        self.trace = trace
        self.manifest = manifest
        self.arrays = arrays
        self.other: Report | None = None

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the most probable classes with their probabilities, best first."""
        return self.trace.top(count)

    def against(self, other: "Report") -> "Report":
        """Return a report that shows this one as A and another one as B, to compare.

        Args:
            other: of another model, another size or another photo.
        """
        both = Report(self.trace, self.manifest, self.arrays)
        both.other = other
        return both

    @property
    def sides(self) -> list[Side]:
        """The manifest and arrays of this one, and of the other where two are compared."""
        reports = [self] if self.other is None else [self, self.other]
        return [(report.manifest, report.arrays) for report in reports]

    @cached_property
    def html(self) -> str:
        """The whole page; equal arrays of the two sides are in it once."""
        return report_page(self.sides)

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, whole or not at all; its folder is made where there is none.

        Raises:
            UsageError: if the file cannot be written there.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_or_absent(path) as part:
                part.write_text(self.html, encoding="utf-8", newline="\n")
        except OSError as error:
            raise UsageError(
                f"{str(path)!r} as the report's file ({error.strerror or error})",
                "a file name in a folder that can be written to and has room",
                "choose another place with -o, e.g. -o report.html",
            ) from None
        return path

    @cached_property
    def widget(self) -> "ExplorerWidget":
        """The page as a live widget of a notebook, which requests from Python what it needs.

        What is assigned to its ``selection`` (block, head, token, view ...) changes the page.

        Raises:
            UsageError: anywidget, the extra ``notebook``, is not installed.
        """
        return display.make_widget(self.sides)

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame of its own."""
        return display.frame(self.html)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Offer a notebook the live page, and the framed one where no widgets are shown."""
        return display.bundle(self.sides, lambda: self.html, lambda: self.widget)
