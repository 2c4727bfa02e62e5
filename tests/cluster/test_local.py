"""The same records from one process, from two shards, and from two workers of this machine."""

import os
from pathlib import Path

import pytest

from cnncli.cluster.parts import DIED
from tests.cli.test_contract import assert_same_answers
from tests.cluster.conftest import alone, needs
from tests.conftest import records


def test_one_process_two_shards_and_two_workers_agree(
    cnncli, photos: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    needs("ray")
    inputs = [*sorted(map(str, photos.glob("*.[jp][pn]g"))), "missing.jpg"] * 8
    (tmp_path / "list.txt").write_text("\n".join(inputs))
    for number in (0, 1):
        words = ("--shard", f"{number}/2", "--records", f"{number}.jsonl", "--device", "cpu")
        assert cnncli("classify", "@list.txt", *words).returncode == 1
    assert cnncli("merge", "0.jsonl", "1.jsonl", "--out", "merged.jsonl").returncode == 0
    with alone(tmp_path_factory.getbasetemp()):
        done = cnncli("cluster", "classify", "@list.txt", "--out", "cluster.jsonl", "--workers", "2")
    assert done.returncode == 1, done.stderr.decode()
    one = records(cnncli("classify", "@list.txt", "--device", "cpu").stdout)
    for other in ("merged.jsonl", "cluster.jsonl"):
        found = records((tmp_path / other).read_bytes())
        assert [record["run"] for record in found] == [record["run"] for record in one]
        assert_same_answers(found, one)


DEADLY = """
import builtins, os, sys

ours = builtins.open

def deadly(file, *arguments, **options):
    if str(file).endswith("deadly.jpg") and "default_worker" in " ".join(sys.argv):
        os.kill(os.getpid(), 9)
    return ours(file, *arguments, **options)

builtins.open = deadly
"""


def test_a_photo_that_kills_its_process_fails_alone(
    cnncli, photos: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    needs("ray")
    (tmp_path / "sitecustomize.py").write_text(DEADLY)  # imported by every Python that starts with this path
    (tmp_path / "deadly.jpg").write_bytes((photos / "rocket.jpg").read_bytes())
    inputs = [str(photos / "rocket.jpg")] * 5
    words = [*inputs, "deadly.jpg", *inputs, "--out", "all.jsonl", "--workers", "2", "--part-size", "4"]
    with alone(tmp_path_factory.getbasetemp()):
        done = cnncli("cluster", "classify", *words, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1, done.stderr.decode()
    assert done.stdout == b""
    assert b"a worker was lost over inputs 4 to 7" in done.stderr
    found = records((tmp_path / "all.jsonl").read_bytes())
    assert [record["index"] for record in found if not record["ok"]] == [5]
    assert found[5]["failure"] == DIED
    one = records(cnncli("classify", *inputs, "--device", "cpu").stdout)
    assert_same_answers([*found[:5], *({**record, "index": record["index"] - 6} for record in found[6:])], one * 2)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_where_nobody_answers(address: str, cnncli, photos: Path) -> None:
    needs("ray")
    done = cnncli("cluster", "classify", photos / "rocket.jpg", "--out", "o.jsonl", "--address", address)
    assert done.returncode == 4
    assert b"no Ray cluster answers there" in done.stderr
