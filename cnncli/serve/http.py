"""The HTTP server: POST /TASK with a photo gives its record, GET /health and GET /metrics tell how it is."""

import functools
import ipaddress
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnncli.catalog import TASKS
from cnncli.engine.device import available_cpus
from cnncli.errors import CnncliError, DeviceError, UsageError
from cnncli.serve.metrics import BROKEN, FAILED, OK, REFUSED, Metrics
from cnncli.serve.query import options_of

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse

FORM, FIELD = "multipart/form-data", "image"
FORM_EXTRA = 1 << 16  # bytes of a form around its photo
STDIN = "-"  # what the record calls a photo without a name, as on the command line


class RefusedError(Exception):
    """A request that gets no record: its status and sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8000", "localhost:8000", "[::1]:8000"."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--http {text}: write an address and a port, such as 127.0.0.1:8000")
    return host.removeprefix("[").removesuffix("]"), int(port)


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there and nowhere else. UsageError where that can't be."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # from here on whoever connects waits, and is not sent away
    except OSError as error:
        raise UsageError(f"--http {host}:{port}: can't be listened at ({error.strerror}); choose another") from error
    return listener


def serve_http(listener: socket.socket, models: list[str], max_bytes: int, say: Callable[[str], None]) -> int:
    """Answer until the process is told to end; the exit code."""
    try:
        import uvicorn

        app = application(models, max_bytes)
    except ImportError as error:
        raise UsageError(f"--http needs {error.name}, which is not installed; pip install 'cnncli[serve]'") from error
    host, port = listener.getsockname()[:2]
    if not ipaddress.ip_address(host).is_loopback:
        say(f"{host} is not this machine alone: whoever reaches it can use this server, unencrypted")
    say(f"listening at http://{f'[{host}]' if ':' in host else host}:{port}; Ctrl-C ends it")
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn hears them first, and passes them on when all is answered
        signal.signal(number, lambda *ignored: None)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def application(models: list[str], max_bytes: int) -> "Starlette":
    """The server's application (ASGI); photos are analysed by as many threads as there are cores."""
    import anyio
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    from cnncli.serve.predictors import Predictors

    predictors, metrics = Predictors(models), Metrics()
    limiter = anyio.CapacityLimiter(available_cpus())

    async def analyse(request: "Request") -> "JSONResponse":
        task, start = request.path_params["task"], time.perf_counter()
        if task not in TASKS:
            return JSONResponse({"error": f"there is no task '{task}'; choose from {', '.join(TASKS)}"}, 404)
        outcome, status, answer = await _answer(request, task)
        metrics.count(task, outcome, time.perf_counter() - start)
        return JSONResponse(answer, status)

    async def _answer(request: "Request", task: str) -> tuple[str, int, Any]:
        try:
            options = options_of(task, request.query_params.multi_items())
            photo, name = await _photo(request, max_bytes)
            work = functools.partial(predictors.record, task, options, photo, name)
            record = await anyio.to_thread.run_sync(work, limiter=limiter)
        except RefusedError as error:
            return REFUSED, error.status, {"error": str(error)}
        except DeviceError as error:
            return BROKEN, 503, {"error": str(error)}
        except CnncliError as error:
            return REFUSED, 400, {"error": str(error)}
        return (OK, 200, record) if record["ok"] else (FAILED, 422, record)

    async def health(request: "Request") -> JSONResponse:
        return JSONResponse({"status": "ok", "tasks": list(TASKS)})

    async def counts(request: "Request") -> PlainTextResponse:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", counts),
            Route("/{task}", analyse, methods=["POST"]),
        ]
    )


async def _photo(request: "Request", max_bytes: int) -> tuple[bytes, str]:
    """The photo's bytes, and its name in a form."""
    is_form = request.headers.get("content-type", "").startswith(FORM)
    body = await _body(request, max_bytes + (FORM_EXTRA if is_form else 0))
    if not is_form:
        return body, STDIN
    photo, name = await _of_form(request, body)
    if len(photo) > max_bytes:
        raise _too_large(max_bytes)
    return photo, name


async def _body(request: "Request", limit: int) -> bytes:
    """All of it; refused as soon as it is more than the limit."""
    if int(request.headers.get("content-length", 0)) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, f"more than {limit} bytes; --max-bytes of 'cnncli serve' sets the limit")


async def _of_form(request: "Request", body: bytes) -> tuple[bytes, str]:
    """The file in the form's field `image`, and its name."""
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, replay).form(max_files=1, max_fields=8) as form:
            file = form.get(FIELD)
            if file is None or isinstance(file, str):
                raise RefusedError(400, f"the form has no file in its field '{FIELD}'")
            return await file.read(), file.filename or STDIN
    except HTTPException as error:
        raise RefusedError(400, f"the form can't be read ({error.detail})") from error
