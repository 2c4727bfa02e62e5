"""The HTTP server: the records of the Predictor, and a status for all that can go wrong."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from cnncli import Predictor
from cnncli.engine import kept
from cnncli.errors import UsageError
from cnncli.serve.http import application, parse_address
from cnncli.serve.query import options_of

MOST = 1_000_000  # bytes


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(kept, "_store", kept._store)  # the application puts another in its place
    with TestClient(application([], MOST)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("task", "query", "options"),
    [
        ("classify", "top_k=3&model=efficientnet_lite0", {"top_k": 3, "model": "efficientnet_lite0"}),
        ("detect", "conf=0.4&classes=cat,dog", {"conf": 0.4, "classes": ["cat", "dog"]}),
        ("sobel", "kernel=5", {"kernel": "5"}),
        ("verify-face", "mode=embed", {"mode": "embed"}),
    ],
)
def test_gives_the_record_of_the_predictor(
    client: TestClient, photos: Path, task: str, query: str, options: dict[str, Any]
) -> None:
    content = (photos / "chelsea.png").read_bytes()
    (expected,) = Predictor(task, device="cpu", **options)([content])
    answer = client.post(f"/{task}?{query}", content=content)
    assert (answer.status_code, answer.json()) == (200, json.loads(json.dumps({**expected, "file": "-"})))


def test_form(client: TestClient, photos: Path) -> None:
    content = (photos / "chelsea.png").read_bytes()
    plain = client.post("/classify", content=content).json()
    answer = client.post("/classify", files={"image": ("cat.png", content, "image/png")})
    assert (answer.status_code, answer.json()) == (200, {**plain, "file": "cat.png"})
    answer = client.post("/classify", files={"photo": ("cat.png", content, "image/png")})
    assert (answer.status_code, answer.json()["error"]) == (400, "the form has no file in its field 'image'")


def test_failed_record(client: TestClient) -> None:
    for content in (b"", b"no picture"):
        answer = client.post("/classify", content=content)
        assert answer.status_code == 422
        assert (answer.json()["ok"], answer.json()["classes"]) == (False, None) and answer.json()["failure"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("top_k=x", "top_k=x: give a value of type int"),
        ("top_k=0", "--top-k 0: at least 1 label is needed"),
        ("top_k=1&top-k=2", "top-k: is given twice; give it once"),
        ("depth=3", "classify has no option depth; choose from classes, "),
        ("embed=perhaps", "embed=perhaps: give a value of type bool"),
        ("model=../secret", "model=../secret: give the name of a model, as 'cnncli weights list' shows it"),
        ("model=none", "there is no model 'none'; see 'cnncli weights list'"),
        ("weights=/etc/passwd", "classify has no option weights; choose from classes, "),
    ],
)
def test_wrong_options(client: TestClient, photos: Path, query: str, sentence: str) -> None:
    answer = client.post(f"/classify?{query}", content=(photos / "chelsea.png").read_bytes())
    assert answer.status_code == 400 and answer.json()["error"].startswith(sentence)


def test_unknown_places(client: TestClient) -> None:
    assert client.post("/paint", content=b"").status_code == 404
    assert client.get("/classify").status_code == 405
    assert client.post("/verify-face?gallery=/etc", content=b"").status_code == 400


def test_too_large(client: TestClient) -> None:
    assert client.post("/classify", content=bytes(MOST + 1)).status_code == 413
    assert client.post("/classify", content=iter([bytes(MOST), b"\0"])).status_code == 413  # without a stated length
    assert client.post("/classify", files={"image": ("a", bytes(MOST + 1))}).status_code == 413
    assert client.post("/classify", content=bytes(MOST)).status_code == 422


def test_health_and_metrics(client: TestClient, photos: Path) -> None:
    assert client.get("/health").json()["status"] == "ok"
    content = (photos / "rocket.jpg").read_bytes()
    for body, query in ((content, ""), (content, ""), (b"", ""), (content, "?depth=1")):
        client.post(f"/sobel{query}", content=body)
    lines = client.get("/metrics").text.splitlines()
    for outcome, count in (("ok", 2), ("failed", 1), ("refused", 1)):
        assert f'cnncli_requests_total{{task="sobel",outcome="{outcome}"}} {count}' in lines
    assert 'cnncli_request_seconds_count{task="sobel"} 4' in lines
    (seconds,) = (line.split()[1] for line in lines if line.startswith("cnncli_request_seconds_sum"))
    assert float(seconds) > 0


def test_options_by_type() -> None:
    asked = [("scales", "0.5,1"), ("scale", "513"), ("flip", "true"), ("classes", "cat, dog")]
    assert options_of("segment", asked) == {"scales": (0.5, 1.0), "scale": 513, "flip": True, "classes": ("cat", "dog")}
    assert options_of("sobel", [("threshold", "0.5")]) == {"threshold": 0.5}
    assert options_of("sobel", [("threshold", "otsu")]) == {"threshold": "otsu"}
    with pytest.raises(UsageError, match="conf=nan"):
        options_of("detect", [("conf", "nan")])


@pytest.mark.parametrize("text", ["", "8000", ":8000", "localhost:", "localhost:x", "localhost:65536"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="write an address and a port"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert parse_address("[::1]:0") == ("::1", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_over_a_real_socket(photos: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "cnncli", "serve", "classify", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as server:
        try:
            line = server.stderr.readline().decode()
            assert line.startswith("cnncli: listening at http://127.0.0.1:")
            address = line.split()[3].rstrip(";")
            content = (photos / "chelsea.png").read_bytes()
            with urllib.request.urlopen(f"{address}/classify?top_k=1", content, timeout=60) as answer:
                assert json.load(answer)["classes"][0]["label"] == "Egyptian cat"
            server.send_signal(number)
            assert server.wait(20) == 0
            assert server.stderr.read() == b""
        finally:
            server.kill()
