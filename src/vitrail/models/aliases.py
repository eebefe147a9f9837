"""The names that timm, torchvision and transformers give the models of the catalog."""

# Timm's names, torchvision's, and the hub repositories of transformers' models. A name stands for
# the architecture; what a peer does otherwise (padding, for instance) comes with weights.
PEER_NAMES: dict[str, tuple[str, ...]] = {
    "swin_tiny": (
        "swin_tiny_patch4_window7_224",
        "swin_t",
        "microsoft/swin-tiny-patch4-window7-224",
    ),
    "swin_small": (
        "swin_small_patch4_window7_224",
        "swin_s",
        "microsoft/swin-small-patch4-window7-224",
    ),
    "swin_base": (
        "swin_base_patch4_window7_224",
        "swin_b",
        "microsoft/swin-base-patch4-window7-224",
        "microsoft/swin-base-patch4-window7-224-in22k",
    ),
    "swin_base_384": (
        "swin_base_patch4_window12_384",
        "microsoft/swin-base-patch4-window12-384",
        "microsoft/swin-base-patch4-window12-384-in22k",
    ),
    "swin_large": (
        "swin_large_patch4_window7_224",
        "microsoft/swin-large-patch4-window7-224",
        "microsoft/swin-large-patch4-window7-224-in22k",
    ),
    "swin_large_384": (
        "swin_large_patch4_window12_384",
        "microsoft/swin-large-patch4-window12-384",
        "microsoft/swin-large-patch4-window12-384-in22k",
    ),
    "swin_v2_tiny": (
        "swinv2_tiny_window8_256",
        "swin_v2_t",
        "microsoft/swinv2-tiny-patch4-window8-256",
    ),
    "swin_v2_tiny_w16": (
        "swinv2_tiny_window16_256",
        "microsoft/swinv2-tiny-patch4-window16-256",
    ),
    "swin_v2_small": (
        "swinv2_small_window8_256",
        "swin_v2_s",
        "microsoft/swinv2-small-patch4-window8-256",
    ),
    "swin_v2_small_w16": (
        "swinv2_small_window16_256",
        "microsoft/swinv2-small-patch4-window16-256",
    ),
    "swin_v2_base": (
        "swinv2_base_window8_256",
        "swin_v2_b",
        "microsoft/swinv2-base-patch4-window8-256",
    ),
    "swin_v2_base_w12_192": (
        "swinv2_base_window12_192",
        "microsoft/swinv2-base-patch4-window12-192-22k",
    ),
    "swin_v2_base_w16": (
        "swinv2_base_window16_256",
        "microsoft/swinv2-base-patch4-window16-256",
    ),
    "swin_v2_base_22k_w16": (
        "swinv2_base_window12to16_192to256",
        "microsoft/swinv2-base-patch4-window12to16-192to256-22kto1k-ft",
    ),
    "swin_v2_base_w24_384": (
        "swinv2_base_window12to24_192to384",
        "microsoft/swinv2-base-patch4-window12to24-192to384-22kto1k-ft",
    ),
    "swin_v2_large_w12_192": (
        "swinv2_large_window12_192",
        "microsoft/swinv2-large-patch4-window12-192-22k",
    ),
    "swin_v2_large_w16": (
        "swinv2_large_window12to16_192to256",
        "microsoft/swinv2-large-patch4-window12to16-192to256-22kto1k-ft",
    ),
    "swin_v2_large_w24_384": (
        "swinv2_large_window12to24_192to384",
        "microsoft/swinv2-large-patch4-window12to24-192to384-22kto1k-ft",
    ),
    "video_swin_tiny": ("swin3d_t",),
    "video_swin_small": ("swin3d_s",),
    "video_swin_base": ("swin3d_b",),
    "pvt_tiny": ("Xrenya/pvt-tiny-224", "Zetatech/pvt-tiny-224"),
    "pvt_small": ("Xrenya/pvt-small-224", "Zetatech/pvt-small-224"),
    "pvt_medium": ("Xrenya/pvt-medium-224", "Zetatech/pvt-medium-224"),
    "pvt_large": ("Xrenya/pvt-large-224", "Zetatech/pvt-large-224"),
    "pvt_v2_b0": ("pvt_v2_b0", "OpenGVLab/pvt_v2_b0"),
    "pvt_v2_b1": ("pvt_v2_b1", "OpenGVLab/pvt_v2_b1"),
    "pvt_v2_b2": ("pvt_v2_b2", "OpenGVLab/pvt_v2_b2"),
    "pvt_v2_b2_li": ("pvt_v2_b2_li", "OpenGVLab/pvt_v2_b2_linear"),
    "pvt_v2_b3": ("pvt_v2_b3", "OpenGVLab/pvt_v2_b3"),
    "pvt_v2_b4": ("pvt_v2_b4", "OpenGVLab/pvt_v2_b4"),
    "pvt_v2_b5": ("pvt_v2_b5", "OpenGVLab/pvt_v2_b5"),
    "mit_b0": ("nvidia/mit-b0",),
    "mit_b1": ("nvidia/mit-b1",),
    "mit_b2": ("nvidia/mit-b2",),
    "mit_b3": ("nvidia/mit-b3",),
    "mit_b4": ("nvidia/mit-b4",),
    "mit_b5": ("nvidia/mit-b5",),
    "hiera_tiny": ("hiera_tiny_224", "facebook/hiera-tiny-224-hf"),
    "hiera_small": ("hiera_small_224", "facebook/hiera-small-224-hf"),
    "hiera_base": ("hiera_base_224", "facebook/hiera-base-224-hf"),
    "maxvit_tiny": ("maxvit_tiny_tf_224", "maxvit_t"),
    "maxvit_small": ("maxvit_small_tf_224",),
    "maxvit_base": ("maxvit_base_tf_224",),
    "vit_tiny": (
        "vit_tiny_patch16_224",
        "deit_tiny_patch16_224",
        "facebook/deit-tiny-patch16-224",
    ),
    "vit_small": (
        "vit_small_patch16_224",
        "deit_small_patch16_224",
        "facebook/deit-small-patch16-224",
    ),
    "vit_base": (
        "vit_base_patch16_224",
        "deit_base_patch16_224",
        "vit_b_16",
        "google/vit-base-patch16-224",
        "google/vit-base-patch16-224-in21k",
        "facebook/deit-base-patch16-224",
    ),
}
ALIASES: dict[str, str] = {peer: name for name, peers in PEER_NAMES.items() for peer in peers}


def alias_of(name: str) -> str | None:
    """Return the catalog's name for a peer's, or None.

    Args:
        name: as the peer's users write it: with timm's tag (``.ms_in1k``) or without, as a hub
            repository of timm's (``timm/...``), or with ``hf-hub:`` before it.
    """
    plain = name.removeprefix("hf-hub:").removeprefix("hf_hub:").removeprefix("timm/")
    return ALIASES.get(plain) or ALIASES.get(plain.partition(".")[0])
