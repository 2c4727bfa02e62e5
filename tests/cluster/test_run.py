"""Two nodes give the records of one process, whatever fails, dies or is stopped on the way."""

import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.cli.test_contract import assert_same_answers
from tests.cluster.conftest import Nodes, needs
from tests.conftest import records

FAST, SMALL = "efficientnet_lite0", "efficientdet_lite0"


@pytest.fixture
def album(tmp_path: Path, photos: Path) -> Path:
    """Forty photos, no two alike, one of them damaged and one no photo."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number, source in enumerate(sorted(photos.glob("*.[jp][pn]g")) * 10):
        with Image.open(source) as photo:
            box = (number, number, number + 200, number + 150)
            photo.convert("RGB").crop(box).save(folder / f"{number:02d}.jpg", quality=95)
    torn = (folder / "07.jpg").read_bytes()
    (folder / "07.jpg").write_bytes(torn[: len(torn) // 2])
    (folder / "21.jpg").write_text("no photo")
    return folder


def lines(path: Path) -> list[dict]:
    return records(path.read_bytes())


def on(nodes: Nodes, task: str, *words: str | Path) -> list[str]:
    return ["cluster", task, *map(str, words), "--address", nodes.address, "--part-size", "4"]


@pytest.mark.parametrize(("task", "options"), [("classify", {"model": FAST, "top_k": 2}), ("detect", {"model": SMALL})])
def test_gives_the_records_of_one_process(task: str, options: dict, nodes: Nodes, album: Path, cnncli) -> None:
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    one = records(cnncli(task, "album", "missing.jpg", "--device", "cpu", *words).stdout)
    chosen = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    done = cnncli(*on(nodes, task, "album", "missing.jpg", "--out", "all.jsonl", *chosen))
    assert done.returncode == 1, done.stderr.decode()
    found = lines(album.parent / "all.jsonl")
    assert_same_answers(found, one)
    assert [list(record) for record in found] == [list(record) for record in one]
    assert [(record["engine"], record["device"], record["run"]) for record in found] == [
        (record["engine"], record["device"], record["run"]) for record in one
    ]
    assert b"album/21.jpg: not an image of a known format" in done.stderr
    assert done.stderr.rstrip().endswith(b"38 analysed, 3 failed")
    assert not (album.parent / "all.jsonl.parts").exists()


def test_shards_and_tables_give_the_records_of_their_files(nodes: Nodes, album: Path, cnncli, tmp_path: Path) -> None:
    needs("pyarrow")
    import pyarrow
    from pyarrow import parquet

    files = sorted(album.iterdir())
    for number in (0, 1):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            for path in files[20 * number : 20 * number + 20]:
                archive.add(path, path.name)
    with open(tmp_path / "1.tar", "ab") as file:
        file.truncate(file.tell() - 20_000)
    parquet.write_table(pyarrow.table({"photo": [str(path) for path in files]}), tmp_path / "names.parquet")
    chosen = ["--set", f"model={FAST}"]
    table = ["--manifest", "names.parquet", "--column", "photo", "--out", "table.parquet", *chosen]
    assert cnncli(*on(nodes, "classify", *table)).returncode == 1
    assert cnncli(*on(nodes, "classify", "*.tar", "--out", "tars.jsonl", *chosen)).returncode == 1
    one = records(cnncli("classify", *files, "-m", FAST, "--device", "cpu").stdout)
    rows = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    keys = ("file", "index", "ok", "failure", "width", "height", "run", "weights_sha256")
    assert [[row[key] for key in keys] for row in rows] == [[record[key] for key in keys] for record in one]
    assert_same_answers([{"classes": row["classes"]} for row in rows], [{"classes": each["classes"]} for each in one])
    *found, torn = lines(tmp_path / "tars.jsonl")
    assert len(found) > 30 and torn["file"] == "1.tar" and "damaged" in torn["failure"]
    names = [f"{index // 20}.tar/{path.name}" for index, path in enumerate(files)]
    expected = [{**record, "file": name} for record, name in zip(one, names, strict=True)][: len(found)]
    assert_same_answers(found[:-1], expected[:-1])  # the last one is cut off, or not: the cut is where bytes end


def start(tmp_path: Path, words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "cnncli", *words], cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def finished(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-*.jsonl"))


def workers_of(nodes: Nodes) -> list[psutil.Process]:
    """The processes that answer parts now."""
    found = []
    for process in psutil.Process(nodes.process).children(recursive=True):
        try:
            if "ray::Worker.answer" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def test_a_killed_worker_costs_nothing(nodes: Nodes, album: Path, cnncli, tmp_path: Path) -> None:
    with start(
        tmp_path, on(nodes, "detect", "album", "album", "--out", "all.jsonl", "--set", f"model={SMALL}")
    ) as driver:
        wait_for(lambda: finished(tmp_path / "all.jsonl.parts"))
        wait_for(lambda: workers_of(nodes))
        killed = workers_of(nodes)[0]
        killed.send_signal(signal.SIGKILL)
        assert driver.stderr is not None
        assert driver.wait(120) == 1, driver.stderr.read()
    assert not killed.is_running()
    found = lines(tmp_path / "all.jsonl")
    assert_same_answers(found, records(cnncli("detect", "album", "album", "--device", "cpu", "-m", SMALL).stdout))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_driver_goes_on(number: int, nodes: Nodes, album: Path, cnncli, tmp_path: Path) -> None:
    words = on(nodes, "classify", "album", "album", "--out", "all.jsonl", "--set", "model=efficientnet_lite2")
    parts = tmp_path / "all.jsonl.parts"
    with start(tmp_path, words) as driver:
        wait_for(lambda: finished(parts))
        driver.send_signal(number)
        assert driver.wait(30) == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert not (tmp_path / "all.jsonl").exists()
    first = finished(parts)[0]
    assert len(finished(parts)) < 20
    first.write_text(first.read_text().replace('"device": "cpu"', '"device": "of the first run"'))
    marked = {record["index"] for record in lines(first)}
    refused = cnncli(*words)
    assert refused.returncode == 2 and b"go on with --resume" in refused.stderr
    assert cnncli(*words, "--set", "top_k=1", "--resume").returncode == 2
    assert cnncli(*words, "--resume").returncode == 1
    found = lines(tmp_path / "all.jsonl")
    assert {record["index"] for record in found if record["device"] != "cpu"} == marked
    assert_same_answers(found, records(cnncli("classify", "album", "album", "--device", "cpu").stdout))


def test_other_inputs_are_not_gone_on_with(nodes: Nodes, album: Path, cnncli, tmp_path: Path) -> None:
    words = on(nodes, "classify", "album", "--out", "all.jsonl", "--set", f"model={FAST}")
    with start(tmp_path, words) as driver:
        wait_for(lambda: finished(tmp_path / "all.jsonl.parts"))
        driver.kill()
    done = int(finished(tmp_path / "all.jsonl.parts")[0].name[:12])
    (album / f"{done:02d}.jpg").rename(album / f"{done:02d}-other.jpg")
    refused = cnncli(*words, "--resume")
    assert refused.returncode == 2 and b"the inputs have changed" in refused.stderr


def test_errors_of_workers_are_those_of_the_command(nodes: Nodes, album: Path, cnncli) -> None:
    done = cnncli(*on(nodes, "classify", "album", "--out", "all.jsonl", "--set", f"model={SMALL}"))
    assert done.returncode == 3
    assert b"made for detect, not classify" in done.stderr
    assert not (album.parent / "all.jsonl.parts").exists()
    done = cnncli(*on(nodes, "classify", "album", "--out", "x.jsonl", "--gpus-per-worker", "1"))
    assert done.returncode == 4
    assert b"there is no GPU in this cluster" in done.stderr
