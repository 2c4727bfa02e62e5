"""What shells, disks and file systems do to a command; held by every task of the catalog."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from cnncli.catalog import TASKS
from tests.cli.tasks import analyser, engines, form
from tests.cli.test_contract import assert_same_answers
from tests.conftest import PHOTOS, records

pytestmark = pytest.mark.parametrize("task", TASKS)
ROCKET = PHOTOS / "rocket.jpg"
QUICK = {
    "detect": {"CNNCLI_MODEL": "efficientdet_lite0"},
    "segment": {"CNNCLI_SCALE": "65"},
}
MANY_SIZES = {"verify-face": (480, 320), "denoise": (48, 32), "sobel": (640, 427)}  # that take a few milliseconds each
ODD_NAMES = [
    b"new\nline.jpg",
    b"not-utf8-\xff\xfe.jpg",
    b"-leading.jpg",
    b"@at.jpg",
    b"[brackets]*.jpg",
    "日本 ü.jpg".encode(),
]


def command(task: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "cnncli", *form(task), *arguments]


@pytest.fixture
def many(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 300 photos, all links to one, and settings with which each takes a few milliseconds."""
    for name, value in QUICK.get(task, {}).items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "many"
    folder.mkdir()
    small = tmp_path / "small.jpg"
    Image.open(ROCKET).resize(MANY_SIZES.get(task, (160, 107))).save(small)
    for number in range(300):
        os.link(small, folder / f"{number:03}.jpg")
    return folder


def test_odd_names_survive(task: str, album: Path, cnncli, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ODD_NAMES:
        shutil.copy(album / "rocket.jpg", os.fsencode(folder) + b"/" + name)
    found = records(cnncli(*form(task), "odd").stdout)
    assert sorted(os.fsencode(record["file"]) for record in found) == sorted(b"odd/" + name for name in ODD_NAMES)
    assert all(record["ok"] for record in found)
    for name in ODD_NAMES:
        words = ["--", name] if name.startswith(b"-") else [name]
        done = subprocess.run(
            [*map(os.fsencode, command(task)), *words],
            cwd=folder,
            capture_output=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        assert os.fsencode(records(done.stdout)[0]["file"]) == name


def test_odd_names_get_their_own_outputs(task: str, album: Path, here, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ODD_NAMES:
        shutil.copy(album / "rocket.jpg", os.fsencode(folder) + b"/" + name)
    found = records(here(*form(task), "odd", "--out-dir", "out").stdout)
    assert len({record[analyser(task).picture_key] for record in found}) == len(ODD_NAMES)
    assert all(
        os.path.isfile(os.fsencode(tmp_path) + b"/" + os.fsencode(record[analyser(task).picture_key]))
        for record in found
    )


def test_full_disk_ends_with_74(task: str, cnncli, many: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = cnncli(*form(task), many, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 74
    assert b"No space left" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_full_disk_on_records_ends_with_74(task: str, album: Path, cnncli) -> None:
    done = cnncli(*form(task), album / "rocket.jpg", "--records", "/dev/full")
    assert done.returncode == 74


def test_closed_pipe_ends_quietly(task: str, many: Path) -> None:
    for format in ("jsonl", "json", "csv", "table"):
        process = subprocess.Popen(
            command(task, str(many), "--format", format),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""
        process.stderr.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_a_resumable_file(task: str, number: int, code: int, cnncli, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "records.jsonl"
    process = subprocess.Popen(
        command(task, str(many), "--records", str(out)), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    wait_for_lines(out, 20)
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    assert b"--resume" in process.stderr.read()
    process.stderr.close()
    before = out.read_bytes()
    assert 20 <= len(records(before)) < 300
    assert cnncli(*form(task), many, "--records", out, "--resume").returncode == 0
    assert out.read_bytes().startswith(before)
    assert [record["index"] for record in records(out.read_bytes())] == list(range(300))


def test_killed_run_resumes_to_the_same_records(task: str, cnncli, many: Path, tmp_path: Path) -> None:
    whole = cnncli(*form(task), many).stdout
    out = tmp_path / "records.jsonl"
    for lines in (10, 90, 200):
        process = subprocess.Popen(
            command(task, str(many), "--records", str(out), "--resume"), stdin=subprocess.DEVNULL
        )
        wait_for_lines(out, lines)
        process.kill()
        process.wait()
    with open(out, "ab") as file:
        file.write(b'{"schema": "cnncli.')
    assert cnncli(*form(task), many, "--records", out, "--resume").returncode == 0
    assert_same_answers(records(whole), records(out.read_bytes()))


def test_resume_refuses_another_run(task: str, here, many: Path, tmp_path: Path) -> None:
    assert here(*form(task), many / "000.jpg", many / "001.jpg", "--records", "r.jsonl").returncode == 0
    before = (tmp_path / "r.jsonl").read_bytes()
    for arguments, words in (
        ([many / "000.jpg", many / "001.jpg", "--engine", engines(task)[1]], b"engine"),
        ([many / "000.jpg", many / "002.jpg"], b"inputs have changed"),
        ([many / "000.jpg"], b"more records than"),
    ):
        done = here(*form(task), *arguments, "--records", "r.jsonl", "--resume")
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
    done = here(*form(task), many / "000.jpg", "--records", "r.jsonl")
    assert done.returncode == 2
    assert b"--resume" in done.stderr
    assert (tmp_path / "r.jsonl").read_bytes() == before


def test_records_never_replace_what_is_no_records_file(task: str, album: Path, here, tmp_path: Path) -> None:
    shutil.copy(album / "rocket.jpg", tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("my only notes, without an end of line")
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    for name in ("notes.txt", "lines.txt", "a.jpg"):
        before = (tmp_path / name).read_bytes()
        assert here(*form(task), "a.jpg", "--records", name, "--resume").returncode == 2
        assert (tmp_path / name).read_bytes() == before
    assert here(*form(task), "a.jpg", "--records", "a.jpg", "--overwrite").returncode == 2
    assert (tmp_path / "a.jpg").read_bytes() == (album / "rocket.jpg").read_bytes()


def test_two_runs_never_share_a_records_file(task: str, cnncli, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "records.jsonl"
    first = subprocess.Popen(command(task, str(many), "--records", str(out)), stdin=subprocess.DEVNULL)
    wait_for_lines(out, 2)
    first.send_signal(signal.SIGSTOP)  # so that it is not done before the second has started
    second = cnncli(*form(task), many, "--records", out, "--resume")
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert b"another run" in second.stderr
    assert first.wait(timeout=60) == 0
    assert len(records(out.read_bytes())) == 300


def test_full_disk_is_told_by_every_command(task: str, album: Path, cnncli) -> None:
    for arguments in (
        (*form(task), album / "rocket.jpg", "--format", "table"),
        ("schema", task),
        ("weights", "list"),
        (task, "--help"),
    ):
        with open("/dev/full", "wb") as full:
            done = cnncli(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 74, done.stderr
        assert done.stderr.count(b"\n") == 1


def test_missing_standard_streams(task: str, album: Path, tmp_path: Path) -> None:
    for closed, code in (("0<&-", 2), (">&-", 74)):
        words = "" if closed == "0<&-" else f'"{album / "rocket.jpg"}"'
        line = f'exec "{sys.executable}" -m cnncli {" ".join(form(task))} {words} {closed}'
        done = subprocess.run(["bash", "-c", line], capture_output=True, cwd=tmp_path, timeout=60)
        assert done.returncode == code, done.stderr
        assert b'"schema"' not in done.stderr
        assert b"Traceback" not in done.stderr


def test_output_folders_that_cannot_be_made(task: str, album: Path, here, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = here(*form(task), album / "rocket.jpg", "--out-dir", "file")
    assert done.returncode == 2
    assert b"is a file, not a folder" in done.stderr


def test_resume_keeps_the_exit_code_of_earlier_failures(task: str, album: Path, here, tmp_path: Path) -> None:
    assert here(*form(task), "missing.jpg", album / "rocket.jpg", "--records", "r.jsonl").returncode == 1
    assert here(*form(task), "missing.jpg", album / "rocket.jpg", "--records", "r.jsonl", "--resume").returncode == 1
    assert len(records((tmp_path / "r.jsonl").read_bytes())) == 2


def test_shards_merge_to_the_whole(task: str, album: Path, here, tmp_path: Path) -> None:
    words = [album, "missing.jpg", album]
    whole = records(here(*form(task), *words).stdout)
    for number in range(3):
        here(*form(task), *words, "--shard", f"{number}/3", "--records", f"{number}.jsonl")
    done = here("merge", "2.jsonl", "0.jsonl", "1.jsonl")
    assert done.returncode == 0, done.stderr
    assert_same_answers(records(done.stdout), whole)
    assert here("merge", "0.jsonl", "1.jsonl", "2.jsonl", "-o", "all.jsonl").returncode == 0
    assert (tmp_path / "all.jsonl").read_bytes() == done.stdout


def test_merge_proves_the_count(task: str, album: Path, here, tmp_path: Path) -> None:
    for number in range(2):
        here(*form(task), album, "--shard", f"{number}/2", "--records", f"{number}.jsonl")
    lines = (tmp_path / "1.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_bytes(lines[0])
    (tmp_path / "whole.jsonl").write_bytes(here(*form(task), album).stdout)
    (tmp_path / "other.jsonl").write_bytes((tmp_path / "1.jsonl").read_bytes().replace(b'"run": "', b'"run": "0'))
    for files, words in (
        (["0.jsonl"], b"shard 1/2 is missing"),
        (["0.jsonl", "cut.jsonl"], b"shard 1/2 is missing"),
        (["0.jsonl", "1.jsonl", "1.jsonl"], b"there twice"),
        (["0.jsonl", "other.jsonl"], b"not of one run"),
        (["whole.jsonl"], b"not made with --shard"),
        (["missing.jsonl"], b"can't be read"),
    ):
        done = here("merge", *files, "--out", "all.jsonl")
        assert done.returncode == 2, files
        assert words in done.stderr
        assert not (tmp_path / "all.jsonl").exists()


def test_shard_auto_reads_the_launcher(task: str, album: Path, here, monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in (
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "3"},
        {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
    ):
        with monkeypatch.context() as launcher:
            for name, value in variables.items():
                launcher.setenv(name, value)
            found = records(here(*form(task), album, "--shard", "auto").stdout)
            assert [record["shard"] for record in found] == ["1/2", "1/2"]
            assert len(records(here(*form(task), album).stdout)) == 4


def test_error_limits_end_the_run(task: str, album: Path, here) -> None:
    words = ["a.jpg", "b.jpg", album / "rocket.jpg", "c.jpg", "d.jpg"]
    assert len(records(here(*form(task), *words, "--on-error", "fail").stdout)) == 1
    limited = here(*form(task), *words, "--max-errors", "3")
    assert limited.returncode == 1
    assert len(records(limited.stdout)) == 4


def test_colliding_outputs_keep_their_endings(task: str, album: Path, here, tmp_path: Path) -> None:
    for folder in ("in/x", "in/y"):
        (tmp_path / folder).mkdir(parents=True)
        Image.open(album / "rocket.jpg").save(tmp_path / folder / "a.jpg")
        Image.open(album / "rocket.jpg").save(tmp_path / folder / "a.png")
        Image.open(album / "rocket.jpg").save(tmp_path / folder / "b.png")
    found = records(here(*form(task), "-r", "in", "--out-dir", "out").stdout)
    outputs = [Path(record[analyser(task).picture_key]) for record in found]
    assert len(set(outputs)) == 6
    suffix = outputs[0].suffix
    expected = [f"out/{sub}/{name}{suffix}" for sub in ("x", "y") for name in ("a.jpg", "a.png", "b")]
    assert [str(output) for output in outputs] == expected


def test_outputs_inside_the_inputs_are_not_inputs(task: str, album: Path, here, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(album / "rocket.jpg", tmp_path / "in" / "a.jpg")
    for _ in range(2):
        done = here(*form(task), "-r", "in", "--out-dir", "in/out", "--overwrite")
        assert [record["file"] for record in records(done.stdout)] == ["in/a.jpg"]


def test_existing_outputs_are_kept_unless_told(task: str, album: Path, here, tmp_path: Path) -> None:
    shutil.copy(album / "chelsea.png", tmp_path / "a.png")
    assert here(*form(task), "a.png", "--out", "b.png").returncode == 0
    written = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(b"mine")
    refused = here(*form(task), "a.png", "--out", "b.png")
    assert refused.returncode == 2
    assert b"--overwrite" in refused.stderr
    skipped = records(here(*form(task), "a.png", "--out", "b.png", "--skip-existing").stdout)
    assert skipped[0]["skipped"] is True
    assert (tmp_path / "b.png").read_bytes() == b"mine"
    assert here(*form(task), "a.png", "--out", "b.png", "--overwrite").returncode == 0
    assert (tmp_path / "b.png").read_bytes() == written


def test_inputs_are_never_overwritten(task: str, album: Path, here, tmp_path: Path) -> None:
    shutil.copy(album / "chelsea.png", tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    for place in (["--out", "a.png"], ["--out-dir", ".", "--suffix", ".png"]):
        done = here(*form(task), "a.png", *place, "--overwrite")
        assert done.returncode == 2
        assert b"never overwritten" in done.stderr
    assert (tmp_path / "a.png").read_bytes() == before


def test_picture_on_standard_output_is_all_there_is(task: str, album: Path, cnncli) -> None:
    done = cnncli(*form(task), album / "chelsea.png", "--out", "-")
    assert done.stdout.startswith(b"\x89PNG")
    piped = cnncli(*form(task), "-", stdin=done.stdout)
    assert records(piped.stdout)[0]["ok"]


def test_failed_input_leaves_no_picture(task: str, album: Path, here, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes((album / "rocket.jpg").read_bytes()[:-2000])
    assert here(*form(task), "broken.jpg", "--out", "o.png").returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jpg"]


@pytest.mark.parametrize("size", [(1, 1), (20000, 2), (2, 20000), (3000, 1)])
def test_extreme_sizes_and_flat_colours_are_answered(task: str, size: tuple[int, int], here, tmp_path: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "black.png")
    found = records(here(*form(task), "black.png", "--out-dir", "out").stdout)
    assert found[0]["ok"], found
    assert (found[0]["width"], found[0]["height"]) == size


def test_nan_picture_is_a_failed_record(task: str, here, tmp_path: Path) -> None:
    import numpy as np

    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(tmp_path / "nan.tif")
    found = records(here(*form(task), "nan.tif").stdout)
    assert not found[0]["ok"]
    assert "NaN" in found[0]["failure"]


def test_video_gives_one_record_per_frame(task: str, here, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(7):
        writer.write(np.full((48, 64, 3), 30 * number, np.uint8))
    writer.release()
    found = records(here(*form(task), "clip.avi", "--out-dir", "out").stdout)
    assert [record["frame"] for record in found] == list(range(7))
    assert [record["seconds"] for record in found] == pytest.approx([0.1 * number for number in range(7)], abs=0.01)
    assert len(list((tmp_path / "out").iterdir())) == 7
    first, second = (records(here(*form(task), "clip.avi", "--shard", f"{n}/2").stdout) for n in range(2))
    assert [record["frame"] for record in (*first, *second)] == [0, 2, 4, 6, 1, 3, 5]


def test_list_on_standard_input_is_answered_as_it_arrives(task: str, album: Path) -> None:
    process = subprocess.Popen(
        command(task, "@-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    for _ in range(2):
        process.stdin.write(os.fsencode(album / "rocket.jpg") + b"\n")
        process.stdin.flush()
        assert records(process.stdout.readline())[0]["ok"]  # hangs, and is killed, if it waits for the list's end
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdout.close()


def wait_for_lines(path: Path, count: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"{path} never had {count} lines")
