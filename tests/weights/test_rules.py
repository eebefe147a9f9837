import pytest
import torch

from vitrail.errors import UsageError
from vitrail.models import SwinConfig
from vitrail.weights.rules import (
    Buffer,
    Ignore,
    flat_grid,
    fuse,
    read,
    rename,
    split_qkv_bias,
    write,
)
from vitrail.weights.template import Template

CONFIG = SwinConfig(dim=24, depths=(2, 2), num_heads=(3, 6))


def test_a_fused_tensor_is_the_parts_in_order():
    rule = fuse(["q.{leaf}", "k.{leaf}", "v.{leaf}"], "qkv.{leaf}")
    parts = {f"{name}.weight": torch.full((2, 3), float(i)) for i, name in enumerate("qkv")}
    result = read(parts, [rule])
    assert (
        result.state["qkv.weight"].tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2 + [[2.0] * 3] * 2
    )
    assert result.origin["qkv.weight"] == ("q.weight", "k.weight", "v.weight")
    back, left = write(result.state, [rule], CONFIG)
    assert not left
    assert {k: v.tolist() for k, v in back.items()} == {k: v.tolist() for k, v in parts.items()}


def test_an_incomplete_group_stays_unknown():
    rule = fuse(["q.{leaf}", "k.{leaf}"], "qk.{leaf}")
    result = read({"q.weight": torch.zeros(1), "k.bias": torch.zeros(1)}, [rule])
    assert not result.state
    assert sorted(result.unknown) == ["k.bias", "q.weight"]


def test_a_key_bias_is_never_read_and_written_as_zero():
    rule = split_qkv_bias("qkv.bias", "q_bias", "v_bias")
    result = read({"qkv.bias": torch.tensor([1.0, 2.0, 8.0, 9.0, 3.0, 4.0])}, [rule])
    assert result.state["q_bias"].tolist() == [1.0, 2.0]
    assert result.state["v_bias"].tolist() == [3.0, 4.0]
    back, _ = write(result.state, [rule], CONFIG)
    assert back["qkv.bias"].tolist() == [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]


@pytest.mark.parametrize("grid", [None, (2, 8)])
def test_a_list_of_places_becomes_a_grid(grid):
    rule = flat_grid("pos", "position.table", grid and {"position.table": grid})
    places = torch.arange(48.0).reshape(1, 16, 3)
    table = read({"pos": places}, [rule]).state["position.table"]
    assert table.shape == (1, *(grid or (4, 4)), 3)
    assert torch.equal(table[0, 1, 2], places[0, (grid or (4, 4))[1] + 2])
    back, _ = write({"position.table": table}, [rule], CONFIG)
    assert torch.equal(back["pos"], places)


@pytest.mark.parametrize(("count", "grid"), [(1, (4, 4)), (2, (4, 4)), (1, (2, 8))])
def test_positions_of_prefix_tokens_stand_first(count, grid):
    rule = flat_grid("pos", "table", {"table": grid}, prefix="tokens")
    places = torch.arange((count + 16.0) * 3).reshape(1, count + 16, 3)
    state = read({"pos": places}, [rule]).state
    assert torch.equal(state["tokens"], places[:, :count])
    assert state["table"].shape == (1, *grid, 3)
    assert torch.equal(state["table"][0, 1, 2], places[0, count + grid[1] + 2])
    back, _ = write(state, [rule], CONFIG)
    assert torch.equal(back["pos"], places)


@pytest.mark.parametrize("prefix", [None, "tokens"])
def test_places_that_make_no_square_are_refused(prefix):
    rule = flat_grid("pos", "table", None, prefix=prefix)
    with pytest.raises(UsageError, match="positions of 15 places in pos") as error:
        read({"pos": torch.zeros(1, 15, 3)}, [rule])
    assert "a square grid" in error.value.allowed
    assert "name the model" in error.value.fix


def test_the_earlier_rule_wins_a_key():
    rules = [rename("norm.{leaf}", "first.{leaf}"), rename("{rest}", "second.{rest}")]
    result = read({"norm.weight": torch.zeros(1), "head.bias": torch.ones(1)}, rules)
    assert sorted(result.state) == ["first.weight", "second.head.bias"]


def test_an_alias_is_read_and_never_written():
    rules = [rename("new.{leaf}", "ours.{leaf}"), rename("old.{leaf}", "ours.{leaf}", alias=True)]
    assert list(read({"old.weight": torch.zeros(1)}, rules).state) == ["ours.weight"]
    assert list(write({"ours.weight": torch.zeros(1)}, rules, CONFIG)[0]) == ["new.weight"]


def test_buffers_are_kept_apart_and_made_anew():
    made = []

    def make(config, size, i, j):
        made.append((config is CONFIG, size, i, j))
        return torch.zeros(1) if j else None

    rule = Buffer(Template("layers.{i}.blocks.{j}.index"), "index", make)
    result = read({"layers.1.blocks.0.index": torch.ones(1)}, [rule])
    assert not result.state
    assert list(result.buffers) == [("index", 1)]
    assert list(result.ignored) == ["layers.1.blocks.0.index"]
    theirs, _ = write({}, [rule], CONFIG, (56, 56))
    assert sorted(theirs) == ["layers.0.blocks.1.index", "layers.1.blocks.1.index"]
    assert made[0] == (True, (56, 56), 0, 0)


def test_what_is_ignored_says_why():
    result = read({"mask_token": torch.zeros(1)}, [Ignore(Template("mask_token"), "no use")])
    assert result.ignored == {"mask_token": "no use"}


def test_our_keys_without_a_place_are_reported():
    _, left = write({"head.weight": torch.zeros(1)}, [rename("norm", "norm")], CONFIG)
    assert left == ["head.weight"]


def test_nothing_given_is_changed():
    state = {"q": torch.zeros(1), "k": torch.ones(1)}
    read(state, [fuse(["q", "k"], "qk")])
    assert sorted(state) == ["k", "q"]
