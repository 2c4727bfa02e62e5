"""`cnncli serve`."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from cnncli.cli.streams import print_out, say
from cnncli.errors import UsageError

NO_SERVER = 1  # exit code of --status


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODELS...",
            help="What to load at once: tasks, models by name, or weights files (default: classify). Others are kept "
            "once they are used.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 (Typer copies it)
    idle: Annotated[
        float, typer.Option("--idle", help="Seconds without a request after which it ends; 0: never.")
    ] = 600.0,
    background: Annotated[bool, typer.Option("--background", help="Return to the prompt once it is ready.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Print a line of JSON about the server that runs; exit code 1: none.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the server that runs, after what it is at.")] = False,
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="HOST:PORT", help="Answer HTTP requests in place of commands; see above."),
    ] = None,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="With --http: refuse larger bodies.")] = 50_000_000,
) -> int:
    """Keep models loaded, so that the same commands answer in milliseconds.

    \b
    cnncli serve --background
    for photo in *.jpg; do cnncli classify "$photo"; done
    cnncli serve --stop

    While it runs, classify, detect, segment, denoise, verify-face and sobel of this user are answered by forks of it,
    with the same output, files and exit codes; nothing else changes, and without it they run as ever. CNNCLI_SERVER=off
    passes it by. So do commands of another installation, other resource limits, or other variables that Python reads
    when it starts.

    \b
    cnncli serve --http 127.0.0.1:8000
    curl --data-binary @photo.jpg 'http://127.0.0.1:8000/classify?top_k=3'

    With --http the record of the photo in a POST's body, or in the field 'image' of a form, comes back as JSON, at
    /classify, /detect and so on; GET /health and /metrics tell how it is.
    """
    if sum((background, status, stop, http is not None)) > 1:
        raise UsageError("--background, --status, --stop and --http exclude each other; give one of them")
    if idle < 0 or idle != idle:
        raise UsageError(f"--idle {idle:g}: give seconds, or 0 for never")
    if http is not None:
        return _serve_http(http, models, max_bytes)
    if not sys.platform.startswith("linux"):
        raise UsageError("serve needs Linux; --http HOST:PORT works everywhere")
    if status:
        return _status()
    if stop:
        return _stop()
    return _serve(models, idle, background)


def _status() -> int:
    import json

    from cnncli.serve.control import state

    found = state()
    if found is None:
        say("no server runs; 'cnncli serve --background' starts one")
        return NO_SERVER
    print_out(json.dumps(found))
    return 0


def _stop() -> int:
    from cnncli.serve.control import stop

    if not stop():
        say("no server runs")
    return 0


def _serve(models: list[str], idle: float, background: bool) -> int:
    from cnncli.serve.control import in_background, own_folder
    from cnncli.serve.models import model_paths

    paths = model_paths(models or ["classify"])
    own_folder()  # a place that can't be used is told before anything is loaded
    if background:
        return in_background(lambda ready: _listen(paths, idle, ready))

    def ready() -> None:
        from cnncli.serve.place import folder

        ends = f"ends after {idle:g} s without a request" if idle else "Ctrl-C ends it"
        say(f"listening at {folder()}; {ends}")

    return _listen(paths, idle, ready)


def _listen(paths: list[str], idle: float, ready: Callable[[], None]) -> int:
    """Load everything, then serve until the end; `ready` is called in between."""
    from cnncli.cli.app import main, run
    from cnncli.engine import kept
    from cnncli.serve import wire
    from cnncli.serve.control import listening
    from cnncli.serve.models import KeptModels
    from cnncli.serve.preload import newest_source, preload
    from cnncli.serve.zygote import Zygote

    identity = wire.identity()  # first: OpenCV changes the environment when it is imported
    with listening() as place:
        preload(run)
        _declare_tasks()
        sources = newest_source()
        models = KeptModels()
        for path in paths:
            models.keep(path)
        kept.use(models)
        zygote = Zygote(place.socket, models, idle, identity, lambda: newest_source() == sources, main)
        ready()
        zygote.run(place.end)
    return 0


def _declare_tasks() -> None:
    """Make what reads each task's options, and have it read some: it prepares each option when it first meets it."""
    from cnncli.catalog import TASKS
    from cnncli.cli.app import parser

    for task in TASKS:
        parser(task).commands[task].make_context(task, ["photo.jpg"], resilient_parsing=True)


def _serve_http(address: str, models: list[str], max_bytes: int) -> int:
    from cnncli.serve.http import open_socket, parse_address, serve_http

    if max_bytes < 1:
        raise UsageError(f"--max-bytes {max_bytes}: give at least 1")
    host, port = parse_address(address)
    return serve_http(open_socket(host, port), models, max_bytes, say)
