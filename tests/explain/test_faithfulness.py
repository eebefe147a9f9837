"""Deletion and insertion curves, on models whose true ranking is known in closed form."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support import odd_input, refuses, small
from vitrail.explain.faithfulness import LONGEST, Curves, curves

SIDE, CELLS = 16, 8  # samples along an axis; cells of two samples
TOTAL = CELLS**2


class Linear(nn.Module):
    """The logit of class 1 over class 0 is a weighted sum of the image's first channel."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        score = (x[:, 0] * self.weights).sum((1, 2))
        return torch.stack([torch.zeros_like(score), score], -1)


def important() -> Tensor:
    """Return how much each cell counts: all differ, none is at home in the middle."""
    generator = torch.Generator().manual_seed(3)
    return (torch.randperm(TOTAL, generator=generator).double() / TOTAL).view(CELLS, CELLS)


def model(counts: Tensor) -> Linear:
    # Each cell of ones adds its count; the mean of the image is taken off by the alternating part.
    return Linear(counts.repeat_interleave(2, 0).repeat_interleave(2, 1) / 4)


def image() -> Tensor:
    """Return ones and minus ones, of mean zero: the baseline "mean" is a blank."""
    sign = torch.ones(SIDE, SIDE, dtype=torch.float64)
    sign[:, SIDE // 2 :] = -1
    return sign[None].repeat(2, 1, 1)


def known(counts: Tensor | None = None, **options: Any) -> tuple[Curves, Tensor]:
    """Return the curves of the true ranking and its reverse, and each cell's own logit."""
    counts = important() if counts is None else counts
    own = counts * image()[0, ::2, ::2]
    maps = {"true": own, "false": -own, "nothing": torch.zeros(1, 1)}
    options = {"cls": 1, "steps": TOTAL + 1, "cell": 2, "baseline": "mean", **options}
    return curves(model(counts), image(), maps, **options), own.flatten()


def test_the_true_ranking_gives_the_curves_in_closed_form() -> None:
    found, own = known()
    best = torch.cat([torch.zeros(1).double(), own.sort(descending=True).values.cumsum(0)])
    curve = found.maps["true"]
    torch.testing.assert_close(curve.insertion.double(), best.sigmoid(), rtol=0, atol=1e-6)
    deletion = (own.sum() - best).sigmoid()
    torch.testing.assert_close(curve.deletion.double(), deletion, rtol=0, atol=1e-6)
    area = float((deletion[1:] + deletion[:-1]).mean()) / 2
    assert curve.areas[0] == pytest.approx(area, abs=1e-6)
    assert curve.both().shape == (2, TOTAL + 1)


def test_the_true_ranking_is_the_best_and_its_reverse_the_worst() -> None:
    found, _ = known()
    true, false = found.maps["true"], found.maps["false"]
    for other in (found.random, found.low, found.high, found.centre, found.maps["nothing"]):
        assert (true.deletion <= other.deletion + 1e-6).all()
        assert (true.insertion >= other.insertion - 1e-6).all()
        assert (false.deletion >= other.deletion - 1e-6).all()
        assert (false.insertion <= other.insertion + 1e-6).all()
    assert true.areas[0] < found.low.areas[0] and true.areas[1] > found.high.areas[1]


def test_all_curves_share_their_ends() -> None:
    found, own = known()
    for curve in (*found.maps.values(), found.random, found.low, found.high, found.centre):
        ends = [curve.deletion[0], curve.deletion[-1], curve.insertion[-1], curve.insertion[0]]
        assert [float(p) for p in ends] == pytest.approx([float(own.sum().sigmoid()), 0.5] * 2)


def test_a_map_that_says_nothing_lies_in_the_random_band() -> None:
    found, _ = known(draws=40)
    nothing = found.maps["nothing"]
    for own, low, high in (
        (nothing.deletion, found.low.deletion, found.high.deletion),
        (nothing.insertion, found.low.insertion, found.high.insertion),
    ):
        inside = (own >= low) & (own <= high)
        assert inside.double().mean() > 0.8
        assert (low <= high).all() and (low < high).any()
    assert (found.random.deletion >= found.low.deletion - 1e-6).all()
    assert (found.random.deletion <= found.high.deletion + 1e-6).all()


def test_random_orders_average_to_the_expected_logit() -> None:
    """Near zero the sigmoid is straight: after k of n cells the mean is 1/2 + (1 - k/n) total/4."""
    found, own = known(important() / 1000, draws=400)
    expected = 0.5 + (1 - found.steps.double()) * own.sum() / 4
    spread = float(own.std()) * TOTAL**0.5 / 4
    error = (found.random.deletion.double() - expected).abs().max()
    assert error < 4 * spread / 400**0.5


def test_the_centre_is_removed_from_the_middle_outwards() -> None:
    counts = torch.zeros(CELLS, CELLS, dtype=torch.float64)
    counts[3:5, 3] = 1  # two of the four middle cells, where the image is one
    found, _ = known(counts)
    curve = found.centre.insertion
    assert float(curve[4]) == pytest.approx(float(torch.tensor(2.0).sigmoid()), abs=1e-6)
    assert (curve[4:] == curve[4]).all()


def test_steps_remove_equal_shares() -> None:
    found, own = known(steps=5)
    best = own.sort(descending=True).values
    expected = [own.sum() - best[: TOTAL * k // 4].sum() for k in range(5)]
    torch.testing.assert_close(
        found.maps["true"].deletion.double(), torch.stack(expected).sigmoid(), rtol=0, atol=1e-6
    )
    assert found.steps.tolist() == [0, 0.25, 0.5, 0.75, 1]
    two, _ = known(steps=2)
    assert two.maps["true"].deletion.tolist() == found.maps["true"].deletion[[0, -1]].tolist()


def test_maps_of_any_grid_are_interpolated() -> None:
    """A coarse map with a slope ranks every column of cells; a fine one is averaged in a cell."""
    column = torch.tensor([0.0, 9, 1, 1, 7, 5, 3, 3, 2, 2, 8, 0, 6, 6, 0, 1])  # means all differ
    maps = {
        "coarse": torch.tensor([[1.0, 0.0]]),
        "slope": torch.linspace(1, 0, CELLS)[None],
        "fine": column.repeat(SIDE, 1),
        "means": column.view(-1, 2).mean(1)[None],
    }
    found = curves(
        model(important()), image(), maps, cls=1, steps=9, cell=(16, 2), baseline="mean"
    ).maps
    assert found["coarse"].deletion[3:6].tolist() == found["slope"].deletion[3:6].tolist()
    assert torch.equal(found["fine"].both(), found["means"].both())
    assert not torch.equal(found["fine"].both(), found["slope"].both())


def test_the_blurred_baseline_keeps_what_is_smooth() -> None:
    smooth = torch.ones(2, SIDE, SIDE, dtype=torch.float64)
    found = curves(model(important()), smooth, {}, cls=1, steps=5)
    assert found.baseline == "blur"
    assert (found.random.deletion - found.random.deletion[0]).abs().max() < 1e-6
    counts = important()
    rough = smooth * torch.tensor([1.0, -1.0]).repeat(SIDE // 2)
    net = Linear(rough[0] * counts.repeat_interleave(2, 0).repeat_interleave(2, 1) / 40)
    found = curves(net, rough, {}, cls=1, steps=5)
    assert float(found.random.deletion[0]) > 0.9
    assert float(found.random.deletion[-1]) == pytest.approx(0.5, abs=0.05)


def test_equal_arguments_give_equal_numbers_and_seeds_matter() -> None:
    first, again, other = known()[0], known()[0], known(seed=1)[0]
    assert torch.equal(first.random.both(), again.random.both())
    assert torch.equal(first.maps["nothing"].both(), again.maps["nothing"].both())
    assert not torch.equal(first.random.both(), other.random.both())
    assert not torch.equal(first.maps["nothing"].both(), other.maps["nothing"].both())
    small_batches = known(batch=7)[0]
    torch.testing.assert_close(small_batches.random.both(), first.random.both())


def test_one_map_does_not_disturb_another() -> None:
    alone = curves(model(important()), image(), {"nothing": torch.zeros(2, 2)}, cls=1, cell=2)
    both = curves(
        model(important()),
        image(),
        {"some": important(), "nothing": torch.zeros(2, 2)},
        cls=1,
        cell=2,
    )
    assert torch.equal(alone.maps["nothing"].both(), both.maps["nothing"].both())


def test_the_model_is_left_as_it_was_and_the_predicted_class_is_the_default() -> None:
    backbone = small("2-D", drop=0.5).train()
    x = odd_input("2-D", batch=1)
    with torch.no_grad():
        expected = backbone.eval()(x)[0]
    backbone.train()
    backbone.get_submodule("head").eval()
    found = curves(backbone, x, {"map": torch.rand(3, 4)}, steps=3, draws=2)
    assert backbone.training and not backbone.get_submodule("head").training
    assert all(p.grad is None for p in backbone.parameters())
    assert found.cls == int(expected.argmax())
    probability = float(expected.softmax(0)[found.cls])
    assert float(found.random.deletion[0]) == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize(("kind", "grid"), [("1-D", (5,)), ("2-D", (5, 3)), ("3-D", (2, 3, 2))])
def test_inputs_of_any_rank(kind: str, grid: tuple[int, ...]) -> None:
    x = odd_input(kind, batch=1)
    found = curves(small(kind), x[0], {"map": torch.rand(grid)}, steps=4, draws=2)
    patch: tuple[int, ...] = {"1-D": (2,), "2-D": (2, 2), "3-D": (2, 2, 1)}[kind]
    assert all(c % p == 0 for c, p in zip(found.cell, patch, strict=True))
    lengths = [-(-n // c) for n, c in zip(x.shape[2:], found.cell, strict=True)]
    assert max(lengths) <= LONGEST and found.maps["map"].both().isfinite().all()


@pytest.mark.parametrize(
    ("options", "given", "fix"),
    [
        ({"steps": 1}, "steps=1", "use steps=2"),
        ({"draws": 0}, "draws=0", "use draws=1"),
        ({"batch": 0}, "batch=0", "use batch=1"),
        ({"cls": 2}, "cls=2 of a model with 2 classes", "use cls=1"),
        ({"cls": -1}, "cls=-1", "use cls=0"),
        ({"cell": 0}, "cell=0", "use cell=(1, 1)"),
        ({"baseline": "grey"}, "baseline='grey'", "use baseline='blur'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        known(**options)


def test_images_maps_and_models_that_do_not_fit_are_refused() -> None:
    net = model(important())
    with refuses("shape (2, 2, 16, 16)", "images[0]"):
        curves(net, torch.zeros(2, 2, SIDE, SIDE).double(), {})
    with refuses("map 'deep' of shape (1, 4, 4)", "without axes for batch"):
        curves(net, image(), {"deep": torch.zeros(1, 4, 4)})
    with refuses("map 'odd' with 1 values", "leave this map out"):
        curves(net, image(), {"odd": torch.tensor([[0.0, float("nan")]])})
    with refuses("class Identity that gives no class scores", "num_classes=10"):
        curves(nn.Identity(), image(), {})
