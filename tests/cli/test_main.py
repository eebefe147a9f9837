"""The frame of the command line: help, lazy verbs, errors in three lines, completion."""

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from vitrail.cli import _failures, main
from vitrail.cli._failures import EXTRA_OF, explain_failure
from vitrail.cli._shared import complete_model, parse_size, progress
from vitrail.errors import UsageError
from vitrail.extras import install_words

Command = Callable[..., subprocess.CompletedProcess[str]]
Verb = Callable[[Callable[..., None]], None]


def lines(text: str) -> list[str]:
    """Return the first words of the lines of an error."""
    return [line.partition(":")[0] for line in text.strip().splitlines()]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Verb]:
    """Put a function in the place of the verb `list`."""

    def install(function: Callable[..., None]) -> None:
        module = ModuleType("vitrail.cli.list")
        setattr(module, "run", function)  # noqa: B010
        monkeypatch.setitem(sys.modules, "vitrail.cli.list", module)

    yield install


def test_help_lists_every_verb_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, summary in main.VERBS.items():
        assert name in out and summary.split(",")[0][:40] in out


def test_no_words_at_all_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize("name", main.VERBS)
def test_every_verb_has_a_file_with_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"vitrail {name}" in out
    doc = importlib.import_module(f"vitrail.cli.{name}").run.__doc__
    assert doc.strip().split()[0] in out


@pytest.mark.parametrize("name", main.VERBS)
def test_the_help_of_a_verb_does_not_import_torch(name: str) -> None:
    code = (
        "import sys\nfrom vitrail.cli.main import run\n"
        f"code = run([{name!r}, '--help'])\nsys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("vitrail 0.")


@pytest.mark.parametrize(
    ("typed", "fix"), [("trian", "run `vitrail train`"), ("frobnicate", "run `vitrail --help`")]
)
def test_an_unknown_verb_names_the_nearest(
    typed: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([typed]) == 2
    err = capsys.readouterr().err
    assert lines(err) == ["given", "allowed", "fix"]
    assert repr(typed) in err and fix in err


def test_a_photo_in_the_place_of_a_verb_is_explored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "cat.png"
    photo.touch()
    assert main.run([str(photo)]) == 2
    assert f"fix: run `vitrail explore {photo}`" in capsys.readouterr().err


def test_an_unknown_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["list", "--jsn"]) == 2
    err = capsys.readouterr().err
    assert lines(err) == ["given", "allowed", "fix"]
    assert "--jsn" in err and "fix: use --json" in err


def test_a_superfluous_argument_points_to_the_help_of_the_verb(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["list", "a", "b"]) == 2
    err = capsys.readouterr().err
    assert "(b)" in err and "fix: run `vitrail list --help`" in err


def test_a_usage_error_prints_three_lines_and_no_traceback(command: Command) -> None:
    done = command("list", "no_such_model")
    assert done.returncode == 2
    assert lines(done.stderr) == ["given", "allowed", "fix"]
    assert "no_such_model" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(("package", "extra"), EXTRA_OF.items())
def test_a_missing_package_names_the_extra_that_brings_it(package: str, extra: str) -> None:
    message = explain_failure(ModuleNotFoundError("no", name=f"{package}.deep.inside"))
    assert message is not None
    assert repr(package) in message and f"fix: {install_words(extra)}" in message


def test_every_extra_that_is_named_brings_its_package() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for package, extra in EXTRA_OF.items():
        required = " ".join(project["optional-dependencies"][extra])
        assert package.replace("skimage", "scikit-image") in required


def test_a_missing_module_of_our_own_is_a_bug_and_keeps_its_traceback(verb: Verb) -> None:
    def broken() -> None:
        importlib.import_module("vitrail.no_such_room")

    verb(broken)
    with pytest.raises(ModuleNotFoundError, match="no_such_room"):
        main.run(["list"])


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOENT, "check the spelling"),
        (errno.EACCES, "choose another path"),
        (errno.ENOSPC, "free some space"),
        (errno.EISDIR, "name a file"),
        (errno.ENOTDIR, "name a folder"),
        (errno.EIO, "check the path, the disk"),
    ],
)
def test_an_error_of_the_file_system_names_the_path_and_a_fix(
    number: int, fix: str, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> None:
        raise OSError(number, "said the system", "some/file")

    verb(failing)
    assert main.run(["list"]) == 2
    err = capsys.readouterr().err
    assert lines(err) == ["given", "allowed", "fix"]
    assert "some/file: said the system" in err and fix in err


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["\x1b[31mred"]) == 2
    assert "\x1b" not in capsys.readouterr().err
    assert _failures.printable("a\x1b[2Jb\nc") == "a?[2Jb\nc"


def test_an_interrupt_exits_with_130(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    verb(interrupted)
    assert main.run(["list"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error() -> None:
    code = "from vitrail.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_an_exit_code_of_a_verb_is_passed_on(verb: Verb) -> None:
    import typer

    def unhappy() -> None:
        raise typer.Exit(3)

    verb(unhappy)
    assert main.run(["list"]) == 3


def test_any_other_error_is_a_bug() -> None:
    assert _failures.explain_failure(RuntimeError("ours")) is None


@pytest.mark.parametrize(
    ("text", "size"), [("96", (96, 96)), ("96x128", (96, 128)), ("96X128", (96, 128)), (None, None)]
)
def test_sizes_are_height_before_width(text: str | None, size: tuple[int, int] | None) -> None:
    assert parse_size(text) == size


def test_sizes_have_any_number_of_axes() -> None:
    assert parse_size("8x96x128", axes=3) == (8, 96, 128)
    assert parse_size("96", axes=3) == (96, 96, 96)


@pytest.mark.parametrize("text", ["", "x", "96x", "0", "0x96", "-3", "96x96x96", "9.5", "big"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.given == f"--size {text}"
    assert caught.value.fix == "write --size 224x224 (height before width)"


def completions(words: str, command: Command) -> list[str]:
    env = {
        **os.environ,
        "_VITRAIL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "import sys; from vitrail.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_verbs_options_and_model_names(command: Command) -> None:
    assert completions("vitrail pre", command) == ["predict"]
    assert "--json" in completions("vitrail list --j", command)
    assert completions("vitrail list swin_v2_t", command) == ["swin_v2_tiny", "swin_v2_tiny_w16"]


def test_model_names_complete_to_those_that_can_be_created() -> None:
    from vitrail import list_models

    assert complete_model("") == list_models()
    assert complete_model("video_") == list_models("video_*")


def test_completion_can_be_installed(command: Command) -> None:
    # Not --show-completion: it looks for the shell above it, and under make there may be none.
    source = str(Path(main.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source, "_VITRAIL_COMPLETE": "source_bash"}
    done = command(env=environment)
    assert done.returncode == 0 and "_VITRAIL_COMPLETE=complete_bash" in done.stdout
    assert "--install-completion" in command("--help").stdout


def test_the_package_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "vitrail", "--version"]
    assert subprocess.run(words, capture_output=True, check=True).stdout.startswith(b"vitrail ")


@pytest.mark.parametrize("hidden", [False, True])
def test_progress_gives_a_terminal_its_cursor_back(
    hidden: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("TTY_COMPATIBLE", "1"), ("TTY_INTERACTIVE", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    with progress(hidden=hidden) as bar:
        assert list(bar.track(range(3))) == [0, 1, 2]
    err = capsys.readouterr().err
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == (not hidden)


def test_progress_leaves_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        assert list(bar.track(range(3))) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
