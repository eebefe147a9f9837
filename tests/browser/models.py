"""One model of every mechanism, drawn once for all the tests of a session."""

from functools import cache

from tests.mechanisms import MECHANISMS
from vitrail.models import Backbone

NAMES = tuple(MECHANISMS)


@cache
def mechanism(name: str) -> Backbone:
    return MECHANISMS[name]()
