"""Who sees whom: small frozen values from which masks, kernels, costs and pictures follow."""

from vitrail.patterns.base import Groups, Pattern
from vitrail.patterns.window import Padding, ShiftRule, Window

__all__ = ["Groups", "Padding", "Pattern", "ShiftRule", "Window"]
