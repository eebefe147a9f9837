"""The `vitrail` command: finds the verb, loads its file, turns errors into three lines.

How to add a verb `foo`:

1. Write `cli/foo.py` with one typed function `run(...)`; its docstring is the help text.
   `cli/list.py` is the example, `cli/_shared.py` has the common options.
2. At its top import the standard library, typer and `vitrail.cli._shared` only; import torch and
   the rooms inside `run`, so that `--help` and completion stay instant.
3. Raise `UsageError(given, allowed, fix)` for what the user can mend; results go to stdout,
   progress to stderr; return nothing, or `raise typer.Exit(code)`.
4. Add the name and its one-line help to `VERBS` below, and tests in `tests/cli/test_foo.py`.
"""

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vitrail.cli._failures import explain_failure, printable
from vitrail.cli._shared import nearest
from vitrail.errors import UsageError

VERBS = {
    "list": "List the models that can be created.",
    "explore": "Show what a model sees in a photo, as one offline HTML file.",
    "predict": "Classify or segment photos.",
    "train": "Train a model on folders or zips of images.",
    "evaluate": "Measure a model's accuracy on a data set.",
    "faithfulness": "Measure how far to trust a model's maps, on a data set.",
    "cost": "Show what models cost at any input size, and what fits.",
    "compare": "Measure ways to attend side by side; write a document with plots.",
    "bench": "Time a model on this machine: eager, compiled and optimised.",
    "convert": "Convert weights from one checkpoint format to another.",
    "export": "Export a model to ONNX, OpenVINO or torch.export.",
}


def load_verb(name: str) -> Any:
    """Import `vitrail.cli.<name>` and return its `run` function as a command."""
    module = importlib.import_module(f"vitrail.cli.{name}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    kind = getattr(module, "Command", None)  # what a verb's options need beyond the usual
    app.command(name, cls=kind, short_help=VERBS[name])(module.run)
    return typer.main.get_command(app)


class LazyGroup(TyperGroup):
    """Lists verbs from `VERBS`; imports a verb's file only when that verb is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb's name, its loaded command and the remaining arguments."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            raise _unknown_verb(name)
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_verb(name) if name in VERBS else command, rest


def _unknown_verb(name: str) -> UsageError:
    near = "explore " + name if os.path.isfile(name) else nearest(name, VERBS)
    return UsageError(
        given=f"command {name!r}",
        allowed=", ".join(VERBS),
        fix=f"run `vitrail {near}`" if near else "run `vitrail --help` for what each does",
    )


def _placeholder(name: str) -> Callable[[], None]:
    """A command that stands for a verb in `vitrail --help` until it is loaded."""

    def stand_in() -> None:
        raise AssertionError(f"{name} was called without being loaded")

    return stand_in


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"vitrail {version('vitrail')}")
        raise typer.Exit()
    return wanted


def build_app() -> typer.Typer:
    """Return the typer application with all verbs as placeholders."""
    app = typer.Typer(
        name="vitrail",
        cls=LazyGroup,
        add_completion=True,
        rich_markup_mode=None,  # plain help: it is read in logs and pipes too
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="`vitrail COMMAND --help` explains a command. Start with: vitrail explore photo.jpg",
    )

    @app.callback()
    def vitrail(
        version: Annotated[
            bool,
            typer.Option(
                "--version", help="Print the version.", callback=_print_version, is_eager=True
            ),
        ] = False,
    ) -> None:
        """Hierarchical attention in vision transformers: train, convert and look inside."""

    for name, summary in VERBS.items():
        app.command(name, help=summary)(_placeholder(name))
    return app


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are printed, never raised.

    Args:
        args: the words after `vitrail`; those of this process when left out.
    Returns:
        0 for success, 2 for an error the user can mend, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what it cannot encode
            stream.reconfigure(errors="backslashreplace")
    command = typer.main.get_command(build_app())
    words = list(sys.argv[1:] if args is None else args)
    try:
        result = command.main(args=words or ["--help"], prog_name="vitrail", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`head`, say) has had enough. Python flushes stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        message = explain_failure(error, words)
        if message is None:
            raise  # a bug of ours: its traceback is what a report needs
        print(printable(message), file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the `vitrail` command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
