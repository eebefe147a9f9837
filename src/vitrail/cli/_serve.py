"""`vitrail explore --serve`: the page as a server of this machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vitrail.cli._models import DEFAULT_MODEL, load_model
from vitrail.cli._shared import parse_size, print_json
from vitrail.errors import UsageError

ServeOption = Annotated[
    bool,
    typer.Option(
        "--serve",
        help="Show the page from a server on this machine: for large photos, and to switch "
        "photos and models.",
    ),
]
PortOption = Annotated[
    int | None, typer.Option("--port", help="With --serve: the port; any free one by default.")
]
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host", help="With --serve: the address to listen on; only this machine by default."
    ),
]


def serve_photo(
    photo: Path | None,
    model: str | None,
    weights: str | None,
    size: str | None,
    *,
    host: str | None,
    port: int | None,
    open_it: bool,
    as_json: bool,
) -> None:
    """Run the server until Ctrl-C; what is wrong with the options is said before it starts.

    Raises:
        UsageError: a photo, a model, a size or an address that cannot be used.
    """
    from vitrail.data.images import open_photo
    from vitrail.explorer import single_line
    from vitrail.explorer.server.app import make_state
    from vitrail.explorer.server.jobs import RunRequest
    from vitrail.explorer.server.models import Models
    from vitrail.explorer.server.serve import DEFAULT_HOST, bind, serve

    lengths = parse_size(size)
    if photo is None and lengths is not None:
        raise UsageError(
            f"--size {size} without a photo", "a photo to which it belongs", "leave --size out"
        )
    if photo is not None:
        open_photo(photo)
    bundled = model in (None, DEFAULT_MODEL) and weights in (None, "bundled")
    models = Models() if bundled else Models(*load_model(model, weights, any_task=True))
    state = make_state(models)
    listener = bind(host or DEFAULT_HOST, port or 0)
    if photo is not None:
        name, kind = state.models.choose(None, None)
        state.jobs.submit(
            RunRequest(
                model=name,
                weights=kind,
                size=lengths,
                name=single_line(photo.name),
                photo=photo.read_bytes(),
            )
        )

    def say(link: str) -> None:
        if as_json:
            print_json({"url": link})
        else:
            typer.echo(f"Vitrail is at {link}\nCtrl-C stops it.")
        sys.stdout.flush()  # the parent process may be waiting for the line

    serve(
        state,
        listener,
        host or DEFAULT_HOST,
        say=say,
        warn=lambda text: typer.echo(text, err=True),
        ready=lambda link: typer.launch(link) if open_it else None,
    )


def check_options(
    photo: Path | None, serve: bool, port: int | None, host: str | None, output: Path | None
) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: a report without a photo, or an option of the one host given to the other.
    """
    if serve and output is not None:
        raise UsageError(
            f"--serve with -o {output}",
            "a server, or a report in a file",
            "leave out one of them",
        )
    if serve:
        return
    if photo is None:
        raise UsageError(
            "no photo", "a picture file, or --serve", "run `vitrail explore photo.jpg`"
        )
    for option, value in (("--port", port), ("--host", host)):
        if value is not None:
            raise UsageError(
                f"{option} {value} without --serve", f"{option} with --serve", "add --serve"
            )
