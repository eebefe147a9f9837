"""One meaning of attention, several implementations, and a choice that explains itself."""

from vitrail.attention.problem import Bias, Problem, Region
from vitrail.attention.select import BACKENDS, attend, choose, explain

__all__ = ["BACKENDS", "Bias", "Problem", "Region", "attend", "choose", "explain"]
