import pytest
import torch
from torch import nn

from vitrail.training.ema import Average


def test_follows_the_parameters() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.0)
    average = Average(layer, 0.5)
    nn.init.constant_(layer.weight, 1.0)
    average.update(0)  # decay (1 + 0) / (10 + 0)
    assert average.values["weight"].item() == pytest.approx(0.9)
    nn.init.constant_(layer.weight, 0.0)
    average.update(1000)  # decay 0.5
    assert average.values["weight"].item() == pytest.approx(0.45)
    assert layer.weight.item() == 0.0


def test_applied_and_taken_back_exactly() -> None:
    layer = nn.Linear(3, 3)
    average = Average(layer, 0.9)
    before = {n: p.detach().clone() for n, p in layer.named_parameters()}
    average.values["weight"].fill_(7.0)
    with pytest.raises(RuntimeError, match="in between"), average.applied():
        assert layer.weight.eq(7).all()
        raise RuntimeError("in between")
    for name, parameter in layer.named_parameters():
        assert torch.equal(parameter, before[name])
