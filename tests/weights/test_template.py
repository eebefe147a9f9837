import pytest

from vitrail.weights.template import Template


@pytest.mark.parametrize(
    ("text", "key", "binding"),
    [
        ("layers.{i}.blocks.{j}.{leaf}", "layers.2.blocks.11.weight",
         {"i": 2, "j": 11, "leaf": "weight"}),
        ("features.{2i+1}.{j}.norm1", "features.5.3.norm1", {"i": 2, "j": 3}),
        ("layers.{i+1}.downsample.{rest}", "layers.3.downsample.norm.weight",
         {"i": 2, "rest": "norm.weight"}),
        ("norm{i}.{leaf}", "norm0.bias", {"i": 0, "leaf": "bias"}),
    ],
)  # fmt: skip
def test_match_and_fill_undo_each_other(text, key, binding):
    template = Template(text)
    assert template.match(key) == binding
    assert template.fill(binding) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("features.{2i+1}.{j}.norm1", "features.4.3.norm1"),  # an even entry is a merging
        ("layers.{i+1}.downsample.norm", "layers.0.downsample.norm"),  # no stage before the first
        ("features.{2i+2}.norm", "features.0.norm"),
        ("{leaf}.weight", "a.b.weight"),
        ("norm.{leaf}", "xnorm.weight"),
        ("norm.{leaf}", "norm.weight.more"),
        ("a.{i}.b.{i}", "a.1.b.2"),
        ("layers.{i}", "layers.x"),
        ("patch_embed.proj", "patch_embedXproj"),
    ],
)
def test_what_does_not_fit_is_not_matched(text, key):
    assert Template(text).match(key) is None


def test_the_same_variable_twice_must_agree():
    assert Template("a.{i}.b.{2i}").match("a.3.b.6") == {"i": 3}
