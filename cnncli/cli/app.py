"""The Typer application, and the one place where errors become exit codes."""

import contextlib
import errno
import functools
import gc
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cnncli import __version__
from cnncli.catalog import TASKS, resolve
from cnncli.cli import settings_file
from cnncli.cli.pages import HELP_OPTIONS, PageCommand, new_app, page
from cnncli.cli.streams import fill_missing_streams, interruptible, own_stderr, print_out, say
from cnncli.errors import CnncliError, InterruptedRunError, OutputClosedError, OutputError

EXIT_BUG = 70


@dataclass(frozen=True)
class Command:
    """Where a command is declared, and what the first page says of it."""

    reference: str
    summary: str


COMMANDS = {
    "classify": Command("cnncli.cli.classify:classify", "What is in the photo? Labels and scores."),
    "detect": Command("cnncli.cli.detect:detect", "Where are things? Labels, scores and boxes."),
    "segment": Command("cnncli.cli.segment:segment", "Which pixels are what? Masks and cut-outs."),
    "denoise": Command("cnncli.cli.denoise:denoise", "Take the noise out of a photo."),
    "verify-face": Command("cnncli.cli.verify_face:verify_face", "Is it the same person?"),
    "sobel": Command("cnncli.cli.sobel:sobel", "Where are the edges? Derivatives of a photo."),
    "train": Command("cnncli.cli.train:train", "Train a network of the course on your own images."),
    "export": Command("cnncli.cli.export:export", "Write the ONNX graph of a weights file."),
    "gallery": Command("cnncli.cli.gallery:gallery_command", "Look at the records of a run in a web page."),
    "cluster": Command("cnncli.cli.cluster:cluster", "Run a task on many machines, through Ray."),
    "merge": Command("cnncli.cli.merge:merge_command", "Join the records of shards, in order."),
    "serve": Command("cnncli.cli.serve:serve", "Keep models loaded: the same commands answer in milliseconds."),
    "schema": Command("cnncli.cli.schema:schema_command", "The JSON Schema of a task's record."),
}
GROUPS = {
    "eval": Command("cnncli.cli.evaluate:app", "Measure a model on labelled data."),
    "bench": Command("cnncli.cli.bench:app", "Measure how fast a task runs here."),
    "models": Command("cnncli.cli.models:app", "What networks there are, and what each is made of."),
    "explain": Command("cnncli.cli.explain.app:app", "Look inside a network: heat maps, filters, patches, dreams."),
    "weights": Command("cnncli.cli.weights:app", "List, check, find and fetch models."),
}


@functools.cache
def application(word: str | None = None) -> typer.Typer:
    """The whole command line, or, where `word` names one of its commands, with that one alone.

    Declaring a command's thirty options takes time; a run needs those of one, and the first page those of none.
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
    for name, command in COMMANDS.items():
        if word in HELP_OPTIONS:
            app.command(name, help=command.summary, cls=PageCommand)(_nothing)
        elif word not in COMMANDS.keys() | GROUPS.keys() or word == name:
            app.command(name, short_help=command.summary, cls=PageCommand)(resolve(command.reference))
    for name, command in GROUPS.items():
        if word in HELP_OPTIONS:
            app.command(name, help=command.summary, cls=PageCommand)(_nothing)
        elif word not in COMMANDS.keys() | GROUPS.keys() or word == name:
            app.add_typer(resolve(command.reference), name=name, short_help=command.summary)
    app.callback()(root)
    return app


@functools.cache
def parser(word: str | None) -> Any:
    """What reads the command line; a server makes those of all tasks before it forks."""
    return typer.main.get_command(application(word))


def _nothing() -> None:
    """A command's place on the first page."""


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
            word = (words or HELP_OPTIONS)[0] if not completing() else None
            app = application(word)
            if (text := page(app, "cnncli", words)) is not None:
                print_out(text)
                return 0
            code = parser(word)(words, prog_name="cnncli", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()  # help pages: a full disk is told here
        return code if isinstance(code, int) else 0
    except OutputClosedError:
        return 0
    except (CnncliError, InterruptedRunError) as error:
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
    if message.startswith("Usage:"):  # a group was called alone: the error is its page
        print(message, file=sys.stderr)
    elif message:  # empty where the page has been shown
        say(message + (f"; see '{context.command_path} --help'" if context is not None else ""))
    return error.exit_code


def main() -> None:
    """Entry point: ends the process without waiting for threads that a hanging decoder may hold."""
    # Python hands its lock on every 5 ms by default: long enough for an idle engine to wait for a decoder's few
    # lines of Python. Measured with two cores: 4 % more images a second at half a millisecond.
    sys.setswitchinterval(0.0005)
    fill_missing_streams()
    if sys.argv[1:2] and sys.argv[1] in TASKS:
        gc.disable()  # what is made until the run begins (cli.execute) stays to the end; looking through it takes 12 ms
    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never there
            stream.flush()
    os._exit(code)
