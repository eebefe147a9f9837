"""The families of models whose weights are known: one record each, in a file of its own."""

from vitrail.models import Backbone, BackboneConfig
from vitrail.weights.families import focal, hiera, maxvit, mechanism_swin, pvt, swin, vit
from vitrail.weights.families.base import Family, Format, Hints, Peer, Reshape

__all__ = ["FAMILIES", "Family", "Format", "Hints", "Peer", "Reshape", "family_of", "models"]

FAMILIES: tuple[Family, ...] = (
    *swin.FAMILIES,
    *pvt.FAMILIES,
    *hiera.FAMILIES,  # whose blocks have all of a ViT's names, and more
    *vit.FAMILIES,
    *focal.FAMILIES,
    *maxvit.FAMILIES,
    *mechanism_swin.FAMILIES,
)


def family_of(config: BackboneConfig) -> Family:
    """Return the family that a configuration is of."""
    return next(family for family in FAMILIES if family.holds(config))


def models() -> dict[str, type[Backbone]]:
    """Return the class of every family's models, by its name."""
    return {family.model.__name__: family.model for family in FAMILIES}
