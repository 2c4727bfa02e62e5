"""A download is whole and right, or nothing of it is kept. The server is on this machine."""

import hashlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnncli.errors import OutputError, WeightsError
from cnncli.io.download import downloaded

CONTENT = os.urandom(3_000_000)  # more than the code reads at once
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Reply = Callable[[http.server.BaseHTTPRequestHandler], None]


def whole(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT)


def unsized(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT)


def cut_short(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[:2_000_000])


def cut_chunk(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ffff\r\nabc")


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(CONTENT)
    except OSError:  # the other side has had enough
        pass


def missing(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def gibberish(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"hello\r\n\r\n")


def hangs_up(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Reply], str]]:
    """Start a server that gives one answer to everything; its base URL."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(reply: Reply) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                reply(self)

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    paths: list[str] = []
    start.paths = paths
    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(url: str, folder: Path, sha256: str = SHA256[:8], size: int | None = len(CONTENT)) -> bytes:
    with downloaded(url, sha256, size, folder) as path:
        assert path.is_relative_to(folder)
        return path.read_bytes()


@pytest.mark.parametrize("reply", [whole, unsized])
@pytest.mark.parametrize("size", [len(CONTENT), None, int(len(CONTENT) * 1.009)])
def test_fetches_a_file(reply: Reply, size: int | None, serve, tmp_path: Path) -> None:
    assert fetch(f"{serve(reply)}/a.pth", tmp_path / "new" / "folder", size=size) == CONTENT
    assert list((tmp_path / "new" / "folder").iterdir()) == []


@pytest.mark.parametrize(
    ("reply", "expected", "message"),
    [
        (whole, {"sha256": "00000000"}, "SHA-256 .* is not 00000000…"),
        (whole, {"size": 2_000_000}, "more than the expected 2,020,000 bytes"),
        (whole, {"size": 4_000_000}, "3,000,000 bytes, expected about 4,000,000"),
        (cut_short, {}, "cut short after 2,000,000 of 3000000 bytes"),
        (cut_short, {"size": None}, "cut short after 2,000,000 of 3000000 bytes"),
        (cut_chunk, {}, "the download broke off .IncompleteRead"),
        (endless, {}, "more than the expected 3,030,000 bytes"),
        (missing, {}, "can't be fetched .404 Not Found"),
        (gibberish, {}, "the download broke off .BadStatusLine"),
        (hangs_up, {}, "the download broke off .RemoteDisconnected"),
    ],
)
def test_keeps_nothing_of_a_failure(reply: Reply, expected: dict, message: str, serve, tmp_path: Path) -> None:
    url = f"{serve(reply)}/a.pth"
    with pytest.raises(WeightsError, match=message) as caught:
        fetch(url, tmp_path, **expected)
    assert str(caught.value).startswith(f"{url}: ") and "nothing was kept" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_says_that_no_server_answers(serve, tmp_path: Path) -> None:
    url = serve(whole)
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(WeightsError, match=r"can't be fetched .*refused"):
        fetch(f"http://127.0.0.2:{port}/a.pth", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_keeps_nothing_when_the_caller_fails(serve, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), downloaded(f"{serve(whole)}/a.pth", SHA256, None, tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slash", ["", "/"])
def test_asks_the_mirror(slash: str, serve, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CNNCLI_MIRROR", f"{serve(whole)}/models{slash}")
    assert fetch("https://download.example.invalid/deep/resnet50-11ad3fa6.pth", tmp_path) == CONTENT
    assert serve.paths == ["/models/resnet50-11ad3fa6.pth"]


@pytest.mark.parametrize("mirror", ["nonsense", "gopher://x", "http://[::1"])
def test_says_that_the_mirror_is_no_url(mirror: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CNNCLI_MIRROR", mirror)
    with pytest.raises(WeightsError, match="can't be fetched"):
        fetch("https://download.example.invalid/a.pth", tmp_path)


def test_says_that_the_folder_can_t_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file/folder: can't be written"):
        fetch("http://127.0.0.1:9/a.pth", tmp_path / "file" / "folder")
