"""Fewer axes are a special case of more: one code serves all ranks, and a flat map proves it."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support import Case, attention_layer, cases, drawn
from vitrail.models import Swin, SwinConfig


@given(cases(rules=("axis", "clamp", "always")), st.data(), st.booleans())
def test_an_axis_of_one_token_changes_nothing(
    case: Case, data: st.DataObject, cosine: bool
) -> None:
    """A layer with an axis more, on which the map has one token, equals the layer without."""
    if len(case.spatial) == 3:
        case = Case(case.spatial[:2], case.size[:2], case.shift[:2], case.padding, case.rule)
    axis = data.draw(st.integers(0, len(case.spatial)))
    extra = case._replace(
        spatial=_insert(case.spatial, axis, 1),
        size=_insert(case.size, axis, 1),
        shift=_insert(case.shift, axis, 0),
    )
    layer = attention_layer(case.pattern, cosine=cosine)
    wider = attention_layer(extra.pattern, cosine=cosine)
    state = layer.state_dict()
    if cosine:  # the network that makes the bias reads one coordinate more, which is zero
        weight = state["bias.mlp.0.weight"]
        columns = [*weight.unbind(1)]
        columns.insert(axis, torch.ones_like(columns[0]))
        state["bias.mlp.0.weight"] = torch.stack(columns, 1)
    wider.load_state_dict(state)
    x = case.tokens()
    with torch.no_grad():
        y = wider(x.unsqueeze(axis + 1)).squeeze(axis + 1)
        torch.testing.assert_close(y, layer(x), rtol=1e-6, atol=1e-6)


@given(depth=st.integers(2, 3), case=cases(axes=2, padding=("masked",)))
def test_a_deep_window_on_one_frame_uses_the_middle_of_its_table(depth: int, case: Case) -> None:
    if case.rule in ("always", "never", "shortest"):  # another shift along the short axis
        case = case._replace(rule="axis")
    extra = case._replace(spatial=(1, *case.spatial), size=(depth, *case.size),
                          shift=(depth // 2, *case.shift))  # fmt: skip
    volume = attention_layer(extra.pattern)
    image = attention_layer(case.pattern)
    state = volume.state_dict()
    rows = state["bias.table"].unflatten(0, (2 * depth - 1, -1))
    image.load_state_dict({**state, "bias.table": rows[depth - 1]})
    x = case.tokens()
    with torch.no_grad():
        torch.testing.assert_close(volume(x[:, None])[:, 0], image(x))


def _insert(values: tuple[int, ...], axis: int, value: int) -> tuple[int, ...]:
    return (*values[:axis], value, *values[axis:])


COMMON = {"dim": 8, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 5}


def test_a_video_of_one_frame_is_an_image() -> None:
    video = drawn(Swin(SwinConfig(patch=(1, 2, 3), window=(1, 3, 2), merge=(1, 2, 2), **COMMON)))
    image = Swin(SwinConfig(patch=(2, 3), window=(3, 2), merge=(2, 2), **COMMON))
    state = video.state_dict()
    state["embed.proj.weight"] = state["embed.proj.weight"].squeeze(2)
    image.load_state_dict(state)
    x = torch.randn(2, 3, 15, 22)
    with torch.no_grad():
        torch.testing.assert_close(image.eval()(x), video.eval()(x[:, :, None]))


def test_an_image_one_pixel_wide_is_a_sequence() -> None:
    image = drawn(Swin(SwinConfig(patch=(3, 1), window=(3, 1), merge=(2, 1), **COMMON)))
    sequence = Swin(SwinConfig(patch=(3,), window=(3,), merge=(2,), **COMMON))
    state = image.state_dict()
    state["embed.proj.weight"] = state["embed.proj.weight"].squeeze(3)
    sequence.load_state_dict(state)
    x = torch.randn(2, 3, 41)
    with torch.no_grad():
        torch.testing.assert_close(sequence.eval()(x), image.eval()(x[..., None]))
