"""Numbers of heads against closed forms, for attention that is uniform or looks at one key."""

import math

import pytest
import torch
from torch import Tensor

from tests.mechanisms import MECHANISMS
from tests.support import small
from vitrail.explain import BlockTrace, attention_distance, attention_stats, capture, entropy
from vitrail.layers import Attend
from vitrail.models import Backbone
from vitrail.patterns import Reduced

DISTANCE, ENTROPY, SELF, PADDING, WRAP = range(5)
# The small 1-D model: two samples a token, windows of four, every second block shifted by two.
WINDOW, STRIDE = 4, 2


def uniform(model: Backbone) -> Backbone:
    """Every key that a query may see gets the same attention."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".attn." in name and ".proj." not in name:
                parameter.zero_()
    return model


def image(*size: int) -> Tensor:
    return torch.randn(3, *size, generator=torch.Generator().manual_seed(0))


def looking(monkeypatch: pytest.MonkeyPatch, block: BlockTrace, key: Tensor) -> Tensor:
    """Return the numbers of a block whose queries each look at one key, given by its place."""
    groups, queries = block.groups.q_index.shape
    keys = block.groups.k_index.shape[1]
    chosen = torch.nn.functional.one_hot(key, keys).float()
    weights = chosen[:, None].expand(groups, block.heads, queries, keys)
    monkeypatch.setattr(BlockTrace, "part", lambda _, g, q: weights[g, :, q])
    return attention_stats(block)


def test_uniform_attention_in_windows_on_a_line() -> None:
    block = capture(uniform(small("1-D")), image(32)).blocks[0]
    distance = STRIDE * (WINDOW**2 - 1) / (3 * WINDOW)
    expected = torch.tensor([distance, math.log(WINDOW), 1 / WINDOW, 0, 0])
    assert torch.allclose(attention_stats(block), expected.expand(block.heads, 5))
    assert torch.allclose(attention_distance(block), torch.tensor(distance))
    assert torch.allclose(entropy(block), torch.tensor(math.log(WINDOW)))


def test_uniform_attention_in_a_plane_has_its_stride_along_each_axis() -> None:
    block = capture(uniform(small("2-D", patch=(2, 3))), image(12, 24)).blocks[0]
    places = [(2 * y, 3 * x) for y in range(3) for x in range(4)]
    distance = torch.tensor([[math.dist(p, q) for p in places] for q in places]).mean()
    assert torch.allclose(attention_distance(block), distance)
    assert torch.allclose(entropy(block), torch.tensor(math.log(12)))


def test_masked_keys_do_not_count() -> None:
    """Sixteen tokens, shifted by two: runs of 4, 4, 4 and twice 2, each all its own."""
    block = capture(uniform(small("1-D")), image(32)).blocks[1]
    stats = attention_stats(block)
    assert block.kind == "SW"
    assert torch.allclose(
        stats[:, ENTROPY], torch.tensor((12 * math.log(4) + 4 * math.log(2)) / 16)
    )
    mean = STRIDE * (12 * 15 / 12 + 4 * 3 / 6) / 16
    assert torch.allclose(stats[:, DISTANCE], torch.tensor(mean))
    assert torch.equal(stats[:, PADDING:], torch.zeros(block.heads, 2))


def test_a_mask_that_leaks_shows_as_wrap_around() -> None:
    model = uniform(small("1-D"))
    for module in model.modules():
        if isinstance(module, Attend):
            module.mask_value = 0.0
    regular, shifted, *_ = capture(model, image(32)).blocks
    # In one of four windows, two tokens of each end give half of what they have to the other end.
    assert torch.allclose(attention_stats(shifted)[:, WRAP], torch.tensor(4 * 0.5 / 16))
    assert torch.allclose(attention_stats(shifted)[:, ENTROPY], entropy(capture(
        uniform(small("1-D")), image(32)).blocks[1]))  # fmt: skip
    assert (attention_stats(regular)[:, WRAP] == 0).all()


def test_padding_that_a_model_sees_shows() -> None:
    """Fourteen tokens in windows of four: the last window is half padding."""
    block = capture(uniform(small("1-D", padding="visible")), image(28)).blocks[0]
    stats = attention_stats(block)
    assert torch.allclose(stats[:, PADDING], torch.tensor(2 * 0.5 / 14))
    assert torch.allclose(stats[:, ENTROPY], torch.tensor(math.log(4)))
    hidden = capture(uniform(small("1-D")), image(28)).blocks[0]
    assert (attention_stats(hidden)[:, PADDING] == 0).all()


def test_looking_at_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    block = capture(small("2-D", patch=(2, 3)), image(12, 24)).blocks[0]
    queries = torch.arange(12).expand(len(block.groups.q_index), 12)
    own = looking(monkeypatch, block, queries)
    assert torch.allclose(own, torch.tensor([0.0, 0, 1, 0, 0]).expand(2, 5))
    corner = looking(monkeypatch, block, torch.zeros_like(queries))
    far = torch.tensor([math.hypot(2 * y, 3 * x) for y in range(3) for x in range(4)]).mean()
    assert torch.allclose(corner, torch.tensor([float(far), 0, 1 / 12, 0, 0]).expand(2, 5))


def test_pooled_keys_lie_at_the_centre_of_their_box() -> None:
    block = capture(uniform(MECHANISMS["pvt"]()), image(12, 24)).blocks[0]
    assert isinstance(block.pattern, Reduced)
    (rows, columns), (y_step, x_step) = block.spatial, block.stride
    cells = [(3 * y + 1, 2 * x + 0.5) for y in range(rows // 3) for x in range(columns // 2)]
    far = [
        math.hypot(y_step * (y - cy), x_step * (x - cx))
        for y in range(rows) for x in range(columns) for cy, cx in cells
    ]  # fmt: skip
    stats = attention_stats(block)
    assert torch.allclose(stats[:, DISTANCE], torch.tensor(far).mean())
    assert torch.allclose(stats[:, ENTROPY], torch.tensor(math.log(len(cells))))


def test_prefix_tokens_have_no_distance_but_take_attention() -> None:
    block = capture(uniform(MECHANISMS["vit"]()), image(12, 12)).blocks[0]
    places = [(3 * y, 3 * x) for y in range(4) for x in range(4)]
    distance = torch.tensor([[math.dist(p, q) for p in places] for q in places]).mean()
    stats = attention_stats(block)
    assert torch.allclose(stats[:, DISTANCE], distance)
    assert torch.allclose(stats[:, ENTROPY], torch.tensor(math.log(18)))
    assert torch.allclose(stats[:, SELF], torch.tensor(1 / 18))


def test_focals_rolled_halo_wraps_around_and_the_exact_one_does_not() -> None:
    blocks = {
        name: capture(uniform(MECHANISMS[name]()), image(21, 43)).blocks[0]
        for name in ("focal", "focal_rolled")
    }
    assert (attention_stats(blocks["focal"])[:, WRAP] == 0).all()
    block = blocks["focal_rolled"]
    groups, (height, width) = block.groups, block.spatial
    total, count = 0.0, 0
    for window, (q_index, k_index) in enumerate(zip(groups.q_index, groups.k_index, strict=True)):
        top, left = divmod(int(q_index[0]), width)
        places = [divmod(key, width) for key in k_index.tolist() if 0 <= key < height * width]
        # Windows are 4 by 4 with a margin of 2: what lies farther away came around the border.
        near = [-2 <= y - top < 6 and -2 <= x - left < 6 for y, x in places]
        real, allowed = int((q_index >= 0).sum()), int((groups.labels[1][window] == 0).sum())
        total += real * near.count(False) / allowed
        count += real
    assert total > 0
    assert torch.allclose(attention_stats(block)[:, WRAP], torch.tensor(total / count))


@pytest.mark.parametrize("name", MECHANISMS)
def test_in_pieces_it_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = capture(MECHANISMS[name](), image(21, 31)).blocks
    whole = [attention_stats(block) for block in blocks]
    monkeypatch.setattr("vitrail.explain.pieces.MOST", 50)
    for block, stats in zip(blocks, whole, strict=True):
        assert stats.shape == (block.heads, 5)
        assert torch.isfinite(stats).all()
        assert torch.allclose(attention_stats(block), stats, atol=1e-6), block.name
