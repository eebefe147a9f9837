"""Kept curves are what ``analysis.cost`` says today, and so is the short way to them."""

from dataclasses import replace

import pytest
import torch

from tests.support import small
from vitrail.analysis import cost
from vitrail.explorer import costs
from vitrail.models import CATALOG, Backbone

NAMES = [*(name for _, name in costs.MECHANISMS.values()), *costs.KNOWN]


def totals(model: Backbone, side: int) -> dict[str, int]:
    facts = cost(model, side, training=False)
    return {
        "flops": facts.flops.total,
        "attention_flops": facts.flops.attention,
        "memory": facts.inference_peak,
        "pairs": facts.pairs,
    }


@pytest.mark.parametrize("name", NAMES)
def test_kept_curves_are_those_of_the_models(name: str) -> None:
    """After a change of a model: ``python scripts/mechanism_costs.py``."""
    kept = costs._kept()[name]
    assert {len(curve) for curve in kept.values()} == {len(costs.SIZES)}
    with torch.device("meta"):
        model = CATALOG[name].model(CATALOG[name].config)
    place = 1
    expected = totals(model, costs.SIZES[place])
    assert {key: curve[place] for key, curve in kept.items()} == expected


def test_costs_of_the_explored_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SIZES", (16, 40))
    costs.curve.cache_clear()
    model = small("V2", window=(4, 4))
    facts = costs.describe_cost(model, (21, 31), [(26, 1.5)])
    assert facts["measured"] == [{"id": "this", "size": 26, "ms": 1.5}]
    *others, own = facts["mechanisms"]
    assert [row["id"] for row in others] == list(costs.MECHANISMS)
    for i, side in enumerate((16, 40)):
        assert {key: own[key][i] for key in totals(model, side)} == totals(model, side)
    assert [row["window"] for row in facts["windows"]] == [4, 7, 8]
    for row in facts["windows"]:
        config = replace(model.config, window=(row["window"],) * 2)
        with torch.device("meta"):
            other = type(model)(config)
        expected = cost(other, (21, 31), training=False)
        assert row["flops"] == expected.flops.total
        assert row["padding"] == pytest.approx(expected.waste)
        assert row["reach"] == max(expected.stages[0].reach)
    expected = cost(model, (21, 31), training=False)
    for row, stage in zip(facts["stages"], expected.stages, strict=True):
        kinds = [row[kind] for kind in ("attention", "projections", "mlp", "rest")]
        assert sum(kinds) == stage.flops.total
        assert (row["tokens"], row["dim"]) == (stage.tokens, stage.dim)
        assert tuple(row["reach"]) == stage.reach
    costs.curve.cache_clear()


def test_a_model_without_windows_has_no_other_windows() -> None:
    from tests.mechanisms import MECHANISMS

    for name in ("pvt", "global_tiny", "axial_tiny"):
        assert costs._windows(MECHANISMS[name](), (21, 31)) == []
