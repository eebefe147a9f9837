import torch

from vitrail.heads.convolutions import CONVOLUTIONS


def litter() -> None:
    """Leave infinite numbers in memory that is free again."""
    sizes = (64, 128, 512, 2048, 4096, 27 * 16 * 16)
    junk = [torch.full((size,), float("inf")) for size in sizes for _ in range(6)]
    del junk


def test_gradients_over_two_planes_are_of_what_was_computed() -> None:
    """Those of torch 2.15 in bfloat16 are whatever lay in memory."""
    torch.manual_seed(0)
    conv, x = CONVOLUTIONS[3](16, 16, 3, padding=1), torch.randn(2, 16, 2, 4, 4)
    conv(x).square().mean().backward()
    assert conv.weight.grad is not None
    right = conv.weight.grad.clone()
    for _ in range(3):
        conv.weight.grad = None
        litter()
        with torch.autocast("cpu", torch.bfloat16):
            y = conv(x.clone().requires_grad_())
        assert y.dtype == torch.bfloat16
        litter()
        y.float().square().mean().backward()
        assert conv.weight.grad is not None
        assert torch.allclose(conv.weight.grad, right, atol=0.02 * float(right.abs().max()))
