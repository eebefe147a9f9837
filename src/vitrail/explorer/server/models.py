"""The models that a page may request: names out of a list, and never a file or an address."""

from collections import OrderedDict
from typing import Any

import torch

from vitrail.errors import UsageError
from vitrail.models import CATALOG, Backbone
from vitrail.weights import create_with_weights

LOADED = 2  # models kept ready beside the one that the server was started with
_BUNDLED = "swin_nano"  # whose weights come with the package


class Models:
    """Every model for photos, with the weights there are for it.

    Args:
        given: a model that the server was started with, if any.
        source: where that model's weights came from, in words.
    """

    def __init__(self, given: Backbone | None = None, source: str = "the model as given") -> None:
        self._given, self.source = given, source
        self._ready: OrderedDict[tuple[str, str], Backbone] = OrderedDict()

    @property
    def choices(self) -> dict[str, list[str]]:
        """Return the weights of each model by its name; the first ones are the default."""
        given = self._given_name
        choices = {} if given is None else {given: ["given"]}
        for name in (_BUNDLED, *CATALOG):
            if CATALOG[name].config.takes_photos:
                own = [*choices.get(name, []), *(["bundled"] if name == _BUNDLED else []), "none"]
                choices[name] = list(dict.fromkeys(own))
        return choices

    def choose(self, model: str | None, weights: str | None) -> tuple[str, str]:
        """Return a model's name and which of its weights, with the defaults filled in.

        Raises:
            UsageError: none of the choices.
        """
        choices = self.choices
        model = model or next(iter(choices))
        if model not in choices:
            raise UsageError(
                f"model {model[:80]!r}",
                f"one of {', '.join(choices)}",
                "choose one that GET /api/models lists",
            )
        weights = weights or choices[model][0]
        if weights not in choices[model]:
            raise UsageError(
                f"weights {weights[:80]!r} for {model}",
                f"one of {', '.join(choices[model])}",
                "start the server with them: vitrail explore --serve --weights FILE",
            )
        return model, weights

    def load(self, model: str, weights: str) -> tuple[Backbone, str]:
        """Return a model that ``choose`` returned, and in words where its weights came from."""
        if weights == "given":
            assert self._given is not None
            return self._given, self.source
        key = (model, weights)
        if key not in self._ready:
            while len(self._ready) >= LOADED:
                self._ready.popitem(last=False)
            self._ready[key] = _create(model, weights)
        self._ready.move_to_end(key)
        said = "none: random numbers, seed 0" if weights == "none" else weights
        return self._ready[key], said

    @property
    def _given_name(self) -> str | None:
        if self._given is None:
            return None
        return getattr(self._given, "name", None) or type(self._given).__name__


def _create(model: str, weights: str) -> Backbone:
    entry: Any = CATALOG[model]
    if weights == "bundled":
        return create_with_weights(model, entry, entry.config, "bundled")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same random numbers every time
        made = entry.model(entry.config, preprocessing=entry.preprocessing, name=model)
    return made.eval()
