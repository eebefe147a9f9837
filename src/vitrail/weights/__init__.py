"""Every public checkpoint format as a list of invertible rules; load, save, convert."""

from vitrail.weights.convert import Conversion, convert, to_format
from vitrail.weights.heads import open_head, take_head
from vitrail.weights.load import create_with_weights, load, load_backbone, load_model
from vitrail.weights.named import create_published, find, is_name, published, usual
from vitrail.weights.peers import from_model, peer_difference, was_trained
from vitrail.weights.report import Entry, LoadReport, Misfit
from vitrail.weights.save import save
from vitrail.weights.sources import Source, read_source

__all__ = [
    "Conversion",
    "Entry",
    "LoadReport",
    "Misfit",
    "Source",
    "convert",
    "create_published",
    "create_with_weights",
    "find",
    "from_model",
    "is_name",
    "load",
    "load_backbone",
    "load_model",
    "open_head",
    "peer_difference",
    "published",
    "read_state",
    "resolve",
    "save",
    "take_head",
    "to_format",
    "usual",
    "was_trained",
]


def resolve(source: Source) -> tuple[dict, dict[str, str] | None]:  # type: ignore[type-arg]
    """Return a source's tensors under their own names, and what its file says besides."""
    content = read_source(source)
    return content.state, content.metadata


def read_state(source: Source) -> dict:  # type: ignore[type-arg]
    """Return a source's tensors under their own names."""
    return read_source(source).state
