"""Show what a model attends to: a report in one offline HTML file."""

from vitrail.explorer.explore import default_size, explore, single_line
from vitrail.explorer.report import Report

__all__ = ["Report", "default_size", "explore", "single_line"]
