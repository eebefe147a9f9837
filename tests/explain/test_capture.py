"""What is captured is what the model computed, and the model does not notice."""

import importlib
import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitrail.errors import UsageError
from vitrail.explain import BlockTrace, capture, digest
from vitrail.explain.features import principal_colours
from vitrail.explain.merging import merge_shares
from vitrail.explain.trace import CHUNK
from vitrail.models import Backbone, Swin, SwinConfig, SwinV2, SwinV2Config
from vitrail.patterns import Window

module = importlib.import_module("vitrail.explain.capture")  # the package has its function
CONFIG = SwinConfig(
    dim=8, depths=(2, 2), num_heads=(2, 4), window=(4, 4), patch=(2, 2), num_classes=5
)
LINE = replace(CONFIG, patch=(2,), window=(4,), merge=(2,), in_channels=1)
VIDEO = replace(CONFIG, patch=(2, 2, 2), window=(2, 4, 4), merge=(1, 2, 2))
SECOND = SwinV2Config(
    dim=8, depths=(2, 2), num_heads=(2, 4), window=(4, 4), patch=(2, 2), num_classes=5
)


def randomised(model: Backbone) -> Backbone:
    """Every number random: zero-initialised parts would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model.eval()


def attention_of(model: Backbone, block: BlockTrace) -> nn.Module:
    return model.get_submodule(f"{block.name}.attn")


def dense(block: BlockTrace) -> Tensor:
    """Scatter grouped attention to ``[heads, tokens, tokens]`` by its indices alone."""
    tokens = math.prod(block.spatial)
    full = torch.zeros(block.heads, tokens + 1, tokens + 1)
    rows = block.groups.q_index[:, :, None].expand(-1, -1, block.attention.shape[-1])
    columns = block.groups.k_index[:, None, :].expand_as(rows)
    for head in range(block.heads):
        full[head, rows, columns] = block.attention[:, head]
    return full[:, :-1, :-1]


CASES = [
    pytest.param(Swin, CONFIG, (3, 32, 32), id="2-D"),
    pytest.param(Swin, CONFIG, (3, 27, 43), id="2-D-odd"),
    pytest.param(Swin, CONFIG, (3, 5, 3), id="2-D-tiny"),
    pytest.param(Swin, LINE, (1, 37), id="1-D"),
    pytest.param(Swin, VIDEO, (3, 6, 18, 22), id="3-D"),
    pytest.param(SwinV2, SECOND, (3, 27, 43), id="V2"),
]


@pytest.mark.parametrize(("kind", "config", "shape"), CASES)
def test_the_answer_is_the_same_to_the_last_bit(kind, config, shape) -> None:
    model = randomised(kind(config))
    image = torch.randn(1, *shape)
    with torch.no_grad():
        expected = model(image)[0]
    before = digest(model)
    trace = capture(model, image)
    assert torch.equal(trace.logits, expected)
    assert digest(model) == before == trace.model.sha256
    assert trace.spatial == shape[1:]


@pytest.mark.parametrize(("kind", "config", "shape"), CASES)
def test_scattered_by_its_indices_it_gives_the_layers_output(kind, config, shape) -> None:
    """Un-shift and un-pad are right: dense attention over the grid equals the layer itself."""
    model = randomised(kind(config))
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks: list[Callable[[], None]] = []
    for name, module in model.named_modules():
        if name.endswith(".attn"):
            keep = lambda _, args, out, name=name: seen.update({name: (args[0], out)})  # noqa: E731
            hooks.append(module.register_forward_hook(keep).remove)
    trace = capture(model, torch.randn(*shape))
    assert [block.name for block in trace.blocks] == [
        f"stages.{stage}.blocks.{block}" for stage in range(2) for block in range(2)
    ]
    for remove in hooks:
        remove()
    for block in trace.blocks:
        x, out = seen[f"{block.name}.attn"]
        layer = attention_of(model, block)
        qkv = layer.project(x.flatten(1, -2)[0])  # pyright: ignore[reportCallIssue]
        value = qkv.unflatten(-1, (3, block.heads, -1))[:, 2].transpose(0, 1)
        mixed = (dense(block) @ value).transpose(0, 1).flatten(1)
        expected = layer.proj(mixed).reshape(out.shape)  # pyright: ignore[reportCallIssue]
        assert torch.allclose(expected, out, atol=1e-4), block.name


@pytest.mark.parametrize(("kind", "config", "shape"), CASES)
def test_who_may_not_be_seen_gets_exactly_nothing(kind, config, shape) -> None:
    trace = capture(randomised(kind(config)), torch.randn(*shape))
    for block in trace.blocks:
        allowed = block.pattern.allowed(block.spatial)
        weights = dense(block)
        assert (weights[:, ~allowed] == 0).all(), block.name
        assert (weights[:, allowed] > 0).all(), block.name
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5), block.name
        groups = block.groups
        real, padding = groups.q_index >= 0, groups.k_index < 0
        leak = block.attention * (real[:, None, :, None] & padding[:, None, None, :])
        assert (leak == 0).all(), block.name


def test_visible_padding_is_seen_and_shows() -> None:
    model = randomised(Swin(replace(CONFIG, padding="visible")))
    block = capture(model, torch.randn(3, 27, 43)).blocks[0]
    padding = (block.groups.k_index < 0)[:, None, None, :]
    real = (block.groups.q_index >= 0)[:, None, :, None]
    assert (block.attention * padding * real).sum(-1).max() > 1e-3


def test_it_equals_the_softmax_of_scores_bias_and_mask() -> None:
    model = randomised(Swin(CONFIG))
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str):
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen[name] = (args[0], args[1])

        return hook

    handles = [
        module.register_forward_pre_hook(keep(name))
        for name, module in model.named_modules()
        if name.endswith(".attend")
    ]
    trace = capture(model, torch.randn(3, 27, 43))
    for handle in handles:
        handle.remove()
    for block in trace.blocks:
        q, k = seen[f"{block.name}.attn.attend"]
        assert block.bias is not None
        scores = torch.einsum("ghqd,ghkd->ghqk", q[0], k[0]) * q.shape[-1] ** -0.5 + block.bias
        labels = block.groups.labels
        hidden = labels[0][:, None, :, None] != labels[1][:, None, None, :]
        expected = scores.masked_fill(hidden, -math.inf).softmax(-1)
        assert torch.allclose(block.attention, expected, atol=1e-5), block.name
        assert block.error < 1e-4


@pytest.mark.parametrize("size", [(32, 32), (48, 32), (27, 43)])
def test_it_equals_transformers_own_attentions(size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install '.[peers]'")
    from vitrail import from_model

    config = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=4,
        num_labels=5, attn_implementation="eager",
    )  # fmt: skip
    peer = transformers.SwinForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.normal_(std=0.4)
    ours = from_model(peer)
    # `output_attentions` covers the last block of each stage; each block's layer returns its own.
    every: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda _, args, out: every.append(out[1]))
        for module in peer.modules()
        if type(module).__name__ == "SwinAttention"
    ]
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected = peer(image, output_attentions=True, interpolate_pos_encoding=True)
    for handle in handles:
        handle.remove()
    trace = capture(ours, image)
    assert torch.allclose(trace.logits, expected.logits[0], atol=1e-4)
    assert len(trace.blocks) == len(every) == 4
    for block, theirs in zip(trace.blocks, every, strict=True):
        assert_near(block, theirs)
    for block, theirs in zip(trace.blocks[1::2], expected.attentions, strict=True):
        assert_near(block, theirs)
    assert trace.blocks[1].kind == "SW"


def assert_near(block: BlockTrace, theirs: Tensor) -> None:
    assert block.attention.shape == theirs.shape, block.name
    difference = float((block.attention - theirs).abs().max())
    assert difference <= 1e-5, f"{block.name}: {difference}"


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


class Largest(TorchDispatchMode):
    """Follows the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # pyright: ignore
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.numbers = max(self.numbers, leaf.untyped_storage().nbytes() // 4)
        return out


def test_a_large_picture_is_captured_without_its_weights() -> None:
    """Numbers kept grow with the tokens; watching makes nothing larger than the model itself.

    The model's largest tensor is the bias and mask of a block, where windows are shifted.
    """
    config = replace(CONFIG, num_heads=(4, 8), window=(8, 8), patch=(4, 4))
    model = randomised(Swin(config))
    image = torch.randn(3, 704, 640)
    with torch.no_grad(), Largest() as plain:
        model(image[None])
    with Largest() as watched:
        trace = capture(model, image)
    tokens = 176 * 160
    weights = math.prod(trace.blocks[0].shape)
    assert weights == 4 * tokens * 64 > CHUNK
    assert watched.numbers == plain.numbers == weights
    model.get_submodule("stages.0.blocks")[1] = nn.Identity()  # no shift, no mask  # pyright: ignore
    with Largest() as watched:
        assert math.prod(capture(model, image).blocks[0].shape) == weights
    assert watched.numbers <= CHUNK
    kept = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for block in trace.blocks
        for value in (getattr(block, name) for name in BlockTrace.__slots__)
        for tensor in (value if isinstance(value, tuple) else (value,))
        if isinstance(tensor, Tensor)
    }
    # Queries and keys: 2 x 8 channels of float32 in two blocks, half as much in the two above;
    # beside them the groups, the labels, the colours and the shares.
    assert sum(kept.values()) < 3 * tokens * 2 * 8 * 4 + 2.5 * tokens * 2 * 3 * 8
    assert all(block.error < 1e-4 * max(1, block.output) for block in trace.blocks)


def test_the_error_is_that_of_an_output_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watched layer that adds 0.5 to one number of its last group is found out."""
    model = randomised(Swin(CONFIG))
    attend = model.get_submodule("stages.0.blocks.1.attn.attend")
    plain = type(attend).forward

    def wrong(self, *args: Tensor, **kwargs: object) -> Tensor:
        out = plain(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        if self is attend:
            out[0, -1, 0, -1, 0] += 0.5
        return out

    monkeypatch.setattr(type(attend), "forward", wrong)
    # The last group of the smaller picture, and of a sample of the larger one.
    for size, most in ((32, CHUNK), (32, 100)):
        monkeypatch.setattr(module, "CHUNK", most)
        errors = [block.error for block in capture(model, torch.randn(3, size, size)).blocks]
        assert errors[1] == pytest.approx(0.5, abs=1e-3)
        assert max(errors[0], *errors[2:]) < 1e-4


@pytest.mark.parametrize(("kind", "config", "shape"), CASES)
def test_features_and_shares_are_those_of_the_pass(kind, config, shape) -> None:
    model = randomised(kind(config))
    seen: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if re.fullmatch(r"stages\.\d+\.blocks\.\d+", name) or name.endswith("merge"):
            keep = lambda _, args, out, name=name: seen.update({name: out, f"{name} in": args[0]})  # noqa: E731
            module.register_forward_hook(keep)
    trace = capture(model, torch.randn(*shape))
    for block in trace.blocks:
        features = seen[block.name][0]
        assert block.dim == features.shape[-1] == 8 * 2**block.stage
        assert block.rgb is not None
        assert torch.equal(block.rgb, principal_colours(features))
        assert block.rgb.shape == (*block.spatial, 3)
    (merge,) = trace.merges
    layer = model.get_submodule("stages.1.merge")
    expected = merge_shares(layer, seen["stages.1.merge in"])
    assert merge.share is not None
    assert expected is not None
    torch.testing.assert_close(merge.share, expected)
    assert merge.share.shape == (*merge.after, math.prod(merge.factor))


def test_modes_and_hooks_come_back() -> None:
    model = randomised(Swin(replace(CONFIG, drop=0.5, attn_drop=0.5, drop_path=0.5))).train()
    model.stages[0].eval()
    modes = [module.training for module in model.modules()]
    image = torch.randn(3, 16, 16)
    first, second = capture(model, image), capture(model, image)
    assert torch.equal(first.logits, second.logits), "drop-out must rest while we look"
    assert [module.training for module in model.modules()] == modes
    assert hooks_of(model) == 0
    assert torch.is_grad_enabled()


def test_modes_and_hooks_come_back_after_an_exception() -> None:
    model = randomised(Swin(CONFIG)).train()
    modes = [module.training for module in model.modules()]

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken on purpose")

    assert model.head is not None
    model.head = Broken().train()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RuntimeError, match="on purpose"):
        capture(model, torch.randn(3, 16, 16))
    assert [module.training for module in model.modules()] == modes
    assert hooks_of(model) == 0
    assert torch.is_grad_enabled()


def test_checkpointing_makes_no_difference() -> None:
    model = randomised(Swin(CONFIG))
    image = torch.randn(3, 16, 16)
    plain = capture(model, image)
    model.set_grad_checkpointing(True)
    again = capture(model, image)
    assert len(again.blocks) == 4
    assert torch.equal(plain.logits, again.logits)


def test_strides_and_merges() -> None:
    trace = capture(randomised(Swin(VIDEO)), torch.randn(3, 6, 18, 22))
    assert [block.stride for block in trace.blocks] == [(2, 2, 2)] * 2 + [(2, 4, 4)] * 2
    (merge,) = trace.merges
    assert (merge.stage, merge.before, merge.after) == (1, (3, 9, 11), (3, 5, 6))
    assert merge.factor == (1, 2, 2)
    assert all(isinstance(block.pattern, Window) for block in trace.blocks)


def test_a_bare_backbone_has_a_trace_without_an_answer() -> None:
    model = randomised(Swin(replace(CONFIG, out_indices=(0,))))
    trace = capture(model, torch.randn(3, 16, 16))
    assert len(trace.blocks) == 2
    assert trace.logits.numel() == 0
    assert trace.top() == []


def test_facts_for_the_record() -> None:
    model = Swin(CONFIG, name="tiny_test").eval()
    trace = capture(model, torch.randn(3, 16, 16), weights="nowhere", transform=("none",))
    assert trace.model.name == "tiny_test"
    assert trace.model.weights == "nowhere"
    assert trace.model.transform == ("none",)
    assert trace.model.parameters == sum(p.numel() for p in model.parameters())
    assert not trace.model.trained
    assert (trace.model.patch, trace.model.overlap) == ((2, 2), (0, 0))


def test_patches_that_overlap_are_noted() -> None:
    model = Swin(replace(CONFIG, patch_overlap=(1, 2))).eval()
    trace = capture(model, torch.randn(3, 16, 16))
    assert (trace.model.patch, trace.model.overlap) == ((2, 2), (1, 2))
    assert trace.blocks[0].spatial == (8, 8)


def test_the_digest_sees_every_weight_and_not_the_type() -> None:
    model = randomised(Swin(CONFIG))
    original = digest(model)
    assert digest(model.double()) == original
    model.float()
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.view(-1)[-1] += 1
            assert digest(model) != original
            parameter.view(-1)[-1] -= 1


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (16, 16), (1, 1, 3, 16, 16)])
def test_one_image_at_a_time(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"capture\(model, images\[0\]\)") as error:
        capture(Swin(CONFIG), torch.randn(*shape))
    assert str(shape) in str(error.value)


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(UsageError, match="Linear") as error:
        capture(nn.Linear(2, 2), torch.randn(3, 16, 16))
    assert "vitrail.from_model" in error.value.fix
