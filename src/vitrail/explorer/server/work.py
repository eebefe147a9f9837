"""What a job does: a model, a photo, one run; it reports its progress and stops when cancelled."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from vitrail.data.images import decode
from vitrail.explorer.explore import iter_trace
from vitrail.explorer.server.jobs import Job
from vitrail.explorer.server.models import Models
from vitrail.explorer.server.store import Kept, Store
from vitrail.models import backbone_of

# Seconds that a run leaves to the page which draws its trace: until it has been quiet so long,
# and at most so many. A run that was quick so far has not much more to do.
QUIET, MOST = 1.0, 5.0
SHORT = 1.0


class Pages:
    """When a page last sent a request.

    A run that goes on after its trace was shown would take the processor from the page that draws
    it: it waits until the page has what it needs.
    """

    def __init__(self) -> None:
        self._last = -math.inf

    def note(self) -> None:
        """Note that a page sends a request now."""
        self._last = time.monotonic()

    def give_way(self, quiet: float, most: float) -> None:
        """Wait until no page has sent a request for a while.

        Args:
            quiet: seconds without a request.
            most: seconds after which the wait is over in any case.
        """
        now = start = time.monotonic()
        while (left := min(max(start, self._last) + quiet, start + most) - now) > 0:
            time.sleep(left)
            now = time.monotonic()


class Work:
    """Runs models and keeps what they showed.

    Args:
        models: to choose from.
        store: where traces go.
    """

    def __init__(self, models: Models, store: Store) -> None:
        self.models, self.store, self.pages = models, store, Pages()
        # Models are not for two threads at once: gradients and hooks of one run would meet
        # another. Who runs one holds this.
        self.running = threading.Lock()

    def __call__(self, job: Job) -> None:
        """Do a job; its trace is shown as soon as it can be drawn, and completed then."""
        request = job.request
        with self.running:
            job.report("model", 0.0)
            model, source = self.models.load(request.model, request.weights)
            job.report("photo", 0.05)
            photo = decode(request.photo, request.name)
            job.report("forward", 0.1)
            with watched(model, job):
                steps = iter_trace(
                    model,
                    photo.image,
                    size=request.size,
                    source=source,
                    name=request.name,
                    notes=photo.notes,
                )
                kept, begun = None, time.monotonic()
                for _, manifest, arrays in steps:
                    first = kept is None
                    kept = Kept(
                        manifest=manifest,
                        arrays=arrays,
                        photo=request.photo,
                        name=request.name,
                        weights=request.weights,
                        **({} if kept is None else {"id": kept.id}),
                    )
                    job.show(self.store.add(kept))
                    job.report("figures", 0.5)
                    if first and time.monotonic() - begun > SHORT:
                        self.pages.give_way(QUIET, MOST)


@contextmanager
def watched(model: nn.Module, job: Job) -> Iterator[None]:
    """Report every block to the job as it begins, and stop there when the job is cancelled."""
    backbone = backbone_of(model)
    blocks = [] if backbone is None else backbone.blocks()
    stages = 1 + max((block.stage for block in blocks), default=0)
    thread, begun = threading.get_ident(), 0

    def begins(stage: int) -> None:
        nonlocal begun
        if threading.get_ident() != thread:
            return
        passes, block = divmod(begun, len(blocks))
        places = {"stage": stage + 1, "stages": stages, "block": block + 1, "blocks": len(blocks)}
        if passes == 0:
            job.report("forward", 0.1 + 0.4 * block / len(blocks), **places)
        else:  # the logits are there; further passes measure gradients and more
            job.report("figures", 0.5, **places, passes=passes)
        begun += 1

    with ExitStack() as hooks:
        for block in blocks:

            def hook(_: nn.Module, __: Any, stage: int = block.stage) -> None:
                begins(stage)

            hooks.callback(block.module.register_forward_pre_hook(hook).remove)
        yield
