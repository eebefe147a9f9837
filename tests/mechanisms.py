"""A small model for images of every mechanism in the catalog, with drawn weights."""

from collections.abc import Callable
from typing import Any

from tests.pyramids import small_pyramid
from tests.support import drawn, small
from vitrail.models import (
    Backbone,
    Focal,
    FocalConfig,
    FocalFast,
    FocalFastConfig,
    Hiera,
    HieraConfig,
    MaxViT,
    MaxViTConfig,
    MechanismSwin,
    MechanismSwinConfig,
    ViT,
    ViTConfig,
)
from vitrail.models.mechanism_swin import Mechanism


def _tiny(mechanism: Mechanism, sparse: str = "strided") -> Backbone:
    config = MechanismSwinConfig(
        mechanism=mechanism, dim=8, depths=(2, 2), num_heads=(2, 4), patch=(2, 2), window=(3, 4),
        sparse="fixed" if sparse == "fixed" else "strided", num_classes=5,
    )  # fmt: skip
    return drawn(MechanismSwin(config)).eval()


def _focal(halo: str, padding: str = "masked") -> Backbone:
    config = FocalConfig(
        dim=8, depths=(1, 1), num_heads=(2, 4), patch=(2, 2), windows=((4, 4), (2, 2)),
        margins=((2, 2), (1, 1)), levels=(((3, 3), (3, 3)), ((3, 3),)),
        halo="rolled" if halo == "rolled" else "exact",
        padding="visible" if padding == "visible" else "masked", num_classes=5,
    )  # fmt: skip
    return drawn(Focal(config)).eval()


def _fast() -> Backbone:
    config = FocalFastConfig(
        dim=8, depths=(1, 1), num_heads=(2, 4), patch=(2, 2), windows=((4, 4), (2, 2)), count=9,
        num_classes=5,
    )  # fmt: skip
    return drawn(FocalFast(config)).eval()


def _vit() -> Backbone:
    config = ViTConfig(
        dim=8, depths=(2,), num_heads=(2,), patch=(3, 3), positions=(4, 4), prefix=2, num_classes=5
    )
    return drawn(ViT(config)).eval()


def small_maxvit(axes: int = 2, **changes: Any) -> Backbone:
    """Return a small MaxViT whose window, grid and widths are no squares or twins."""
    fields: dict[str, Any] = {
        "dims": (8, 12), "depths": (2, 2), "num_heads": (2, 3), "stem_dim": 6, "num_classes": 5,
        "window": (3, 4, 2)[:axes], "grid": (4, 3, 2)[:axes], "patch": (2, 4, 2)[:axes],
        "merge": (2,) * axes, **changes,
    }  # fmt: skip
    return drawn(MaxViT(MaxViTConfig(**fields))).eval()


def small_hiera(axes: int = 2, **changes: Any) -> Backbone:
    """Return a small Hiera whose windows, cells and widths are no squares or twins."""
    fields: dict[str, Any] = {
        "dim": 8, "depths": (1, 2, 2), "num_heads": (2, 2, 4), "num_classes": 5,
        "window": (4, 6, 4)[:axes], "merge": (2, 3, 2)[:axes], "windowed": (True, False, False),
        "patch": (2, 1, 2)[:axes], "patch_kernel": (3, 3, 3)[:axes], "positions": (5, 4, 3)[:axes],
        **changes,
    }  # fmt: skip
    return drawn(Hiera(HieraConfig(**fields))).eval()


MECHANISMS: dict[str, Callable[[], Backbone]] = {
    "swin": lambda: small("2-D"),
    "swin_v2": lambda: small("V2"),
    "pvt": lambda: small_pyramid("v1 2-D"),
    "pvt_v2": lambda: small_pyramid("v2 2-D", reductions=((3, 2), (1, 1))),
    "pvt_v2_linear": lambda: small_pyramid("linear 2-D"),
    "vit": _vit,
    "window_tiny": lambda: _tiny("window"),
    "global_tiny": lambda: _tiny("global"),
    "axial_tiny": lambda: _tiny("axial"),
    "sparse_tiny": lambda: _tiny("sparse"),
    "sparse_tiny_fixed": lambda: _tiny("sparse", "fixed"),
    "maxvit": small_maxvit,
    "hiera": small_hiera,
    "focal": lambda: _focal("exact"),
    "focal_rolled": lambda: _focal("rolled", "visible"),
    "focal_fast": _fast,
}
