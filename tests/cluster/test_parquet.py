"""Parquet holds what the lines of JSON hold."""

import json
from pathlib import Path

import pytest

from cnncli import Predictor
from cnncli.catalog import TASKS
from tests.cluster.conftest import needs

OPTIONS = [*((task, {}) for task in TASKS), ("classify", {"embed": True}), ("segment", {"instances": True})]


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("task", "options"), OPTIONS, ids=str)
def test_records_come_back(task: str, options: dict, crops: Path, tmp_path: Path) -> None:
    needs("pyarrow")
    from pyarrow import parquet

    from cnncli.cluster.parquet import write_parquet

    files = [str(crops / "astronaut.png"), str(crops / "coffee.png"), "missing.jpg", "odd-\udcff.jpg"]
    records = Predictor(task, device="cpu", **options)(files)
    with open(tmp_path / "records.parquet", "wb") as file:
        write_parquet(file, task, records)
    rows = parquet.read_table(tmp_path / "records.parquet").to_pylist()
    records[3]["file"] = "odd-\\udcff.jpg"  # as the lines of JSON show it
    for record, row in zip(records, rows, strict=True):
        for key in ("further_models",):  # left open by the schema: text
            if row[key] is not None:
                row[key] = json.loads(row[key])
        assert without_nulls(row) == without_nulls(record)
