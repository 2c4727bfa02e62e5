"""Names of inputs: files, pictures in tar shards, rows of tables."""

import csv
import io
import json
import tarfile
from pathlib import Path

import pytest

from cnncli.cluster.entries import VIDEO, Entry, entries_of, image_of
from cnncli.cluster.manifests import manifest_entries
from cnncli.errors import UsageError
from cnncli.io.sources import Input
from tests.cluster.conftest import needs


def shard(path: Path, members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_finds_the_pictures_of_a_shard(tmp_path: Path, format: int) -> None:
    long = "folder/" + 30 * "long-name-" + "ü.png"
    members = {"a.jpg": b"1" * 700, "a.cls": b"7", ".hidden.jpg": b"2", long: b"3" * 512, "z.JPG": b""}
    path = shard(tmp_path / "s.tar", members, format)
    found = list(entries_of([Input(str(path), "")]))
    assert [entry.file for entry in found] == [f"{path}/{name}" for name in ("a.jpg", long, "z.JPG")]
    assert [image_of(entry, "/") for entry in found] == [members[name] for name in ("a.jpg", long, "z.JPG")]


@pytest.mark.parametrize("length", [512 + 1024 + 200, 512 + 1024, 2 * (512 + 1024)])
def test_a_torn_shard_gives_what_stands_before(tmp_path: Path, length: int) -> None:
    """Cut off in the second header, before it, and before the two empty blocks that end a tar file."""
    whole = shard(tmp_path / "s.tar", {"a.jpg": b"1" * 600, "b.jpg": b"2" * 600}).read_bytes()
    (tmp_path / "s.tar").write_bytes(whole[:length])
    *found, last = entries_of([Input(str(tmp_path / "s.tar"), "")])
    assert [entry.file[-5:] for entry in found] == ["a.jpg", "b.jpg"][: length // 1536]
    assert all(entry.failure is None for entry in found)
    assert last.failure is not None and "damaged" in last.failure


def test_no_shard_and_no_picture_are_failed_entries(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no tar")
    found = list(entries_of(Input(str(tmp_path / name), "") for name in ("none.tar", "text.tar", "film.mp4")))
    assert [entry.failure for entry in found][::2] == ["no such file", VIDEO]
    assert "no uncompressed tar file" in str(found[1].failure)


def test_relative_names_start_from_the_folder_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(b"..abc..")
    assert image_of(Entry("a/b.jpg"), "/photos") == "/photos/a/b.jpg"
    assert image_of(Entry("/a/b.jpg"), "/photos") == "/a/b.jpg"
    assert image_of(Entry("s.tar/x.jpg", "s.tar", 2, 3), str(tmp_path)) == b"abc"
    assert image_of(Entry("gone.tar/x.jpg", "gone.tar", 2, 3), str(tmp_path)) == str(tmp_path / "gone.tar")


def write_table(path: Path, names: list[str]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["id", "photo"], *enumerate(names)])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"id": n, "photo": name}) + "\n" for n, name in enumerate(names)))
    else:
        needs("pyarrow")
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"id": range(len(names)), "photo": names}), path)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_reads_a_column_of_a_table(tmp_path: Path, ending: str) -> None:
    names = ["a, b.jpg", 'say "hi".png', "ü.jpg", "", "film.mp4"]
    path = write_table(tmp_path / f"names.{ending}", names)
    found = list(manifest_entries(path, "photo"))
    assert [entry.file for entry in found] == names
    assert [entry.failure is None for entry in found] == [True, True, True, False, False]
    assert "row 4" in str(found[3].failure)
    with pytest.raises(UsageError, match="no column 'name'; --column takes one of id, photo"):
        next(manifest_entries(path, "name"))


@pytest.mark.parametrize(("name", "match"), [("a.csv", "no such file"), ("b.txt", "give a .parquet, .jsonl or .csv")])
def test_rejects_what_is_no_table(tmp_path: Path, name: str, match: str) -> None:
    with pytest.raises(UsageError, match=f"(?i){match}"):
        next(manifest_entries(tmp_path / name, "file"))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_rejects_a_table_of_another_kind(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        needs("pyarrow")
    (tmp_path / f"x.{ending}").write_text("file\n1.jpg\n")
    with pytest.raises(UsageError, match="not the table that its ending says"):
        next(manifest_entries(tmp_path / f"x.{ending}", "file"))
