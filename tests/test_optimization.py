"""vitrail.optimize: the fast path for the machine, checked against the model."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

import vitrail
from tests.heads.test_heads import TINY
from tests.support import drawn, odd_input, refuses, small
from vitrail import explain, optimization
from vitrail.errors import UsageError
from vitrail.fused import support
from vitrail.fused.inference.blocks import FusedBlock
from vitrail.heads import FCOSConfig
from vitrail.layers import PatchMerging, PreNormBlock
from vitrail.models import Backbone, TaskModel
from vitrail.models.task_model import new_task_model
from vitrail.weights import load_model, save


def facts(made: nn.Module) -> optimization.Optimization:
    found = made.optimization
    assert isinstance(found, optimization.Optimization)
    return found


needs_compiler = pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler")


@needs_compiler
def test_the_copy_is_fused_and_the_model_is_as_it_was() -> None:
    model = small("2-D").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = vitrail.optimize(model, odd_input("2-D"))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert any(isinstance(module, FusedBlock) for module in made.modules())
    assert not made.training
    x = odd_input("2-D", batch=1)
    torch.testing.assert_close(made(x), model.eval()(x).detach(), atol=1e-5, rtol=1e-5)
    found = facts(made)
    assert found.path == "fused"
    assert found.difference <= found.allowed == optimization.TOLERANCE
    assert "fused: chosen" in found.explain()
    assert "compiled: not used: fused was chosen" in found.explain()


@needs_compiler
def test_a_narrow_type_and_the_size_that_the_weights_want() -> None:
    model = small("2-D")
    made = vitrail.optimize(model, dtype=torch.bfloat16)
    assert facts(made).dtype == torch.bfloat16
    assert made(odd_input("2-D").bfloat16()).dtype == torch.bfloat16
    with refuses("torch.float32", "torch.bfloat16"):
        made(odd_input("2-D"))


@needs_compiler
@pytest.mark.parametrize(
    ("head", "folded"), [("semantic_fpn", 0), ("upernet", 8), ("segformer", 1)]
)
def test_a_model_of_a_task_is_fused_and_checked_as_a_whole(head: str, folded: int) -> None:
    bare = small("2-D", num_classes=0, out_indices=(0, 1), feature_norms=True)
    made = drawn(new_task_model(bare, "segment", head, TINY[head], 3)).eval()
    example = odd_input("2-D")
    fast = vitrail.optimize(made, example)
    assert isinstance(fast, TaskModel)
    assert facts(fast) is fast.backbone.optimization
    assert (facts(fast).path, facts(fast).difference < 1e-5) == ("fused", True)
    assert any(isinstance(module, FusedBlock) for module in fast.backbone.modules())
    count = sum(isinstance(module, nn.BatchNorm2d) for module in made.head.modules())
    assert count == folded
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.head.modules())
    x = torch.randn(1, 3, 33, 18)
    torch.testing.assert_close(fast(x), made(x).detach(), atol=1e-4, rtol=1e-4)
    narrow = facts(vitrail.optimize(made, example, dtype=torch.bfloat16))
    assert 0 < narrow.difference <= narrow.allowed < 0.1


@needs_compiler
def test_a_detector_in_a_narrow_type_keeps_the_type_of_its_head() -> None:
    bare = small("2-D", num_classes=0, out_indices=(0, 1), feature_norms=True)
    head = FCOSConfig(pyramid_dim=64, convs=1, first=0, score=0.0)
    made = drawn(new_task_model(bare, "detect", "fcos", head, 3)).eval()
    fast = vitrail.optimize(made, odd_input("2-D"), dtype=torch.bfloat16)
    assert isinstance(fast, TaskModel)
    assert {p.dtype for p in fast.head.parameters()} == {torch.float32}
    (found,) = fast(torch.randn(1, 3, 33, 18).bfloat16())  # torch's own choice of boxes has none
    assert found["boxes"].dtype == torch.float32 and len(found["boxes"])


@needs_compiler
def test_a_head_that_a_path_changes_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = small("2-D", num_classes=0, out_indices=(0, 1), feature_norms=True)
    made = drawn(new_task_model(bare, "segment", "segformer", TINY["segformer"], 3)).eval()

    def spoil(head: nn.Module) -> None:
        head.norm = nn.Identity()

    monkeypatch.setattr(optimization.fused, "fold_in_head", spoil)
    with refuses("path='fused', which differs from the model", "path='eager'"):
        vitrail.optimize(made, odd_input("2-D"))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_of_a_narrow_type_is_not_its_own_yardstick(dtype: torch.dtype) -> None:
    model = small("2-D").to(dtype)
    eager = facts(vitrail.optimize(model, path="eager"))
    assert 0 < eager.difference < eager.allowed
    assert facts(vitrail.optimize(model)).allowed == eager.allowed


@needs_compiler
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_what_optimize_made_is_not_optimized_again(first: bool, second: bool) -> None:
    made = vitrail.optimize(small("2-D"), training=first)
    with refuses("optimize made", "keep that one"):
        vitrail.optimize(made, training=second)


class Adapted(nn.Linear):
    """A linear layer with something of the user's own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 3 * super().forward(input)


@needs_compiler
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "part",
    [
        "mlp.fc1", "attn.qkv", "mlp.act", "mlp.drop", "attn.proj_drop", "drop_path",
        "reduction", "norm",
    ],
)  # fmt: skip
def test_parts_of_the_users_own_compute_what_they_do(part: str, training: bool) -> None:
    model = copy.deepcopy(small("2-D")).eval()
    owners = PatchMerging if part in ("reduction", "norm") else PreNormBlock
    for layer in [m for m in model.modules() if isinstance(m, owners)]:
        old = layer.get_submodule(part)
        new: nn.Module = nn.Tanh() if isinstance(old, nn.Dropout | nn.LayerNorm) else nn.ReLU()
        if isinstance(old, nn.Linear):
            new = Adapted(old.in_features, old.out_features, old.bias is not None)
            new.load_state_dict(old.state_dict())
        layer.set_submodule(part, new)
    x = odd_input("2-D")
    made = vitrail.optimize(model, x, training=training)
    torch.testing.assert_close(made.eval()(x), model(x), atol=1e-5, rtol=1e-5)


@needs_compiler
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("part", ["", "attn", "mlp"])
def test_a_layer_in_two_places_is_left_to_another_path(part: str, training: bool) -> None:
    model = small("2-D", drop_path=0.0)
    blocks = model.get_submodule("stages.0.blocks")
    assert isinstance(blocks, nn.ModuleList)
    if part:
        blocks[1].set_submodule(part, blocks[0].get_submodule(part))
    else:
        blocks[1] = blocks[0]
    x = odd_input("2-D")
    with refuses("are one layer", "path out"):
        vitrail.optimize(model, x, path="fused", training=training)
    made = vitrail.optimize(model, x, path="eager", training=training)
    assert f"stages.0.blocks.0{part and '.'}{part} and stages.0.blocks.1" in facts(made).explain()
    torch.testing.assert_close(made.eval()(x), model(x))


@needs_compiler
def test_weights_that_are_packed_are_not_handed_out_as_if_few_were_all(tmp_path: Path) -> None:
    model = small("2-D")
    made: Any = vitrail.optimize(model)
    with refuses("optimize made", "weights.save(model"):
        save(made, tmp_path / "m.safetensors")
    with refuses("optimize made", "weights.save(model"):
        made.save_pretrained(tmp_path / "m")
    with refuses("optimize made", "weights.save(model"):
        copy.deepcopy(made).state_dict()
    assert not list(tmp_path.rglob("*.safetensors"))
    shares: Any = vitrail.optimize(model, training=True)
    save(shares, tmp_path / "m.safetensors")
    x = odd_input("2-D")
    loaded = load_model(tmp_path / "m.safetensors")
    assert torch.equal(loaded.eval()(x), model(x))


@needs_compiler
def test_what_looks_at_layers_wants_the_model() -> None:
    made, x = vitrail.optimize(small("2-D")), odd_input("2-D", batch=1)
    for look in (
        lambda: vitrail.cost(made),
        lambda: explain.capture(made, x),
        lambda: explain.gradcam(made, x, 0),
    ):
        with refuses("optimize made", "keep that one"):
            look()


@pytest.mark.compile
def test_a_copy_of_what_was_compiled_for_training_has_weights_of_its_own() -> None:
    made = vitrail.optimize(small("2-D"), path="compiled", training=True)
    again = copy.deepcopy(made)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    x = odd_input("2-D")
    assert not again(x).any()
    assert made(x).all()


@needs_compiler
def test_training_is_compared_where_gradients_are_off() -> None:
    with torch.no_grad():
        assert facts(vitrail.optimize(small("2-D"), training=True)).path == "fused"


@needs_compiler
def test_a_difference_counts_beside_the_model_s_own_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stretch(model: nn.Module) -> None:
        with torch.no_grad():
            model.get_submodule("head").weight.mul_(1.01)  # type: ignore[operator]

    faint = small("2-D")
    assert faint.head is not None
    with torch.no_grad():
        faint.head.weight.mul_(1e-3)
        faint.head.bias.zero_()
    assert facts(vitrail.optimize(faint)).difference < 1e-4
    monkeypatch.setitem(optimization._PATHS, "fused", stretch)
    with refuses("path='fused'", "path='eager'"):
        vitrail.optimize(faint)


@needs_compiler
def test_a_result_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: nn.Module) -> None:
        with torch.no_grad():
            next(model.parameters()).add_(torch.nan)

    monkeypatch.setitem(optimization._PATHS, "fused", spoil)
    with refuses("path='fused'", "path='eager'"):
        vitrail.optimize(small("2-D"))


def test_without_a_compiler_the_reason_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    made = vitrail.optimize(small("2-D"))
    assert facts(made).path == "eager"
    assert facts(made).explain().count("no C++ compiler") == 2
    with refuses("path='compiled'", "leave path out"):
        vitrail.optimize(small("2-D"), path="compiled")
    with refuses("no C++ compiler", "leave path out"):
        vitrail.optimize(small("2-D"), path="fused")


@needs_compiler
@pytest.mark.parametrize("training", [False, True])
def test_a_compiler_that_does_not_work_is_passed_over(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: nn.Module) -> None:
        del model
        raise UsageError("g++ does not build it", "one that does", "install another")

    def refuse_too(model: nn.Module) -> None:
        del model
        raise BackendCompilerFailed(lambda: None, RuntimeError("no omp.h"), None)

    for paths in (optimization._PATHS, optimization._TRAINING_PATHS):
        monkeypatch.setitem(paths, "fused", refuse)
        monkeypatch.setitem(paths, "compiled", refuse_too)
    x = odd_input("2-D")
    with pytest.warns(UserWarning, match="failed and is not used") as warned:
        made = vitrail.optimize(small("2-D"), x, training=training)
    assert len(warned) == 2
    assert facts(made).path == "eager"
    assert "g++ does not build it" in facts(made).explain()
    assert "no omp.h" in facts(made).explain()
    torch.testing.assert_close(made.eval()(x), small("2-D").eval()(x))
    with refuses("g++ does not build it", "install another"):
        vitrail.optimize(small("2-D"), x, training=training, path="fused")


@needs_compiler
def test_a_mistake_of_our_own_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(model: nn.Module) -> None:
        del model
        raise IndexError("beyond the end")

    monkeypatch.setitem(optimization._PATHS, "fused", stumble)
    with pytest.raises(IndexError, match="beyond the end"):
        vitrail.optimize(small("2-D"))


@needs_compiler
@pytest.mark.parametrize("training", [False, True])
def test_nothing_that_is_dropped_may_be_the_identity(training: bool) -> None:
    model = copy.deepcopy(small("2-D")).train(training)
    for block in [m for m in model.modules() if isinstance(m, PreNormBlock)]:
        block.set_submodule("drop_path", nn.Identity())
        block.set_submodule("mlp.drop", nn.Identity())
    x = odd_input("2-D")
    made = vitrail.optimize(model, x, training=training)
    assert facts(made).path == "fused"
    torch.testing.assert_close(made(x), model(x), atol=2e-5, rtol=2e-5)


@needs_compiler
def test_types_stay_as_they_are_unless_one_is_given() -> None:
    model = copy.deepcopy(small("2-D"))
    assert model.head is not None
    model.head.double()
    model.head.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    assert vitrail.optimize(model, odd_input("2-D"))(odd_input("2-D")).dtype == torch.float64


@needs_compiler
def test_it_is_checked_in_full_precision_under_autocast_too() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        made = vitrail.optimize(small("2-D"))
    assert facts(made).difference < 1e-5


@needs_compiler
def test_a_sequence_that_begins_with_a_backbone_needs_no_example() -> None:
    body = small("2-D", num_classes=0)
    made = vitrail.optimize(nn.Sequential(nn.Sequential(body), nn.Linear(16, 3)))
    assert facts(made).path == "fused"


def test_what_cannot_be_is_refused() -> None:
    with refuses("path='quick'", "leave it out"):
        vitrail.optimize(small("2-D"), path="quick")
    with refuses("no example for Linear", "example="):
        vitrail.optimize(nn.Linear(3, 3))
    with refuses("no Vitrail model in it", "leave path out"):
        vitrail.optimize(nn.Linear(3, 3), torch.zeros(1, 3), path="fused")
    with refuses("torch.float64", "leave path out"):
        vitrail.optimize(small("2-D"), dtype=torch.float64, path="fused")


class Wrapped(nn.Module):
    """A backbone in two branches, between layers of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(31)
        self.body = small("2-D", num_classes=0)
        self.twin = self.body
        self.other = small("V2", num_classes=0)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.norm(x)
        twice = torch.cat([self.body(x), self.twin(x.flip(-1))], -1)
        return {"logits": self.head(twice), "features": self.other(x)}


@needs_compiler
@pytest.mark.parametrize("training", [False, True])
def test_every_backbone_in_a_module_is_fused_and_nothing_else(training: bool) -> None:
    model, x = Wrapped().eval(), odd_input("2-D")
    made = vitrail.optimize(model, x, training=training)
    found = facts(made)
    assert found.path == "fused"
    assert 0 < found.difference <= found.allowed
    assert type(made.norm) is nn.LayerNorm and type(made.head) is nn.Linear
    assert made.twin is made.body
    for part in (made.body, made.other):
        assert isinstance(part, Backbone) and facts(part) is found
        with refuses("optimize made", "keep that one"):
            vitrail.cost(part)
    torch.testing.assert_close(made(x), model(x), atol=1e-5, rtol=1e-5)
    with refuses("optimize made", "keep that one"):
        vitrail.optimize(made, x)


@needs_compiler
def test_a_sequence_is_checked_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: nn.Module) -> None:
        with torch.no_grad():
            model.get_submodule("1").weight.add_(1)  # type: ignore[operator]

    model = nn.Sequential(small("2-D", num_classes=0), nn.Linear(16, 3))
    monkeypatch.setitem(optimization._PATHS, "fused", spoil)
    with refuses("path='fused'", "path='eager'"):
        vitrail.optimize(model, odd_input("2-D"))


@needs_compiler
def test_a_layer_shared_with_what_surrounds_a_backbone_is_left_to_another_path() -> None:
    body = small("2-D", num_classes=0)
    model = nn.Sequential(body, nn.Linear(16, 8), body.get_submodule("stages.1.blocks.0.mlp.drop"))
    assert facts(vitrail.optimize(model, odd_input("2-D"))).path == "fused"
    model.append(nn.Sequential(body.get_submodule("stages.0.blocks.0.attn.proj")))
    with refuses("0.stages.0.blocks.0.attn.proj and 3.0 are one layer", "leave path out"):
        vitrail.optimize(model, odd_input("2-D"), path="fused")


def test_a_model_that_can_be_converted_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torchvision = pytest.importorskip("torchvision")
    monkeypatch.setattr(torch, "compile", None)
    monkeypatch.setattr(nn.Module, "compile", None)
    model = torchvision.models.swin_transformer.SwinTransformer(
        [4, 4], 8, [2], [2], [7, 7], num_classes=3
    )
    x = torch.randn(1, 3, 56, 56)
    for training in (False, True):
        with refuses("a SwinTransformer of torchvision", "optimize(vitrail.from_model(model))"):
            vitrail.optimize(model, x, training=training)
    assert facts(vitrail.optimize(model, x, path="eager")).path == "eager"
    assert vitrail.optimize(vitrail.from_model(model), x)(x).shape == (1, 3)


@pytest.mark.compile
def test_a_module_of_another_library_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 2))
    x = torch.randn(3, 6)
    made = vitrail.optimize(model, x)
    assert facts(made).path == "compiled"
    assert "no Vitrail model in it" in facts(made).explain()
    assert "compiling a Sequential by torch.compile" in caplog.text
    found = made(x)
    assert not found.requires_grad
    torch.testing.assert_close(found, model(x).detach())
    assert "forward" not in vars(made)
    own = copy.deepcopy(made)
    with torch.no_grad():
        own[2].weight.zero_()  # type: ignore[index, union-attr, operator]
    torch.testing.assert_close(own(x), own[2].bias.expand(3, 2))  # type: ignore[index, union-attr, operator]


@pytest.mark.compile
@needs_compiler
def test_a_fused_model_compiles_in_one_graph() -> None:
    made = vitrail.optimize(small("2-D"))
    x = odd_input("2-D")
    with torch.no_grad():
        compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), made(x), atol=1e-6, rtol=1e-6)


@needs_compiler
def test_for_training_it_shares_the_parameters() -> None:
    model = small("2-D").train()
    made = vitrail.optimize(model, odd_input("2-D"), training=True)
    found = facts(made)
    assert found.path == "fused"
    assert 0 < found.difference <= found.allowed == optimization.TOLERANCE
    assert all(module.training for module in made.modules())
    assert all(p.grad is None for p in model.parameters())
    made(odd_input("2-D")).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        next(model.parameters()).add_(1)
    torch.testing.assert_close(
        made.eval()(odd_input("2-D")), model.eval()(odd_input("2-D")), atol=1e-4, rtol=1e-4
    )


@needs_compiler
def test_training_in_a_narrow_type_and_with_frozen_stages() -> None:
    model = small("2-D", frozen_stages=1).to(torch.bfloat16)
    found = facts(vitrail.optimize(model, training=True))
    assert found.dtype == torch.bfloat16
    assert found.difference <= found.allowed


def test_training_of_another_library_stays_as_it_is() -> None:
    model = nn.Linear(3, 2)
    made = vitrail.optimize(model, torch.ones(1, 3), path="eager", training=True)
    assert made.weight is model.weight
    assert facts(made).difference == 0


def test_training_wants_no_type() -> None:
    with refuses("torch.bfloat16", "torch.autocast"):
        vitrail.optimize(small("2-D"), odd_input("2-D"), dtype=torch.bfloat16, training=True)


@needs_compiler
def test_wrong_gradients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: nn.Module) -> None:
        next(model.parameters()).register_hook(lambda gradient: 1.01 * gradient)

    monkeypatch.setitem(optimization._TRAINING_PATHS, "fused", spoil)
    with refuses("differs from the model", "path='eager'"):
        vitrail.optimize(small("2-D"), odd_input("2-D"), training=True)
