"""Both PVTs keep the contract of a backbone, at any size and in every rank; and PVT's own parts."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import vitrail
from tests.pyramids import PYRAMIDS, SIZES, pyramid_input, small_pyramid
from tests.support import refuses, unchecked
from vitrail.layers import ReductionAttention
from vitrail.models import PVT, Backbone, PVTConfig
from vitrail.models.pvt import PVT_TINY
from vitrail.patterns import Global, Reduced

KINDS = tuple(PYRAMIDS)
V1 = tuple(kind for kind in KINDS if kind.startswith("v1"))


def attention_of(model: Backbone) -> list[list[ReductionAttention]]:
    """Return the attention layers of each stage."""
    return [
        [module for module in stage.modules() if isinstance(module, ReductionAttention)]
        for stage in model.stages
    ]


@pytest.mark.parametrize("kind", ["v1 2-D", "v2 2-D"])
def test_what_a_patch_does_not_divide_can_be_dropped(kind: str) -> None:
    model = small_pyramid(kind, patch_fit="floor")
    x = torch.randn(1, 3, 9, 13)
    if kind.startswith("v1"):  # patches of v2 overlap, and reach to the end in any case
        torch.testing.assert_close(model(x), model(x[:, :, :8, :12]))
    for samples in ((2, 3), (3, 3), (2, 20)):
        assert model(torch.randn(1, 3, *samples)).isfinite().all()


@pytest.mark.parametrize("kind", V1)
def test_positions_follow_the_input(kind: str) -> None:
    """Each stage's own table for each stage's own grid, whichever of them have equal counts."""
    model, x = small_pyramid(kind), pyramid_input(kind)
    for index, stage in enumerate(model.stages):
        seen: list[torch.Tensor] = []
        hook = stage.position.register_forward_hook(  # type: ignore[union-attr]
            lambda _, args, out, seen=seen: seen.append(out - args[0])
        )
        model(x)
        hook.remove()
        lengths = [-(-n // s) for n, s in zip(x.shape[2:], model.strides[index], strict=True)]
        table = stage.position.table.movedim(-1, 1)  # type: ignore[union-attr, operator]
        mode = ("linear", "bilinear", "trilinear")[len(lengths) - 1]
        expected = F.interpolate(table, size=lengths, mode=mode).movedim(1, -1)
        torch.testing.assert_close(seen[0][:1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [(448, 448), (896, 224)])
def test_the_sizes_at_which_the_official_code_keeps_a_table_of_another_stage(
    samples: tuple[int, int],
) -> None:
    """At 448 pixels stage 2 has as many tokens as the table of stage 1; at 896 x 224, too."""
    model = PVT(replace(PVT_TINY, dims=(2, 2, 2, 2), num_heads=(1,) * 4, mlp_ratios=(1.0,) * 4))
    maps = model.eval().features(torch.zeros(1, 3, *samples))
    assert [m.shape[1:3] for m in maps] == [tuple(n // s for n in samples) for s in (4, 8, 16, 32)]


def test_the_last_stage_has_a_token_for_the_head() -> None:
    model, x = small_pyramid("v1 2-D"), pyramid_input("v1 2-D")
    tokens = model.forward_features(x)
    assert model.num_prefix_tokens == 1
    assert tokens.shape == (2, 1 + 6 * 6, 12)
    assert model.head is not None
    torch.testing.assert_close(model(x), model.head(tokens[:, 0]))
    without = small_pyramid("v1 2-D", prefix=0, global_pool="avg")
    assert without.forward_features(x).shape == (2, 6, 6, 12)
    assert without(x).shape == (2, 5)
    with refuses("global_pool='token'", "global_pool='avg'"):
        small_pyramid("v1 2-D", prefix=0)


def test_patterns_are_those_of_the_config() -> None:
    first, second = attention_of(small_pyramid("v1 2-D"))
    assert {layer.pattern for layer in first} == {Reduced((3, 2))}
    assert {layer.pattern for layer in second} == {Global(prefix=1)}


def test_norms_have_the_papers_epsilons() -> None:
    model = small_pyramid("v1 2-D")
    eps = {n: m.eps for n, m in model.named_modules() if isinstance(m, torch.nn.LayerNorm)}
    inner = {n: e for n, e in eps.items() if n.endswith(("embed.norm", "merge.norm", "attn.norm"))}
    assert set(inner.values()) == {1e-5}
    assert {e for n, e in eps.items() if n not in inner} == {1e-6}
    other = small_pyramid("v1 2-D", embed_norm_eps=0.1, norm_eps=0.2)
    found = {m.eps for m in other.modules() if isinstance(m, torch.nn.LayerNorm)}
    assert found == {0.1, 0.2}


def test_dropping_reaches_its_places() -> None:
    for kind in ("v1 2-D", "v2 2-D"):
        model = small_pyramid(kind, drop=0.1, attn_drop=0.2, drop_path=0.3)
        layers = [layer for stage in attention_of(model) for layer in stage]
        assert all((x.proj_drop.p, x.attend.dropout) == (0.1, 0.2) for x in layers)
        blocks = [block for stage in model.stages for block in stage.blocks]  # type: ignore[union-attr]
        assert all(block.mlp.drop.p == 0.1 for block in blocks)
        assert [b.drop_path.rate for b in blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_initialisation_is_the_paper_s() -> None:
    torch.manual_seed(0)
    model = PVT(PVT_TINY)
    for name, parameter in model.named_parameters():
        if ".prefix." in name or name.endswith(("q.weight", "kv.weight", "fc1.weight", "table")):
            assert parameter.std().item() == pytest.approx(0.02, rel=0.15), name
        elif name.endswith(("norm1.weight", "norm2.weight", "norm.weight")):
            assert (parameter == 1).all(), name
        elif ".attn.q." in name or ".mlp." in name:
            assert name.endswith("weight") or not parameter.any(), name


@pytest.mark.parametrize(
    ("fields", "given", "fix"),
    [
        ({"dims": (8,)}, "dims=(8,) for 2 stages", "give 2 numbers"),
        ({"mlp_ratios": (1.0,)}, "mlp_ratios=(1.0,)", "give 2 numbers"),
        ({"mlp_ratios": (1.0, 0.0)}, "mlp_ratios=(1.0, 0.0)", "mlp_ratios=(4.0, 4.0)"),
        ({"dims": (8, -3)}, "dims=(8, -3)", "dims=(2, 3)"),
        ({"reductions": ((2, 2),)}, "reductions=((2, 2),)", "give 2 numbers"),
        ({"reductions": (2, (1, 0))}, "reductions=(1, 0)", "reductions=(1, 1)"),
        ({"positions": ((2, 2),)}, "positions=((2, 2),)", "give 2 numbers"),
        ({"num_heads": (3, 3)}, "num_heads[0]=3", "[1, 2, 4, 8]"),
        ({"prefix": -1}, "prefix=-1", "prefix=1"),
        ({"reductions": (2, 2)}, "reductions[-1]=(2, 2) beside prefix=1", "(1, 1)"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], given: str, fix: str) -> None:
    with refuses(given, fix):
        replace(PYRAMIDS["v1 2-D"], **fields)


def test_a_number_means_the_same_along_every_axis() -> None:
    with unchecked():
        config = PVTConfig(reductions=(8, 4, 2, 1), merge=2, positions=(8, 4, 2, 1))  # type: ignore[arg-type]
    assert config.reductions == PVT_TINY.reductions
    assert config.merge == (2, 2)
    assert config.positions == ((8, 8), (4, 4), (2, 2), (1, 1))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("tiny", 13.2), ("small", 24.5), ("medium", 44.2), ("large", 61.4)],
)
def test_parameters_are_those_published(name: str, parameters: float) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(f"pvt_{name}")
    count = sum(parameter.numel() for parameter in model.parameters())
    assert round(count / 1e6, 1) == parameters


def test_a_picture_one_pixel_wide_is_a_sequence() -> None:
    assert SIZES[1] == (43,)
    picture = small_pyramid(
        "v1 2-D", patch=(3, 1), merge=(2, 1), reductions=((3, 1), (1, 1)),
        positions=((4, 1), (2, 1)),
    )  # fmt: skip
    sequence = small_pyramid("v1 1-D")
    state = picture.state_dict()
    shapes = {n: p.shape for n, p in sequence.state_dict().items()}
    sequence.load_state_dict({n: p.reshape(shapes[n]) for n, p in state.items()})
    x = pyramid_input("v1 1-D")
    with torch.no_grad():
        torch.testing.assert_close(sequence(x), picture(x[..., None]), rtol=1e-4, atol=1e-5)
