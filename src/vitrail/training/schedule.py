"""The learning rate as a pure function of the step: linear warm-up, then a half cosine."""

import math


def learning_rate(
    step: int, *, total: int, warmup: int, peak: float, start: float = 5e-7, end: float = 5e-6
) -> float:
    """Learning rate of optimiser step ``step``, counted from 0.

    Args:
        step: the step.
        total: steps of the whole run.
        warmup: steps of the warm-up, at most ``total``.
        peak: rate at the end of the warm-up.
        start: rate of step 0 when there is a warm-up.
        end: rate after the last step.
    Source: Liu et al. 2021, arXiv 2103.14030, section A2.1; Loshchilov & Hutter 2017, arXiv
        1608.03983.
    """
    if step < warmup:
        return start + (peak - start) * step / warmup
    share = (step - warmup) / max(1, total - warmup)
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
