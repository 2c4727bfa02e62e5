"""The Typer application, and the one place where errors become exit codes."""

import contextlib
import errno
import os
import sys
from typing import Annotated

import typer

from cnncli import __version__
from cnncli.catalog import resolve
from cnncli.cli import settings_file
from cnncli.cli.pages import HELP_OPTIONS, PageCommand, new_app, page
from cnncli.cli.streams import fill_missing_streams, interruptible, own_stderr, print_out, say
from cnncli.errors import CnncliError, OutputClosedError, OutputError

EXIT_BUG = 70
COMMANDS = {
    "classify": "cnncli.cli.classify:classify",
    "detect": "cnncli.cli.detect:detect",
    "segment": "cnncli.cli.segment:segment",
    "denoise": "cnncli.cli.denoise:denoise",
    "verify-face": "cnncli.cli.verify_face:verify_face",
    "sobel": "cnncli.cli.sobel:sobel",
    "merge": "cnncli.cli.merge:merge_command",
    "schema": "cnncli.cli.schema:schema_command",
}
GROUPS = {
    "eval": "cnncli.cli.evaluate:app",
    "bench": "cnncli.cli.bench:app",
    "weights": "cnncli.cli.weights:app",
}


def application(word: str | None = None) -> typer.Typer:
    """The whole command line, or, where `word` names one of its commands, that one alone.

    Declaring a command's thirty options takes time; a run needs those of one.
    """
    app = new_app(
        name="cnncli",
        help="Image analysis on convolutional networks. Answers offline, one record per input.",
        epilog="Exit codes: 0 all well, 1 some inputs failed, 2 usage, 3 weights, 4 device or memory, 70 a bug, "
        "74 output can't be written, 130/143 interrupted. Every option --some-name can be set as CNNCLI_SOME_NAME "
        "or as some-name in cnncli.toml.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": list(HELP_OPTIONS)},
    )
    alone = {word} & (COMMANDS.keys() | GROUPS.keys())
    for name, reference in COMMANDS.items():
        if not alone or name in alone:
            app.command(name, cls=PageCommand)(resolve(reference))
    for name, reference in GROUPS.items():
        if not alone or name in alone:
            app.add_typer(resolve(reference), name=name)
    app.callback()(root)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        print(f"cnncli {__version__}")
        raise typer.Exit


def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set what the environment and cnncli.toml say, before the command's own options are read."""
    context.default_map = settings_file.defaults(context.command, lambda: typer.main.get_command(application()))


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; its exit code."""
    try:
        with own_stderr(), interruptible():
            words = sys.argv[1:] if arguments is None else arguments
            app = application(words[0] if words and not completing() else None)
            if (text := page(app, "cnncli", words)) is not None:
                print_out(text)
                return 0
            code = app(words, prog_name="cnncli", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()  # help pages: a full disk is told here
        return code if isinstance(code, int) else 0
    except OutputClosedError:
        return 0
    except CnncliError as error:
        say(str(error))
        return error.exit_code
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _bug()
        say(f"standard output: can't be written ({error.strerror})")
        return OutputError.exit_code
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # the parser's own, of whatever version
            return _usage_error(error)
        return _bug()


def completing() -> bool:
    """Whether a shell asks for completions: of all commands."""
    return "_CNNCLI_COMPLETE" in os.environ


def _bug() -> int:
    import traceback

    traceback.print_exc()
    say("this is a bug in cnncli, please report it with the lines above")
    return EXIT_BUG


def _usage_error(error) -> int:
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(". ")
    if message:  # empty where a group was called alone and its help has been shown
        say(message + (f"; see '{context.command_path} --help'" if context is not None else ""))
    return error.exit_code


def main() -> None:
    """Entry point: ends the process without waiting for threads that a hanging decoder may hold."""
    # Python hands its lock on every 5 ms by default: long enough for an idle engine to wait for a decoder's few
    # lines of Python. Measured with two cores: 4 % more images a second at half a millisecond.
    sys.setswitchinterval(0.0005)
    fill_missing_streams()
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never there
            stream.flush()
    os._exit(code)
