"""After an error a model is what it was, whichever weight was wrong and however."""

import pytest
import torch

from vitrail import create_model
from vitrail.errors import UsageError
from vitrail.models import hub
from vitrail.models.tensors import copy_all
from vitrail.weights import convert, load, load_model, to_format
from vitrail.weights.report import Misfit


def numbers(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def unchanged(model, before):
    return all(torch.equal(before[key], value) for key, value in model.state_dict().items())


FAULTS = {
    "integers": (lambda x: x.to(torch.int64), r"a tensor of integers \(torch.int64\)", "quantised"),
    "booleans": (lambda x: x > 0, "a tensor of booleans", "state_dict"),
    "complex": (lambda x: x.to(torch.complex64), "a tensor of complex numbers", "state_dict"),
    "sparse": (lambda x: x.to_sparse(), "a sparse tensor", "to_dense"),
    "quantised": (
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        "a tensor of quantised numbers", "before it is quantised",
    ),
    "meta": (lambda x: x.to("meta"), "without numbers, on the meta device", "that has them"),
    "axes": (lambda x: x[None], r"mismatch", "strict=False"),
    "lengths": (lambda x: torch.cat([x, x]), "mismatch", "strict=False"),
    "nan": (lambda x: x * float("nan"), "not finite", "before the training diverged"),
    "infinite": (lambda x: x / 0, "not finite", "strict=False"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*quantiz.*", "ignore:.*Sparse.*")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("which", ["norm.weight", "stages.1.blocks.1.attn.bias.table"])
@pytest.mark.parametrize("to", ["vitrail", "timm"])
def test_one_wrong_weight_changes_nothing(build, fault, which, to):
    change, given, fix = FAULTS[fault]
    key = which if to == "vitrail" else which.replace("stages.", "layers.").replace(
        "bias.table", "relative_position_bias_table"
    )  # fmt: skip
    state = to_format(build(), to)
    state[key] = change(state.pop(key))  # the last of all
    model = build()
    before = numbers(model)
    with pytest.raises(UsageError, match=given) as error:
        load(model, state)
    assert fix in error.value.fix
    assert unchanged(model, before)
    for build_one in (lambda: load_model(state), lambda: from_state(state)):
        with pytest.raises(UsageError) as error:
            build_one()
        assert error.value.fix


def from_state(state):
    small = {"dim": 24, "depths": (2, 2), "num_heads": (3, 6)}
    return create_model("swin_tiny", weights=state, **small)


def test_numbers_that_overflow_the_model_s_type_are_not_finite(build):
    state = {key: value.double() for key, value in build().state_dict().items()}
    state["norm.weight"][0] = 1e300
    with pytest.raises(Misfit, match=r"norm\.weight: 1 of 48 numbers are NaN or infinite"):
        load(build(), state)


def test_what_is_not_finite_can_be_loaded_all_the_same(build):
    state = numbers(build())
    state["norm.weight"][0] = float("nan")
    model = build()
    report = load(model, state, strict=False)
    assert [entry.status for entry in report.problems] == ["not finite"]
    assert model.norm.weight.isnan().sum() == 1


def test_a_conversion_notes_what_is_not_finite(build, tmp_path):
    state = numbers(build())
    state["norm.weight"][0] = float("nan")
    done = convert(state, tmp_path / "w.pth", "timm")
    assert "1 weights hold NaN or infinite numbers (norm.weight, ...)" in done.notes


def test_a_model_without_memory_does_not_share_the_caller_s(build):
    state = numbers(build())
    with torch.device("meta"):
        model = type(build())(build().config)
    load(model, state)
    with torch.no_grad():
        model.norm.weight.zero_()
    assert state["norm.weight"].any()


def test_two_weights_may_change_places(build):
    model = build()
    first, second = "stages.0.blocks.0.mlp.fc1.bias", "stages.0.blocks.1.mlp.fc1.bias"
    before = numbers(model)
    own = dict(model.state_dict())
    load(model, own | {first: own[second], second: own[first]})
    assert torch.equal(model.state_dict()[first], before[second])
    assert torch.equal(model.state_dict()[second], before[first])


@pytest.mark.parametrize(
    ("key", "tensor", "given"),
    [
        ("norm.weight", torch.ones(3), r"norm\.weight of shape \(3,\).*has \(48,\)"),
        ("else.weight", torch.ones(3), "has no such weight"),
        ("norm.weight", torch.ones(48).to(torch.int8), "integers"),
    ],
)
def test_copying_checks_everything_first(build, key, tensor, given):
    model = build()
    before = numbers(model)
    state = {name: torch.zeros_like(value) for name, value in before.items()}
    with pytest.raises(UsageError, match=given) as error:
        copy_all(model, {**state, key: tensor})
    assert error.value.fix
    assert unchanged(model, before)


def test_a_configuration_that_torch_cannot_build(build):
    from dataclasses import replace

    model = build()
    huge = replace(model.config, dim=3 * 2**28, num_heads=(1, 1))
    with pytest.raises(UsageError, match="that no model can be built of") as error:
        hub.empty(type(model), huge)
    assert "again" in error.value.fix
