"""Print the rows of ``vitrail.weights.published`` as the installed packages have them.

Run it after an update of timm or torchvision, and put what it prints into the table.
"""

from collections.abc import Iterator

import timm
import torch
import torchvision
from timm.models import get_pretrained_cfg

import vitrail
from vitrail.models import CATALOG
from vitrail.models.aliases import PEER_NAMES

LICENCES = {"mit": "MIT", "apache-2.0": "APACHE", "cc-by-nc-4.0": "NON_COMMERCIAL", None: "None"}
NORMS = {0.485: "", 0.5: ", norm=_HALF", 0.48145466: ", norm=_CLIP"}
# Repositories that transformers' documentation names, with the size that their names say.
DOCUMENTED = {
    "swin_tiny": [("microsoft/swin-tiny-patch4-window7-224", 224)],
    "swin_v2_tiny": [("microsoft/swinv2-tiny-patch4-window8-256", 256)],
    "pvt_tiny": [("Xrenya/pvt-tiny-224", 224)],
    "pvt_v2_b0": [("OpenGVLab/pvt_v2_b0", 224)],
    "vit_base": [
        ("google/vit-base-patch16-224", 224),
        ("google/vit-base-patch16-224-in21k", 224),
    ],
}


def timm_rows(peer: str) -> Iterator[str]:
    """Yield the rows of timm's model of that name, its default first."""
    if not timm.is_model(peer):
        return
    named = timm.list_pretrained(f"{peer}.*")
    default = get_pretrained_cfg(peer)
    assert default is not None
    for name in sorted(named, key=lambda name: name != f"{peer}.{default.tag}"):
        cfg = get_pretrained_cfg(name)
        assert cfg is not None
        if cfg.hf_hub_id:
            crop = "" if cfg.crop_pct == 0.9 else f", crop={cfg.crop_pct}"
            yield (
                f'_timm("{name}", {cfg.input_size[-1]}, {cfg.num_classes}, '
                f"{LICENCES[cfg.license]}{crop}{NORMS[cfg.mean[0]]})"
            )


def torchvision_rows(peer: str, parameters: int) -> Iterator[str]:
    """Yield the rows of torchvision's model of that name, if they are of as many parameters."""
    if peer not in torchvision.models.list_models():
        return
    for weights in torchvision.models.get_model_weights(peer):
        if abs(weights.meta["num_params"] - parameters) > 20_000:  # biases of keys, kept at zero
            continue
        preset = weights.transforms()
        top1 = next(iter(weights.meta["_metrics"].values()))["acc@1"]
        bilinear = preset.interpolation.value == "bilinear"
        yield (
            f'_vision("{type(weights).__name__}.{weights.name}", {preset.crop_size[-1]}, '
            f"{len(weights.meta['categories'])}, {top1}, {preset.resize_size[0]}"
            + (', interpolation="bilinear"' if bilinear else "")
            + (", licence=NON_COMMERCIAL)" if "SWAG" in weights.name else ")")
        )


def main() -> None:
    """Print all rows, model by model."""
    for name in CATALOG:
        with torch.device("meta"):
            model = vitrail.create_model(name)
        parameters = sum(p.numel() for p in model.parameters())
        peers = PEER_NAMES.get(name, ())
        rows = [row for peer in peers for row in timm_rows(peer)]
        rows += [row for peer in peers for row in torchvision_rows(peer, parameters)]
        rows += [f'_transformers("{id}", {size})' for id, size in DOCUMENTED.get(name, ())]
        if rows:
            print(f'    "{name}": (\n' + "".join(f"        {row},\n" for row in rows) + "    ),")


if __name__ == "__main__":
    main()
