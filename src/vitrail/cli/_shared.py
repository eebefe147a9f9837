"""Options and output that several verbs share. Imports nothing heavy at its top."""

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

import vitrail
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` most likely stands for, if any is close."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def complete_model(incomplete: str) -> list[str]:
    """Complete a model name in the shell.

    The names are read from the catalog's source, where they are keys of one literal dict:
    importing it would import torch, and a shell that waits seconds on a tab is of no use.
    """
    source = (Path(vitrail.__file__).parent / "models" / "catalog.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "CATALOG":
            keys = node.value.keys if isinstance(node.value, ast.Dict) else []
            names = [key.value for key in keys if isinstance(key, ast.Constant)]
            return [str(name) for name in names if str(name).startswith(incomplete)]
    return []


SizeOption = Annotated[
    str | None,
    typer.Option("--size", help="Input size as HxW, or one number for a square; e.g. 96x128."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1, mps; the fastest one found by default."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for scripts instead of text for people.")
]


def parse_size(
    text: str | None, *, axes: int | None = 2, name: str = "--size"
) -> tuple[int, ...] | None:
    """Read a size such as `96x128` or `96`.

    Args:
        text: lengths joined by `x`; one number stands for every axis; None stays None.
        axes: number of spatial axes; None where the model is not known yet: one to three lengths.
        name: the option, for the error.
    Returns:
        One length per axis in array order (height before width), or None.
    Raises:
        UsageError: not numbers, zero, or another number of axes.
    """
    if text is None:
        return None
    if re.fullmatch(r"\d+([xX×,]\d+)*", text.strip()):
        lengths = tuple(int(part) for part in re.split("[xX×,]", text.strip()))
        lengths = lengths * (axes or 1) if len(lengths) == 1 else lengths
        if len(lengths) == (axes or min(3, len(lengths))) and min(lengths) > 0:
            return lengths
    axes = axes or 2
    raise UsageError(
        given=f"{name} {text}",
        allowed=f"{axes} whole numbers above zero joined by 'x', or one number for all axes",
        fix=f"write {name} {'x'.join(['224'] * axes)} (height before width)",
    )


_UNITS = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_memory(text: str, *, name: str = "--memory") -> int:
    """Read an amount of memory such as `8GB` (10^9 bytes each) or `8GiB` (2^30).

    Args:
        text: a number with its unit.
        name: the option, for the error.
    Returns:
        Bytes.
    Raises:
        UsageError: no number above zero with a unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?)B?", text.strip().upper())
    if match is None or float(match[1]) == 0:
        unit = "GB" if re.fullmatch(r"\d+(\.\d+)?", text.strip()) and float(text) > 0 else None
        fix = f"{name} {text.strip()}{unit}" if unit else f"{name} 8GB"
        raise UsageError(f"{name} {text}", "a number above zero with a unit: MB, GB, GiB", fix)
    return int(float(match[1]) * _UNITS[match[2]])


def several_values(*options: str) -> type[TyperCommand]:
    """Return a kind of command whose `options` take several values, as in `--size 224 1024x2048`.

    A value is a word that begins with a digit; what follows the last one is an argument again.
    """

    class Several(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            words, option = [], None
            for word in args:
                if option is not None and words[-1] != option and word[:1].isdigit():
                    words.append(option)  # one more value: the option once more
                elif not word[:1].isdigit():
                    option = word if word in options else None
                words.append(word)
            return super().parse_args(ctx, words)

    return Several


@contextmanager
def option_words(**options: str) -> Iterator[None]:
    """Put errors about fields that options have given into the words of the command line.

    `lr=-1.0` becomes `--lr -1.0`, and the fix `use lr=None` becomes `leave --lr out`.

    Args:
        options: the option of each field.
    """
    try:
        yield
    except UsageError as error:
        given, fix = error.given, error.fix
        for field, option in options.items():
            fix = re.sub(rf"\buse {field}=None\b", f"leave {option} out", fix)
            value = re.compile(rf"\b{field}='?([^\s',]*)'?")
            given, fix = value.sub(rf"{option} \1", given), value.sub(rf"{option} \1", fix)
        raise type(error)(given, error.allowed, fix) from None


def to_json(value: Any) -> str:
    """Return `value` as JSON that any UTF-8 reader takes; odd bytes of file names are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()


def print_json(value: Any) -> None:
    """Print `value` as JSON on stdout, escaped where its encoding does not know a character."""
    print(to_json(value) if prints("é█√") else json.dumps(value, indent=2))


def prints(text: str) -> bool:
    """Return whether stdout can show `text`, which an encoding such as ASCII cannot."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def size_words(size: Iterable[int], trained: Iterable[int]) -> str:
    """Return an input size, and the one of the weights where that is another."""
    shown, own = (" x ".join(map(str, lengths)) for lengths in (size, trained))
    return shown if shown == own else f"{shown} (the weights are for {own})"


def say(step: str) -> None:
    """Print the name of a step that begins, on stderr, so that no wait is silent."""
    print(f"{step} ...", file=sys.stderr, flush=True)


def console() -> "Console":
    """Return a console on stdout that does not fold lines when the output is a file or a pipe."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def progress(*, hidden: bool = False) -> "Progress":
    """Return a progress display on stderr, so that stdout stays clean for results.

    Where stderr is no terminal there is none: rich leaves an empty line behind there.

    Args:
        hidden: show none. To disable it later would leave a terminal without its cursor.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    shown = Console(stderr=True)
    hidden = hidden or not shown.is_interactive
    return Progress(*columns, console=shown, transient=True, disable=hidden)
