"""Long runs: flat memory, and figures on real photos where the optional data is there."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_contract import assert_same_answers
from tests.conftest import records

PEAK = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode;"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def peak_memory(*arguments: str, allowed_codes: tuple[int, ...] = (0,)) -> int:
    """Kilobytes that `cnncli classify` with these arguments has resident at most."""
    command = [sys.executable, "-c", PEAK, sys.executable, "-m", "cnncli", "classify", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL)
    assert done.returncode in allowed_codes, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units")
def test_memory_does_not_grow_with_the_number_of_inputs(tmp_path: Path, photos: Path) -> None:
    from PIL import Image

    small = tmp_path / "small.jpg"
    Image.open(photos / "rocket.jpg").resize((64, 48)).save(small)
    for folder in range(30):
        (tmp_path / "in" / str(folder)).mkdir(parents=True)
        for number in range(60):
            os.link(small, tmp_path / "in" / str(folder) / f"{number}.jpg")
    few = peak_memory("-r", str(tmp_path / "in" / "0"), "-m", "efficientnet_lite0")
    many = peak_memory("-r", str(tmp_path / "in"), "-m", "efficientnet_lite0")
    assert many < 1.15 * few


def test_same_named_files_keep_their_own_outputs(cnncli, tmp_path: Path, photos: Path) -> None:
    from PIL import Image

    for folder in range(5):
        (tmp_path / "in" / str(folder)).mkdir(parents=True)
        Image.new("RGB", (300, 200), (50 * folder, 0, 0)).save(tmp_path / "in" / str(folder) / "same.png")
    found = records(cnncli("classify", "-r", "in", "--out-dir", "out").stdout)
    for record in found:
        written = Image.open(tmp_path / record["output"]).getpixel((0, 0))
        original = Image.open(tmp_path / record["file"]).getpixel((0, 0))
        assert written == pytest.approx(original, abs=3)


def test_batches_shards_and_a_killed_run_agree_on_real_photos(cnncli, data_set, tmp_path: Path) -> None:
    folder = data_set("imagenet") / "images"
    whole = records(cnncli("classify", folder).stdout)
    assert len(whole) == 167
    for batch in ("1", "64"):
        assert_same_answers(records(cnncli("classify", folder, "-b", batch).stdout), whole)
    for number in range(3):
        cnncli("classify", folder, "--shard", f"{number}/3", "--records", f"{number}.jsonl")
    assert_same_answers(records(cnncli("merge", "0.jsonl", "1.jsonl", "2.jsonl").stdout), whole)


def test_every_odd_file_gives_a_record(cnncli, data_set, tmp_path: Path) -> None:
    folder = data_set("badinput")
    with open(folder / "manifest.csv", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    (tmp_path / "list.txt").write_text("".join(f"{folder / name}\n" for name in names))
    done = cnncli("classify", "@list.txt", "--timings")
    assert done.returncode == 1
    found = records(done.stdout)
    assert [record["file"] for record in found] == [str(folder / name) for name in names]
    assert all(line.startswith(b"cnncli: ") for line in done.stderr.splitlines())
    assert max(record["ms"]["decode"] for record in found) < 2000
    assert peak_memory(f"@{tmp_path / 'list.txt'}", "-q", allowed_codes=(1,)) < 1.5e6
