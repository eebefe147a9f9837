"""The estimate of memory: compared with what torch's profiler sees a real run take."""

import pytest
import torch
from torch import nn

import vitrail
from tests.support import KINDS, odd_input, small
from vitrail.analysis import cost, measured_peak

# The names that the promise is made for, at sizes up to 512.
MODELS = ["swin_tiny", "pvt_small", "focal_tiny", "vit_small"]


# Training at 512 takes longest: with the tokens it grows in two ways, by windows and by all pairs.
CASES = [
    (name, size, training)
    for name in MODELS
    for size, training in ((224, False), (224, True), (512, False), (512, True))
    if (size, training) != (512, True) or name in ("swin_tiny", "vit_small")
]


@pytest.mark.parametrize(("name", "size", "training"), CASES)
def test_the_estimate_is_close_to_a_measured_peak(name: str, size: int, training: bool) -> None:
    model = vitrail.create_model(name)
    estimate = cost(model, size, training=training)
    peak = measured_peak(model, torch.randn(1, 3, size, size), training=training)
    guess = estimate.training_peak if training else estimate.inference_peak
    assert guess == pytest.approx(peak, rel=0.15)
    assert peak > estimate.weight_bytes


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("kind", KINDS)
def test_small_models_of_every_rank(kind: str, training: bool) -> None:
    model, x = small(kind), odd_input(kind)
    estimate = cost(model, tuple(x.shape[2:]), batch=2)
    guess = estimate.training_peak if training else estimate.inference_peak
    assert guess == pytest.approx(measured_peak(model, x, training=training), rel=0.15)


def test_recomputing_activations_keeps_less() -> None:
    model = vitrail.create_model("swin_nano")
    usual = cost(model, 64, batch=4)
    model.set_grad_checkpointing()
    frugal = cost(model, 64, batch=4)
    assert frugal.training_peak is not None and usual.training_peak is not None
    assert frugal.training_peak < 0.7 * usual.training_peak
    measured = measured_peak(model, torch.randn(4, 3, 64, 64), training=True)
    assert frugal.training_peak == pytest.approx(measured, rel=0.15)


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = small("2-D").train()
    measured_peak(model, odd_input("2-D"), training=True)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_peak_that_can_be_worked_out_by_hand() -> None:
    model = nn.Sequential(nn.Linear(100, 1000, bias=False), nn.Linear(1000, 10, bias=False))
    x = torch.zeros(64, 100)
    # Weights, input, and the first layer's output with the second's.
    numbers = 100_000 + 10_000 + 6_400 + 64_000 + 640
    assert measured_peak(model, x, training=False) == pytest.approx(4 * numbers, rel=0.01)


def test_stages_share_the_memory_of_training() -> None:
    whole = vitrail.cost("swin_nano", 64, batch=8)
    kept = [stage.training_bytes for stage in whole.stages]
    assert all(kept)
    assert whole.training_peak is not None
    # At the end of the forward pass all of it is alive, with the weights; then come gradients.
    assert sum(b or 0 for b in kept) + whole.weight_bytes < whole.training_peak
    assert sum(b or 0 for b in kept) > 0.5 * (whole.training_peak - 2 * whole.weight_bytes)
    alive = [stage.inference_bytes for stage in whole.stages]
    assert whole.inference_peak >= whole.weight_bytes + max(alive)
