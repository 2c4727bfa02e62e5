"""`cnncli cluster` says what is wrong before it asks for a cluster."""

from pathlib import Path

import pytest

from tests.cli.test_startup import imported_by


def test_help_imports_nothing_of_a_cluster() -> None:
    modules, page = imported_by("cluster", "--help")
    assert not modules & {"ray", "pyarrow", "pandas", "numpy", "PIL"}
    assert "--gpus-per-worker" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["divine", "a.jpg", "--out", "o.jsonl"], "there is no task 'divine'"),
        (["classify", "a.jpg"], "--out FILE"),
        (["classify", "--out", "o.jsonl"], "no worker reads standard input"),
        (["classify", "-", "--out", "o.jsonl"], "no worker reads standard input"),
        (["classify", "a.jpg", "--out", "o.txt"], "ends in .jsonl or .parquet"),
        (["classify", "a.jpg", "--out", "o.txt", "--format", "xml"], "choose jsonl or parquet"),
        (["classify", "a.jpg", "--out", "nowhere/o.jsonl"], "does not exist"),
        (["classify", "a.jpg", "--out", "here.jsonl"], "here.jsonl: exists; use --overwrite"),
        (["classify", "here.jsonl", "--out", "here.jsonl", "--overwrite"], "is an input"),
        (["classify", "--manifest", "here.jsonl", "--out", "here.jsonl", "--overwrite"], "is the manifest"),
        (["classify", "a.jpg", "--manifest", "here.jsonl", "--out", "o.jsonl"], "give one of them"),
        (["classify", "*.none", "--out", "o.jsonl"], "no file matches"),
        (["classify", "a.jpg", "--out", "o.jsonl", "--set", "top_k=0"], "at least 1 label"),
        (["classify", "a.jpg", "--out", "o.jsonl", "--workers", "0"], "--workers 0: give at least 1"),
        (["classify", "a.jpg", "--out", "o.jsonl", "--gpus-per-worker", "2"], "take more --workers"),
        (["classify", "a.jpg", "--out", "o.jsonl", "--part-size", "0"], "--part-size 0: give at least 1"),
        (["verify-face", "a.jpg", "--out", "o.jsonl", "--set", "mode=pair"], "a Predictor looks at each alone"),
        (["classify", "a.jpg", "--out", "o.jsonl", "--parts", "full"], "is not a folder of parts"),
        (["classify", "a.jpg", "--out", "o.jsonl", "--parts", "full", "--overwrite"], "is not a folder of parts"),
    ],
)
def test_usage_errors(words: list[str], message: str, here, tmp_path: Path) -> None:
    (tmp_path / "here.jsonl").write_text('{"file": "a.jpg"}\n')
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "own.txt").write_text("mine")
    done = here("cluster", *words)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "here.jsonl"]
    assert (tmp_path / "full" / "own.txt").read_text() == "mine"
