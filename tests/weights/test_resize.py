import pytest
import torch
from torch.nn import functional as F

from vitrail.errors import UsageError
from vitrail.layers import PatchEmbed
from vitrail.weights.resize import resize_axes, resize_stem, resize_table


def table_of(function, window):
    """A bias table whose rows are a function of the offset along each axis."""
    lines = [torch.arange(1 - m, m, dtype=torch.float64) for m in window]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)
    return function(grid)[:, None]


@pytest.mark.parametrize(("old", "new"), [(7, 12), (12, 7), (7, 8), (8, 16)])
def test_an_image_s_table_is_resized_as_the_official_loader_does(old, new):
    table = torch.randn((2 * old - 1) ** 2, 3, dtype=torch.float64)
    # The official loader: heads as channels, bicubic, not aligned at the corners.
    image = table.permute(1, 0).reshape(1, 3, 2 * old - 1, 2 * old - 1)
    image = F.interpolate(image, size=(2 * new - 1,) * 2, mode="bicubic")
    expected = image.reshape(3, -1).permute(1, 0)
    resized = resize_table(table, (old, old), (new, new))
    torch.testing.assert_close(resized, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), [((5,), (9,)), ((4, 7), (6, 5)), ((3, 4, 5), (5, 4, 3))])
def test_each_axis_is_resized_on_its_own_in_any_rank(old, new):
    table = torch.randn(int(torch.tensor([2 * m - 1 for m in old]).prod()), 2, dtype=torch.float64)
    resized = resize_table(table, old, new)
    assert len(resized) == int(torch.tensor([2 * m - 1 for m in new]).prod())
    # The middle row is the bias of a token to itself: resizing keeps it in the middle.
    smooth = table_of(lambda d: (0.1 * d).sum(-1), old)
    assert abs(float(resize_table(smooth, old, new)[len(resized) // 2])) < 1e-12


def test_a_smooth_bias_stays_the_same_function_of_place():
    # 13 offsets become 27: what lay at offset 6 lies at 6 * 27 / 13.
    wide = 7 * 27 / 13
    smooth = table_of(lambda d: torch.cos(d / 7).prod(-1), (7, 7))
    expected = table_of(lambda d: torch.cos(d / wide).prod(-1), (14, 14))
    difference = (resize_table(smooth, (7, 7), (14, 14)) - expected).abs().reshape(27, 27)
    assert float(difference[3:-3, 3:-3].max()) < 0.01  # the border is extrapolated


def test_the_same_window_changes_nothing():
    table = torch.randn(13 * 13, 3)
    assert torch.equal(resize_table(table, (7, 7), (7, 7)), table)


def test_video_repeats_an_image_s_table_in_time():
    table = torch.randn(13 * 13, 3)
    resized = resize_table(table, (7, 7), (4, 7, 7))
    assert torch.equal(resized, table.repeat(7, 1))  # as Video Swin inflates
    bigger = resize_table(table, (7, 7), (2, 5, 5))
    assert torch.equal(bigger, resize_table(table, (7, 7), (5, 5)).repeat(3, 1))


def test_a_table_of_another_window_is_refused():
    with pytest.raises(UsageError, match=r"169 rows for window=\(8, 8\)") as error:
        resize_table(torch.zeros(169, 3), (8, 8), (7, 7))
    assert "225 rows" in error.value.allowed
    assert "the window that the table was made for" in error.value.fix


def test_a_video_s_table_does_not_become_an_image_s():
    with pytest.raises(UsageError, match=r"window=\(2, 7, 7\) to become \(7, 7\)") as error:
        resize_table(torch.zeros(3 * 169, 3), (2, 7, 7), (7, 7))
    assert "as many axes" in error.value.fix


def test_a_grid_is_bicubic():
    grid = torch.randn(1, 6, 5, 4, dtype=torch.float64)
    expected = F.interpolate(grid.movedim(-1, 1), size=(9, 3), mode="bicubic").movedim(1, -1)
    torch.testing.assert_close(resize_axes(grid, (9, 3)), expected, rtol=0, atol=1e-12)


def embed(weight, x):
    layer = PatchEmbed(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), norm=False)
    with torch.no_grad():
        layer.proj.weight.copy_(weight)
        layer.proj.bias.zero_()
        return layer(x)


@pytest.mark.parametrize("channels", [1, 6, 12])
def test_an_input_alike_in_every_channel_is_embedded_as_before(channels):
    weight = torch.randn(8, 3, 4, 4)
    grey = torch.randn(2, 1, 16, 12)
    before = embed(weight, grey.expand(-1, 3, -1, -1))
    after = embed(resize_stem(weight, channels, (4, 4)), grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_other_numbers_of_channels_repeat_them_in_turn():
    weight = torch.randn(8, 3, 4, 4)
    wider = resize_stem(weight, 4, (4, 4))
    torch.testing.assert_close(wider[:, 3], weight[:, 0] * 3 / 4)
    torch.testing.assert_close(resize_stem(weight, 2, (4, 4)), weight[:, :2] * 3 / 2)


def test_a_still_clip_is_embedded_as_its_frame():
    weight = torch.randn(8, 3, 4, 4)
    frame = torch.randn(1, 3, 8, 8)
    clip = frame[:, :, None].expand(-1, -1, 4, -1, -1)
    video = embed(resize_stem(weight, 3, (2, 4, 4)), clip)
    torch.testing.assert_close(video, embed(weight, frame)[:, None].expand(-1, 2, -1, -1, -1),
                               rtol=1e-4, atol=1e-4)  # fmt: skip
