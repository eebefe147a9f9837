"""The backbone to look at in whatever model a user has."""

from torch import nn

from vitrail.models import Backbone, backbone_of, check_original, no_backbone, unwrapped


def subject(model: nn.Module) -> tuple[nn.Module, Backbone]:
    """Return the model to run, without torch's wrappers, and the backbone in it.

    Args:
        model: a backbone; a compiled, data-parallel or averaged one; or a module with one inside,
            such as ``nn.Sequential(backbone, head)``.
    Raises:
        UsageError: it has no Vitrail backbone, several, or one that ``optimize`` made.
    """
    model = unwrapped(model)
    backbone = backbone_of(model)
    if backbone is None or not backbone.attention_layers():
        raise no_backbone(model)
    check_original(model)
    return model, backbone
