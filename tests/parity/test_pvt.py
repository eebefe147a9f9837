"""PVT against transformers: true widths; and what becomes of other sizes."""

import pytest
import torch
from torch.nn import functional as F

from vitrail.models import PVT, PVTConfig
from vitrail.weights import load, to_format

transformers = pytest.importorskip("transformers")

# Odd channels per head, no two numbers alike; the published widths.
SMALL = {"hidden_sizes": [12, 20, 24, 36], "num_attention_heads": [1, 2, 3, 4],
         "depths": [1, 2, 1, 2], "mlp_ratios": [3, 2, 4, 2]}  # fmt: skip
TINY = {"hidden_sizes": [64, 128, 320, 512], "num_attention_heads": [1, 2, 5, 8],
        "depths": [2, 2, 2, 2], "mlp_ratios": [8, 8, 4, 4]}  # fmt: skip


def build(size, **variant):
    config = transformers.PvtConfig(image_size=size, num_labels=10, **variant)
    return transformers.PvtForImageClassification(config)


@pytest.mark.parametrize(
    ("size", "variant"),
    [
        pytest.param(64, SMALL, id="small"),
        # transformers counts a stage's tokens by halves: 36, 18, 9, 4 are what it takes.
        pytest.param(144, SMALL, id="odd maps"),
        pytest.param(64, {**SMALL, "sequence_reduction_ratios": [4, 4, 2, 1]}, id="reductions"),
        pytest.param(64, {**SMALL, "qkv_bias": False}, id="no biases"),
        pytest.param(64, {**SMALL, "layer_norm_eps": 1e-3}, id="eps"),
        pytest.param(96, TINY, id="tiny"),
    ],
)
@pytest.mark.filterwarnings("ignore:transformers' PVT reads its tables:UserWarning")
def test_transformers(twins, size, variant):
    twins(lambda: build(size, **variant)).check(size, size)


def test_both_directions_of_state_dicts(draw, worst):
    peer = draw(build(64, **SMALL).double()).eval()
    ours = PVT(PVTConfig(
        dims=(12, 20, 24, 36), num_heads=(1, 2, 3, 4), depths=(1, 2, 1, 2), num_classes=10,
        mlp_ratios=(3.0, 2.0, 4.0, 2.0), positions=((16, 16), (8, 8), (4, 4), (2, 2)),
        embed_norm_eps=1e-6,
    )).double().eval()  # fmt: skip
    report = load(ours, peer.state_dict())
    assert not report.entries
    assert set(report.loaded) == set(ours.state_dict())
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert worst(ours, peer, x) < 1e-9
    draw(ours, seed=1)
    assert worst(ours, peer, x) > 1e-3
    peer.load_state_dict(to_format(ours, "transformers"), strict=True)
    assert worst(ours, peer, x) < 1e-9


@pytest.mark.parametrize("size", [448, 896])
def test_an_input_with_as_many_tokens_as_the_first_table_is_resized(draw, size):
    """The official code leaves a stage's table as it is where the count is the first stage's.

    With a table for 224 pixels that is stage 2 at 448 and stage 3 at 896, where it then fails.
    Here every stage's table is resized to the grid at hand; the peer, whose tables are given in
    those sizes, says what the outputs are.
    """
    narrow = {"hidden_sizes": [4, 4, 4, 4], "num_attention_heads": [1, 1, 1, 1],
              "depths": [1, 1, 1, 1], "mlp_ratios": [1, 1, 1, 1],
              "sequence_reduction_ratios": [14, 7, 7, 1]}  # fmt: skip
    # A quarter of their sizes: the same counts, in a sixteenth of the tokens.
    size, made = size // 4, 224 // 4
    ours = PVT(PVTConfig(
        dims=(4,) * 4, num_heads=(1,) * 4, depths=(1,) * 4, mlp_ratios=(1.0,) * 4, num_classes=10,
        reductions=((14, 14), (7, 7), (7, 7), (1, 1)), embed_norm_eps=1e-6, patch_fit="floor",
        positions=tuple((made // n,) * 2 for n in (4, 8, 16, 32)),
    )).double()  # fmt: skip
    draw(ours).eval()
    counts = [(size // n) ** 2 for n in (4, 8, 16, 32)]
    assert (made // 4) ** 2 in counts[1:]
    peer = build(size, **narrow).double().eval()
    state = to_format(ours, "transformers")
    for key, table in state.items():
        if not key.endswith("position_embeddings"):
            continue
        prefix = 1 if ".3." in key else 0
        grid = table[:, prefix:]
        old = round(grid.shape[1] ** 0.5)
        new = size // (4 * 2 ** int(key.split(".")[3]))
        grid = grid.unflatten(1, (old, old)).movedim(-1, 1)
        grid = F.interpolate(grid, size=(new, new), mode="bilinear").movedim(1, -1).flatten(1, 2)
        state[key] = torch.cat((table[:, :prefix], grid), dim=1)
    peer.load_state_dict(state, strict=True)
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), peer(x).logits, rtol=1e-9, atol=1e-9)
