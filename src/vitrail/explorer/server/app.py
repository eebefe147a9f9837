"""The routes. No part of a request is ever used as the name of a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from vitrail.errors import UsageError
from vitrail.explorer.explore import single_line
from vitrail.explorer.photo import LARGEST
from vitrail.explorer.server import answers, uploads
from vitrail.explorer.server.guard import LOOPBACK
from vitrail.explorer.server.jobs import Job, Jobs, RunRequest
from vitrail.explorer.server.models import Models
from vitrail.explorer.server.payload import Payloads, needs_model, squeezed
from vitrail.explorer.server.store import Kept, Store
from vitrail.explorer.server.work import Pages, Work
from vitrail.shapes import Size

STATIC = {"/explorer.js": "text/javascript", "/explorer.css": "text/css"}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Vitrail</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/explorer.css">
<script type="module" src="/explorer.js"></script>
</head>
<body class="vitrail-page">
<div data-vitrail data-server="/api"></div>
<noscript>This page needs JavaScript; it loads nothing but its own files.</noscript>
</body>
</html>
"""


@dataclass(slots=True)
class ServerState:
    """What the routes work with.

    Args:
        models: to choose from.
        store: the traces.
        jobs: the runs.
        payloads: arrays as bytes.
        pages: notes when a page requests a trace or an array.
    """

    models: Models
    store: Store
    jobs: Jobs
    payloads: Payloads
    pages: Pages
    # Arrays that wait for a model must not keep those back that are at hand.
    at_hand: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    of_model: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    decoding: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))


def make_state(models: Models, store: Store | None = None) -> ServerState:
    """Return everything an application needs, with the usual limits."""
    work = Work(models, store or Store())
    return ServerState(models, work.store, Jobs(work), Payloads(work.running), work.pages)


def create_app(state: ServerState) -> Starlette:
    """Return the application, which ``Guard`` is to stand before."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        state.jobs.start()
        yield
        await to_thread.run_sync(state.jobs.close)

    get, api = ["GET"], "/api"
    app = Starlette(
        routes=[
            Route("/", page, methods=get),
            *(Route(path, static, methods=get) for path in STATIC),
            Route(f"{api}/traces", traces, methods=get),
            Route(f"{api}/traces/{{id}}", manifest, methods=get),
            Route(f"{api}/traces/{{id}}/arrays/{{name:path}}", array, methods=get),
            Route(f"{api}/models", models, methods=get),
            Route(f"{api}/run", run, methods=["POST"]),
            Route(f"{api}/jobs", jobs, methods=get),
            Route(f"{api}/jobs/{{id}}", job, methods=get),
            Route(f"{api}/jobs/{{id}}", cancel, methods=["DELETE"]),
        ],
        exception_handlers={
            answers.Refused: answers.on_refused,
            UsageError: answers.on_usage,
            HTTPException: answers.on_http,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.state = state
    return app


async def page(_: Request) -> Response:
    """Answer with the page, which loads the two static files and requests the rest from the API."""
    return HTMLResponse(PAGE)


@cache
def _read(name: str) -> bytes:
    return (resources.files("vitrail.explorer") / "static" / name).read_bytes()


async def static(request: Request) -> Response:
    """Answer with one of the two files; the routes are their names, written down above."""
    path = request.scope["path"]
    return Response(_read(path.removeprefix("/")), media_type=STATIC[path])


async def traces(request: Request) -> Response:
    """List the traces."""
    return JSONResponse([kept.summary() for kept in _state(request).store.newest()])


async def manifest(request: Request) -> Response:
    """Answer with a trace's manifest."""
    return JSONResponse(_kept(request, request.path_params["id"]).manifest)


async def array(request: Request) -> Response:
    """Answer with the bytes of one array."""
    state, kept = _state(request), _kept(request, request.path_params["id"])
    name = request.path_params["name"]
    limiter = state.of_model if needs_model(kept, name) else state.at_hand
    async with limiter:
        # While others had their turn, the hand may have moved on.
        if await request.is_disconnected():
            return Response(status_code=499)
        payload = await to_thread.run_sync(state.payloads.get, kept, name)
    headers, data = payload.headers(), payload.data
    # Within one machine, copying is faster than packing and unpacking.
    far = request.client is None or request.client.host not in LOOPBACK
    if far and payload.dtype != "bytes" and "gzip" in request.headers.get("accept-encoding", ""):
        small = await to_thread.run_sync(squeezed, data)
        if small is not None:
            data, headers["Content-Encoding"] = small, "gzip"
    return Response(data, headers=headers, media_type=payload.media)


async def models(request: Request) -> Response:
    """List the models, their weights, and the limits of a run."""
    state = _state(request)
    listed = [{"name": name, "weights": own} for name, own in state.models.choices.items()]
    limits = {"size": LARGEST, "upload": uploads.LIMIT, "queue": state.jobs.waiting}
    return JSONResponse({"models": listed, "limits": limits})


async def run(request: Request) -> Response:
    """Queue a run: everything that can be refused is refused before the body is read."""
    state, given = _state(request), request.query_params
    model, weights = state.models.choose(given.get("model"), given.get("weights"))
    size = parse_size(given.get("size"))
    again = _kept(request, given["photo"]) if "photo" in given else None
    with state.jobs.place() as submit:
        if again is not None:
            photo, name = again.photo, again.name
        else:
            photo, name = (
                await uploads.read_body(request),
                single_line(given.get("name") or "photo"),
            )
            await to_thread.run_sync(uploads.check_photo, photo, name, limiter=state.decoding)
        job = submit(RunRequest(model=model, weights=weights, size=size, name=name, photo=photo))
    return JSONResponse(described(state, job), 202)


async def jobs(request: Request) -> Response:
    """List the jobs that run or wait."""
    state = _state(request)
    return JSONResponse([described(state, job) for job in state.jobs.unfinished()])


async def job(request: Request) -> Response:
    """Tell how far a job is."""
    return JSONResponse(described(_state(request), _job(request)))


async def cancel(request: Request) -> Response:
    """Cancel a job that waits or runs; one that is finished stays as it is."""
    state, job = _state(request), _job(request)
    state.jobs.cancel(job)
    return JSONResponse(described(state, job))


def described(state: ServerState, job: Job) -> dict[str, Any]:
    """Return a job as the page shows it."""
    return {
        "id": job.id,
        "state": job.state,
        "ahead": state.jobs.ahead(job),
        "progress": job.progress,
        "trace": job.trace,
        "revision": job.revision,
        "error": job.error,
        "name": job.request.name,
        "model": job.request.model,
        "weights": job.request.weights,
        "size": None if job.request.size is None else list(job.request.size),
    }


def parse_size(text: str | None) -> Size | None:
    """Read a size such as ``96x128`` or ``96`` from a request.

    Raises:
        UsageError: not one or two lengths in pixels, or too large ones.
    """
    if not text:
        return None
    parts = text.split("x")
    if len(parts) <= 2 and all(part.isascii() and part.isdecimal() for part in parts):
        lengths = tuple(int(part[:9]) for part in parts) * (3 - len(parts))
        if all(1 <= n <= LARGEST for n in lengths):
            return lengths
    raise UsageError(
        f"size {text[:40]!r}",
        f"a height and a width of 1 to {LARGEST} pixels, joined by 'x', or one number for both",
        "use a size such as 224x224",
    )


def _state(request: Request) -> ServerState:
    return request.app.state.state


def _kept(request: Request, id: str) -> Kept:
    state = _state(request)
    state.pages.note()
    kept = state.store.get(id)
    if kept is None:
        raise answers.unknown(f"trace {id[:40]!r}")
    return kept


def _job(request: Request) -> Job:
    job = _state(request).jobs.get(request.path_params["id"])
    if job is None:
        raise answers.unknown(f"job {request.path_params['id'][:40]!r}")
    return job
