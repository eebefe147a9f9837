"""`vitrail convert`: weights of one format to another."""

from typing import Annotated, Any

import typer

from vitrail.cli._shared import JsonOption, complete_model, parse_size, print_json

_FORMATS = ("official", "timm", "timm-old", "torchvision", "transformers", "transformers-old",
            "mmdet", "mmpretrain", "mmseg", "smp", "video-official", "vitrail")  # fmt: skip


def _complete_format(incomplete: str) -> list[str]:
    return [name for name in _FORMATS if name.startswith(incomplete)]


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A checkpoint file, a folder as save_pretrained writes it, 'bundled', or a hub "
            "repository id (owner/name).",
        ),
    ],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="The file to write: .safetensors or .pth.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", help=f"The format: {', '.join(_FORMATS)}.", autocompletion=_complete_format
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="The model the weights are of, where the file leaves that open.",
            autocompletion=complete_model,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", help="Their window, where the file does not hold it; e.g. 8 or 8x7x7."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert weights from one checkpoint format to another.

    The format of IN is recognised from its keys. OUT is written whole or not at all.
    """
    from vitrail.weights import convert

    axes = window.count("x") + 1 if window else 1
    size = parse_size(window, axes=axes, name="--window") if window else None
    # One number stands for every axis, however many the model has.
    wanted: Any = size[0] if size is not None and len(size) == 1 else size
    done = convert(source, out, to, model=model, window=wanted)
    if as_json:
        print_json(
            {
                "in": source,
                "out": out,
                "from": done.source,
                "to": done.target,
                "model": done.model,
                "weights": done.weights,
                "left": done.left,
                "unknown": done.unknown,
                "notes": done.notes,
            }
        )
        return
    named = f" of {done.model}" if done.model else ""
    print(f"{source}: {done.source} weights{named}")
    print(f"{out}: {done.weights} entries in the {done.target} format")
    for key in done.left:
        print(f"  left behind: {key} (no place in the {done.target} format)")
    for key in done.unknown:
        print(f"  not understood: {key} (no key of the {done.source} format)")
    for note in done.notes:
        print(f"  note: {note}")
