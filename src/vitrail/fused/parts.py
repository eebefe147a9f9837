"""Whether a block is made of what the kernels know."""

from torch import nn

from vitrail.layers import Mlp


def known_parts(module: nn.Module) -> bool:
    """Tell whether a block's or perceptron's parts are what its own class puts there.

    A user may have put others in their place: adapters, another activation, another norm.
    """
    mlp = module if isinstance(module, Mlp) else getattr(module, "mlp", None)
    if not isinstance(mlp, Mlp):
        return False
    linears = [mlp.fc1, mlp.fc2, *(m for m in module.modules() if isinstance(m, nn.Linear))]
    norms = [getattr(module, name) for name in ("norm1", "norm2") if hasattr(module, name)]
    qkv = getattr(getattr(module, "attn", None), "qkv", None)
    return (
        all(type(linear) is nn.Linear for linear in linears)
        and all(type(norm) is nn.LayerNorm for norm in norms)
        and (qkv is None or type(qkv) is nn.Linear)
        and type(mlp.act) is nn.GELU
        and mlp.act.approximate == "none"
    )
