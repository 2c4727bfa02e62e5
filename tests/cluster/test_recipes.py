"""The programs in the package's documentation run, and give the records of the command."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import cnncli.cluster
from tests.cli.test_contract import assert_same_answers
from tests.cluster.conftest import Nodes, needs
from tests.conftest import records

WITH_RAY, WITH_SPARK = (
    textwrap.dedent("    import json\n" + part.partition("\n\nSpark:")[0].partition("\n\nThere `index`")[0])
    for part in (cnncli.cluster.__doc__ or "").split("    import json\n")[1:]
)
RUN_SPARK = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False).getOrCreate()
with_spark(spark, "names.parquet", "found")
spark.stop()
"""


@pytest.fixture
def names(photos: Path, tmp_path: Path) -> list[str]:
    """Names of photos, and of none, in names.parquet."""
    needs("pyarrow")
    import pyarrow
    from pyarrow import parquet

    files = [*sorted(map(str, photos.glob("*.[jp][pn]g"))), "missing.jpg"] * 2
    parquet.write_table(pyarrow.table({"file": files}), tmp_path / "names.parquet")
    return files


def run(program: str, folder: Path, **environment: str) -> list[dict]:
    """The records that a program leaves as text in the folder "found"."""
    from pyarrow import parquet

    (folder / "program.py").write_text(program)  # a file, because workers import what it defines
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    rows = [row for path in (folder / "found").glob("*.parquet") for row in parquet.read_table(path).to_pylist()]
    found = [json.loads(row["record"]) for row in rows]
    assert [record["file"] for record in found] == [row["file"] for row in rows]
    return sorted(found, key=lambda record: record["file"])


def expected(cnncli, files: list[str]) -> list[dict]:
    found = records(cnncli("classify", *files, "--device", "cpu").stdout)
    return sorted(found, key=lambda record: record["file"])


def without_index(found: list[dict]) -> list[dict]:
    return [{**record, "index": 0} for record in found]


def test_ray_data(nodes: Nodes, names: list[str], cnncli, tmp_path: Path) -> None:
    program = WITH_RAY + f"\nwith_ray('{tmp_path}/names.parquet', '{tmp_path}/found', workers=1)\n"
    found = run(program, tmp_path, RAY_ADDRESS=nodes.address)
    assert_same_answers(without_index(found), without_index(expected(cnncli, names)))


def test_spark(names: list[str], cnncli, tmp_path: Path) -> None:
    needs("pyspark", "pandas")
    found = run(WITH_SPARK + RUN_SPARK, tmp_path, PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    assert_same_answers(without_index(found), without_index(expected(cnncli, names)))
