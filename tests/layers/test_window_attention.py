"""What the layers of attention add to the laws: regions, heads, dropping, hooks."""

import math
from typing import Any

import pytest
import torch

from tests.support import Case, attention_layer
from vitrail.layers import Attend, CosineWindowAttention, Mlp, WindowAttention
from vitrail.patterns import Window


@pytest.mark.parametrize(
    ("spatial", "shift", "padding", "needed"),
    [
        ((6, 8), (0, 0), "masked", False),  # nothing to distinguish
        ((6, 8), (0, 0), "visible", False),
        ((6, 8), (1, 0), "visible", True),  # tokens of opposite edges
        ((7, 8), (0, 0), "masked", True),  # padding
        ((7, 8), (0, 0), "visible", False),
        ((3, 4), (1, 2), "masked", False),  # one window, which is not shifted
    ],
)
def test_labels_are_made_only_where_a_window_holds_several(
    spatial: tuple[int, int], shift: tuple[int, int], padding: str, needed: bool
) -> None:
    pattern = Window((3, 4), shift, padding)  # type: ignore[arg-type]
    assert (pattern.groups(spatial).q_region is not None) == needed


def test_a_hook_sees_what_goes_into_attention() -> None:
    case = Case((5, 6), (3, 4), (1, 2))
    layer = attention_layer(case.pattern)
    seen: dict[str, object] = {}

    def hook(_: object, args: tuple[torch.Tensor, ...], kwargs: dict[str, object]) -> None:
        seen.update(zip(("q", "k", "v"), args, strict=True), **kwargs)

    layer.attend.register_forward_pre_hook(hook, with_kwargs=True)
    layer(case.tokens(batch=2))
    assert set(seen) == {"q", "k", "v", "scale", "bias", "region"}
    assert isinstance(seen["q"], torch.Tensor)
    assert seen["q"].shape == (2, 4, 2, 12, 2)  # batch, windows, heads, tokens, head_dim


def test_the_scale_is_that_of_a_head() -> None:
    layer = WindowAttention(12, 3, Window((2, 2), (0, 0)))
    assert layer.scale == pytest.approx(1 / math.sqrt(4))


def test_dropout_works_in_training_only() -> None:
    case = Case((4, 4), (2, 2), (0, 0))
    drops: tuple[dict[str, Any], ...] = ({"attn_drop": 0.5}, {"proj_drop": 0.5})
    for options in drops:
        layer = attention_layer(case.pattern, **options)
        x = case.tokens()
        assert torch.equal(layer(x), layer(x))
        layer.train()
        assert not torch.equal(layer(x), layer(x))


def test_without_a_bias_of_queries_keys_and_values() -> None:
    pattern = Window((2, 2), (0, 0))
    assert WindowAttention(4, 2, pattern, qkv_bias=False).qkv.bias is None
    cosine = CosineWindowAttention(4, 2, pattern, qkv_bias=False)
    assert cosine.q_bias is None
    assert cosine.v_bias is None
    assert cosine(torch.randn(1, 4, 4, 4)).isfinite().all()


def test_the_logit_scale_of_cosines_has_a_limit() -> None:
    case = Case((4, 4), (2, 2), (0, 0))
    layer = attention_layer(case.pattern, cosine=True)
    assert isinstance(layer, CosineWindowAttention)
    with torch.no_grad():
        layer.logit_scale.fill_(math.log(100))
        at_limit = layer(case.tokens())
        layer.logit_scale.fill_(50.0)
        torch.testing.assert_close(layer(case.tokens()), at_limit)


def test_scores_of_cosines_do_not_grow_with_the_input() -> None:
    case = Case((4, 4), (2, 2), (0, 0))
    layer = attention_layer(case.pattern, cosine=True)
    assert isinstance(layer, CosineWindowAttention)
    assert layer.q_bias is not None
    seen: list[torch.Tensor] = []
    layer.attend.register_forward_pre_hook(lambda _, args: seen.extend(args[:2]))
    with torch.no_grad():
        layer.q_bias.zero_()
        layer(case.tokens())
        layer(100 * case.tokens())
    q, k, louder, _ = seen
    torch.testing.assert_close(louder, q)
    lengths = layer.logit_scale.exp().flatten()[:, None].expand(q.shape[:-1])
    torch.testing.assert_close(q.norm(dim=-1), lengths)
    torch.testing.assert_close(k.norm(dim=-1), torch.ones(k.shape[:-1], dtype=k.dtype))


def test_a_module_says_how_it_attends() -> None:
    assert repr(Attend()) == "Attend(backend=None, mask_value=-inf, dropout=0.0)"


def test_the_perceptron_treats_each_token_alone() -> None:
    mlp = Mlp(4, 8, drop=0.5).eval()
    x = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(mlp(x)[1, 2], mlp(x[1, 2]))
    hidden = torch.nn.functional.gelu(x @ mlp.fc1.weight.T + mlp.fc1.bias)
    torch.testing.assert_close(mlp(x), hidden @ mlp.fc2.weight.T + mlp.fc2.bias)
    assert not torch.equal(mlp.train()(x), mlp(x))
