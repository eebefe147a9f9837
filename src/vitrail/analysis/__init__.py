"""What a model costs and how far it sees, without computing it; and what suits a budget."""

from vitrail.analysis.advice import (
    WindowAdvice,
    advise_window,
    advise_windows,
    budget_advice,
    position_advice,
)
from vitrail.analysis.cost import BlockCost, Cost, Flops, PartCost, StageCost, cost
from vitrail.analysis.extents import QUANTILES, StageFit, quantiles, stage_fits
from vitrail.analysis.memory import measured_peak
from vitrail.analysis.reach import ReceptiveField, StageReach, reach, receptive_field

__all__ = [
    "QUANTILES",
    "BlockCost",
    "Cost",
    "Flops",
    "PartCost",
    "ReceptiveField",
    "StageCost",
    "StageFit",
    "StageReach",
    "WindowAdvice",
    "advise_window",
    "advise_windows",
    "budget_advice",
    "cost",
    "measured_peak",
    "position_advice",
    "quantiles",
    "reach",
    "receptive_field",
    "stage_fits",
]
