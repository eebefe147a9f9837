import torch

from vitrail.layers import PrefixTokens


def test_tokens_come_first_and_the_grid_comes_back() -> None:
    prefix = PrefixTokens(4, 2, position=True)
    prefix.reset_parameters()
    x = torch.randn(3, 5, 7, 4)
    tokens = prefix(x)
    assert tokens.shape == (3, 2 + 35, 4)
    assert prefix.position is not None
    first, grid = prefix.split(tokens, (5, 7))
    torch.testing.assert_close(first, (prefix.tokens + prefix.position).expand(3, -1, -1))
    torch.testing.assert_close(grid, x)


def test_every_parameter_is_drawn() -> None:
    torch.manual_seed(0)
    prefix = PrefixTokens(64, 1, position=True)
    prefix.reset_parameters()
    for parameter in prefix.parameters():
        assert 0.01 < float(parameter.detach().std()) < 0.03


def test_without_positions() -> None:
    assert [name for name, _ in PrefixTokens(4).named_parameters()] == ["tokens"]
