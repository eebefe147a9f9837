"""The fewest operations and bytes of a case."""

from dataclasses import replace

from benchmarks.speed.cases import case
from benchmarks.speed.floor import Least, of_attention, of_model
from benchmarks.speed.peers import ours
from vitrail import cost
from vitrail.patterns import Window


def test_a_pass_takes_the_products_of_the_cost_model() -> None:
    one = case("inference", "swin_nano", 32, 2, "fp32")
    model = ours(one)
    facts = cost(model, 32, batch=2)
    least = of_model(model, one)
    hidden = sum(  # by shifts: scores of pairs that may not see one another
        2 * 2 * (block.scores - block.pairs) * stage.dim for stage in facts.stages
        for block in stage.blocks
    )  # fmt: skip
    assert hidden > 0 and least.flops == facts.flops.total - 2 * hidden
    tokens = sum(2 * s.tokens * s.dim * len(s.blocks) for s in facts.stages)
    numbers = facts.parameters + 2 * 3 * 32 * 32 + 2 * 10 + 2 * tokens
    assert least.bytes == 4 * numbers
    assert of_model(model, replace(one, dtype="bf16")).bytes == 2 * numbers


def test_padding_costs_nothing() -> None:
    model = ours(case("inference", "swin_nano", 32, 1, "fp32"))
    facts = [of_model(model, case("inference", "swin_nano", n, 1, "fp32")).flops for n in (34, 40)]
    attention = [cost(model, n).flops.attention for n in (34, 40)]
    assert attention[0] == attention[1]  # both are padded to 20 tokens
    assert facts[0] < facts[1]


def test_training_takes_three_times_as_many_but_for_the_input() -> None:
    one = case("inference", "swin_nano", 32, 2, "fp32")
    model = ours(one)
    step = of_model(model, replace(one, task="training"))
    embed = cost(model, 32, batch=2).embed.flops.total
    assert step.flops == 3 * of_model(model, one).flops - embed
    assert step.bytes > 3 * of_model(model, one).bytes


def test_attention_counts_permitted_pairs_and_four_numbers_a_token() -> None:
    one = case("attention", "swin_tiny", 224, 2, "bf16")
    regular = of_attention(Window((7, 7), (0, 0)), one, (14, 14), 3, 32)
    assert regular.flops == 4 * 32 * 3 * 2 * 4 * 49 * 49
    assert regular.bytes == 2 * 4 * 2 * 196 * 96
    shifted = of_attention(Window((7, 7), (3, 3)), one, (14, 14), 3, 32)
    assert shifted.flops < regular.flops and shifted.bytes == regular.bytes


def test_the_longer_limit_binds() -> None:
    limits = {"flops": 1e9, "bytes": 1e6}
    assert Least(2_000_000_000, 1_000_000).as_dict(limits) == {
        "flops": 2_000_000_000, "bytes": 1_000_000, "seconds": 2.0, "bound": "products",
    }  # fmt: skip
    assert Least(1, 3_000_000).bound(limits) == "memory"
    assert Least(1, 3_000_000).seconds(limits) == 3
