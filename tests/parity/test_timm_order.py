"""timm rolls before it pads: with the groups that this leads to, a layer is timm's at odd sizes."""

import pytest
import torch

from tests.laws.peers import rolled_then_padded
from tests.support import Case, attention_layer
from vitrail.patterns import Window

swin = pytest.importorskip("timm.models.swin_transformer")


@pytest.mark.parametrize("spatial", [(7, 9), (15, 16), (9, 21), (8, 9)])
def test_a_peer_s_order_is_a_value(
    spatial: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(spatial, (4, 3), (2, 1), "visible")
    block = swin.SwinTransformerBlock(
        4, spatial, num_heads=2, window_size=(4, 3), shift_size=(2, 1), dynamic_mask=True
    )
    theirs = block.double().eval()
    layer = attention_layer(case.pattern, mask_value=-100.0)
    state = layer.state_dict()
    theirs.attn.load_state_dict(
        {name.replace("bias.table", "relative_position_bias_table"): value
         for name, value in state.items()}, strict=False,
    )  # fmt: skip
    x = case.tokens()
    with torch.no_grad():
        expected = theirs._attn(x)
        differs = not torch.allclose(layer(x), expected, atol=1e-6)
        monkeypatch.setattr(Window, "groups", rolled_then_padded)
        torch.testing.assert_close(layer(x), expected, rtol=1e-9, atol=1e-9)
    ragged = any(n % m for n, m in zip(spatial, case.size, strict=True))
    assert differs == ragged
