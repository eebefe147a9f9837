"""Which tokens attend to which: small frozen values that masks, kernels and costs follow from."""

from vitrail.patterns.axial import Axial
from vitrail.patterns.base import Cut, Groups, Padding, Pattern
from vitrail.patterns.focal import Focal, Halo
from vitrail.patterns.global_ import Global
from vitrail.patterns.grid import Grid
from vitrail.patterns.nearest import Nearest
from vitrail.patterns.queries import PooledQueries
from vitrail.patterns.reduced import Pooled, Reduced
from vitrail.patterns.sparse import Part, SparseFixed, SparseStrided
from vitrail.patterns.window import ShiftRule, Window

__all__ = [
    "Axial",
    "Cut",
    "Focal",
    "Global",
    "Grid",
    "Groups",
    "Halo",
    "Nearest",
    "Padding",
    "Part",
    "Pattern",
    "Pooled",
    "PooledQueries",
    "Reduced",
    "ShiftRule",
    "SparseFixed",
    "SparseStrided",
    "Window",
]
