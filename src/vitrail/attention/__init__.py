"""One meaning of attention, several implementations, and a choice that explains itself."""

from vitrail.attention.dispatch import Attend
from vitrail.attention.grouped import attend_groups
from vitrail.attention.kernels import KERNELS, choose_kernel
from vitrail.attention.problem import Bias, Problem, Region
from vitrail.attention.query_bias import QueryBias
from vitrail.attention.select import BACKENDS, attend, choose, explain

__all__ = [
    "BACKENDS",
    "KERNELS",
    "Attend",
    "Bias",
    "Problem",
    "QueryBias",
    "Region",
    "attend",
    "attend_groups",
    "choose",
    "choose_kernel",
    "explain",
]
