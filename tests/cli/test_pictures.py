"""Where pictures go, and what never happens to those that are there; held by every task that makes one of its own."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from cnncli.results.schema import schema
from tests.cli.tasks import analyser, engines, form, result_key
from tests.cli.test_contract import assert_same_answers
from tests.cli.test_edges import wait_for_lines
from tests.conftest import records

TASKS = ["segment", "denoise", "sobel"]
FURTHER = [("segment", "--overlay", ".jpg"), ("segment", "--cutout", ".png"), ("denoise", "--compare", ".png")]

every_task = pytest.mark.parametrize("task", TASKS)
every_further_picture = pytest.mark.parametrize(("task", "option", "suffix"), FURTHER)


@pytest.fixture
def tree(crops: Path, tmp_path: Path) -> Path:
    """Strips of photos, which every task answers quickly: in/a/1.png, in/b/1.png, in/b/2.jpg."""
    for source, name in (("chelsea.png", "a/1.png"), ("coffee.png", "b/1.png"), ("rocket.jpg", "b/2.jpg")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shown(crops / source).crop((0, 30, 120, 45)).save(path)
    return tmp_path / "in"


@pytest.fixture
def many(crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 200 links to one strip, which `segment` is not to enlarge."""
    monkeypatch.setenv("CNNCLI_SCALE", "121")
    folder = tmp_path / "many"
    folder.mkdir()
    shown(crops / "chelsea.png").crop((0, 30, 120, 42)).save(tmp_path / "strip.png")
    for number in range(200):
        os.link(tmp_path / "strip.png", folder / f"{number:03}.png")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shown(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


def answers(done, task: str) -> list[dict]:
    """The records of a run, which are valid."""
    found = records(done.stdout)
    for record in found:
        jsonschema.validate(record, schema(task))
    return found


def written(done, task: str) -> list[str | None]:
    return [record.get(analyser(task).picture_key) for record in answers(done, task)]


@every_task
def test_folder_mirrors_the_inputs(task: str, tree: Path, here, tmp_path: Path) -> None:
    done = here(*form(task), "-r", "in", "--out-dir", "out")
    assert written(done, task) == ["out/a/1.png", "out/b/1.png", "out/b/2.png"]
    assert set(files(tmp_path / "out")) == {"a/1.png", "b/1.png", "b/2.png"}
    for record in records(done.stdout):
        picture = shown(tmp_path / record[analyser(task).picture_key])
        assert picture.size == (record["width"], record["height"]) == (120, 15)


@every_task
def test_without_a_place_nothing_is_written(task: str, tree: Path, here, tmp_path: Path) -> None:
    before = files(tmp_path)
    done = here(*form(task), "in/a/1.png")
    assert (done.returncode, written(done, task)) == (0, [None])
    assert files(tmp_path) == before


@every_task
def test_standard_output_takes_one_picture_and_nothing_else(task: str, tree: Path, here, tmp_path: Path) -> None:
    piped = here(*form(task), "in/a/1.png", "--out", "-")
    here(*form(task), "in/a/1.png", "--out", "file.png")
    assert piped.stdout == (tmp_path / "file.png").read_bytes()
    for words, message in (([tree], "--out-dir for several"), (["in/a/1.png", "in/a/1.png"], "--out-dir for several")):
        done = here(*form(task), "-r", *words, "--out", "-")
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in done.stderr.decode()


@every_task
def test_full_disk_leaves_no_part_of_a_picture(task: str, tree: Path, cnncli, tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    done = cnncli(*form(task), "in/a/1.png", "--out", "out.png", preexec_fn=small_files)
    assert done.returncode == 74
    assert b"out.png: can't be written" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert set(files(tmp_path)) == {"in/a/1.png", "in/b/1.png", "in/b/2.jpg"}
    with open("/dev/full", "wb") as full:
        done = cnncli(
            *form(task), "in/a/1.png", "--out", "-", capture_output=False, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 74
    assert done.stderr.count(b"\n") == 1


@every_task
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_ended_run_goes_on(task: str, number: int, code: int, many: Path, cnncli, tmp_path: Path) -> None:
    words = [task, "many", "--out-dir", "out", "--records", "r.jsonl", "--resume"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cnncli", *words],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_lines(tmp_path / "r.jsonl", 5)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    before = (tmp_path / "r.jsonl").read_bytes()
    assert 5 <= len(records(before)) < 200
    if number == signal.SIGINT:
        assert not list((tmp_path / "out").glob(".cnncli-*"))
    assert cnncli(*words).returncode == 0
    found = (tmp_path / "r.jsonl").read_bytes()
    assert found.startswith(before[: before.rfind(b"\n") + 1])
    assert [record["index"] for record in records(found)] == list(range(200))
    paths = [tmp_path / record[analyser(task).picture_key] for record in records(found)]
    assert len({path.read_bytes() for path in paths}) == 1
    assert len(set(paths)) == 200


@every_task
def test_resumed_run_needs_no_overwrite(task: str, tree: Path, here, tmp_path: Path) -> None:
    words = [task, "-r", "in", "--out-dir", "out", "--records", "r.jsonl"]
    assert here(*words).returncode == 0
    pictures, lines = files(tmp_path / "out"), (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(lines[: lines.index(b"\n") + 10])
    assert here(*words, "--resume").returncode == 0
    assert files(tmp_path / "out") == pictures
    assert_same_answers(records((tmp_path / "r.jsonl").read_bytes()), records(lines))


@every_task
def test_shards_write_the_pictures_of_the_whole(task: str, tree: Path, here, tmp_path: Path) -> None:
    shown(tree / "b" / "1.png").save(tree / "b" / "1.bmp")  # whose picture must not meet that of 1.png
    whole = records(here(*form(task), "-r", "in", "--out-dir", "whole").stdout)
    for number in range(2):
        words = ["--shard", f"{number}/2", "--records", f"{number}.jsonl"]
        assert here(*form(task), "-r", "in", "--out-dir", "parts", *words).returncode == 0
    pictures = files(tmp_path / "whole")
    assert set(pictures) == {"a/1.png", "b/1.png.png", "b/1.bmp.png", "b/2.png"}
    assert files(tmp_path / "parts") == pictures
    merged = here("merge", "0.jsonl", "1.jsonl")
    assert [path.replace("parts", "whole") for path in written(merged, task)] == [
        record[analyser(task).picture_key] for record in whole
    ]


@every_task
def test_frames_replace_nothing_unasked(task: str, tree: Path, here, tmp_path: Path) -> None:
    strips = [shown(tree / "a" / "1.png"), shown(tree / "b" / "1.png")]
    strips[0].save(tmp_path / "pages.tif", save_all=True, append_images=strips[1:])
    words = [task, "pages.tif", "--frames", "all", "--out-dir", "out"]
    for number in range(2):
        assert here(*words, "--shard", f"{number}/2").returncode == 0
    before = files(tmp_path / "out")
    assert set(before) == {"pages-000000.png", "pages-000001.png"}
    done = here(*words)
    assert done.returncode == 2
    assert b"out/pages-000000.png: exists" in done.stderr
    assert here(*words, "--overwrite").returncode == 0
    assert files(tmp_path / "out") == before


@every_task
def test_batch_size_changes_no_byte(task: str, tree: Path, here, tmp_path: Path) -> None:
    whole = answers(here(*form(task), "-r", "in", "in/a", "--out-dir", "0"), task)
    for batch in ("1", "3", "64"):
        found = answers(here(*form(task), "-r", "in", "in/a", "--out-dir", batch, "-b", batch), task)
        assert files(tmp_path / batch) == files(tmp_path / "0")
        for record in found:
            record[analyser(task).picture_key] = "0" + record[analyser(task).picture_key][len(batch) :]
        assert_same_answers(whole, found)


@every_task
def test_engines_make_the_same_picture(task: str, crops: Path, here, tmp_path: Path) -> None:
    fast, torch = engines(task)
    for engine in (fast, torch):
        assert here(*form(task), crops, "--engine", engine, "--out-dir", engine).returncode == 0
    for name, content in files(tmp_path / fast).items():
        if task == "sobel":
            assert (tmp_path / torch / name).read_bytes() == content
            continue
        one, other = (np.asarray(shown(tmp_path / engine / name)).astype(int) for engine in (fast, torch))
        most = 1 if task == "denoise" else 0  # levels; a pixel between two classes may go to either
        assert (np.abs(one - other) > most).mean() < (1e-4 if task == "segment" else 1e-9)


@every_task
def test_failed_inputs_have_no_result_and_no_picture(task: str, tree: Path, here, tmp_path: Path) -> None:
    (tree / "a" / "0.png").write_bytes((tree / "a" / "1.png").read_bytes()[:600])
    (tree / "a" / "2.png").write_bytes(b"")
    done = here(*form(task), "-r", "in", "missing.png", "--out-dir", "out", "-q")
    assert done.returncode == 1
    found = answers(done, task)
    assert [record["ok"] for record in found] == [False, True, False, True, True, False]
    assert all(record[result_key(task)] is None for record in found if not record["ok"])
    assert set(files(tmp_path / "out")) == {"in/a/1.png", "in/b/1.png", "in/b/2.png"}


@pytest.mark.parametrize(
    ("task", "suffix", "format"),
    [
        ("segment", ".gif", "GIF"),
        ("segment", ".tif", "TIFF"),
        ("segment", ".bmp", "BMP"),
        ("denoise", ".webp", "WEBP"),
        ("denoise", ".JPG", "JPEG"),
        ("sobel", ".tif", "TIFF"),
    ],
)
def test_suffix_names_the_format(task: str, suffix: str, format: str, tree: Path, here, tmp_path: Path) -> None:
    assert here(*form(task), "-r", "in", "--out-dir", "out", "--suffix", suffix).returncode == 0
    names = {f"{stem}{suffix}" for stem in ("a/1", "b/1", "b/2")}
    assert set(files(tmp_path / "out")) == names
    assert {shown(tmp_path / "out" / name).format for name in names} == {format}


@pytest.mark.parametrize(
    ("task", "arguments", "words"),
    [
        ("segment", ["--out", "mask.jpg"], "--out: .jpg can't hold this picture without loss; use .png"),
        ("segment", ["--out-dir", "out", "--suffix", ".webp"], "--out-dir: .webp can't hold"),
        ("segment", ["--out", "mask.npy"], "'.npy' names no image format"),
        ("segment", ["--cutout", "cut.jpg"], "--cutout: .jpg can't hold"),
        ("segment", ["--out", "mask"], "no ending names the format"),
        ("denoise", ["--out", "clean.npy"], "'.npy' names no image format"),
        ("denoise", ["--compare", "nowhere/both.png"], "--compare: the folder nowhere does not exist"),
        ("sobel", ["--out-dir", "out", "--suffix", "png"], "write an ending such as .png"),
        ("sobel", ["--suffix", ".png"], "for the files in --out-dir"),
        ("segment", ["--out", "-", "--overlay", "-"], "two pictures can't both go to standard output"),
        ("segment", ["--cutout", "-", "--overlay", "-"], "two pictures can't both go to standard output"),
        ("denoise", ["--out", "-", "--compare", "-"], "two pictures can't both go to standard output"),
        ("segment", ["--out", "same.png", "--overlay", "same.png"], "same.png"),
        ("segment", ["--out-dir", "out", "--cutout", "out"], "out"),
        ("denoise", ["--out", "same.png", "--compare", "./same.png"], "same.png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors_come_before_anything_runs(
    task: str, arguments: list[str], words: str, tree: Path, here, tmp_path: Path
) -> None:
    before = files(tmp_path)
    done = here(*form(task), "in/a/1.png", *arguments)
    assert (done.returncode, done.stdout) == (2, b""), done.stderr
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert files(tmp_path) == before


@every_further_picture
def test_further_picture_of_one_input_is_a_file(
    task: str, option: str, suffix: str, tree: Path, here, tmp_path
) -> None:
    done = here(*form(task), "in/b/2.jpg", option, "more.png")
    assert records(done.stdout)[0][option.removeprefix("--")] == "more.png"
    assert shown(tmp_path / "more.png").format == "PNG"
    piped = here(*form(task), "in/b/2.jpg", option, "-")
    assert piped.stdout == (tmp_path / "more.png").read_bytes()
    refused = here(*form(task), "in/b/2.jpg", "in/a/1.png", option, "two.png")
    assert refused.returncode == 2
    assert f"{option} two/, for several" in refused.stderr.decode()


@every_further_picture
def test_further_pictures_of_several_are_a_folder(
    task: str, option: str, suffix: str, tree: Path, here, tmp_path
) -> None:
    done = here(*form(task), "-r", "in", option, "more", "--out-dir", "out")
    expected = [f"more/{stem}{suffix}" for stem in ("a/1", "b/1", "b/2")]
    assert [record[option.removeprefix("--")] for record in records(done.stdout)] == expected
    assert written(done, task) == ["out/a/1.png", "out/b/1.png", "out/b/2.png"]
    assert all((tmp_path / path).is_file() for path in expected)


@every_further_picture
def test_further_pictures_replace_nothing_unasked(
    task: str, option: str, suffix: str, tree: Path, here, tmp_path
) -> None:
    (tmp_path / "more.png").write_bytes(b"mine")
    (tmp_path / "more" / "a").mkdir(parents=True)
    (tmp_path / "more" / "a" / f"1{suffix}").write_bytes(b"mine")
    for words in (["in/a/1.png", option, "more.png"], ["-r", "in", option, "more"]):
        done = here(*form(task), *words)
        assert done.returncode == 2
        assert b"exists; use --overwrite" in done.stderr
    assert (tmp_path / "more.png").read_bytes() == (tmp_path / "more" / "a" / f"1{suffix}").read_bytes() == b"mine"
    assert here(*form(task), "-r", "in", option, "more", "--overwrite").returncode == 0
    assert (tmp_path / "more" / "a" / f"1{suffix}").read_bytes() != b"mine"


@every_further_picture
def test_further_pictures_never_replace_an_input(
    task: str, option: str, suffix: str, tree: Path, here, tmp_path
) -> None:
    shutil.copytree(tree, tmp_path / "more")
    before = files(tmp_path)
    places = [["in/a/1.png", option, "in/a/1.png"]]
    if suffix == ".png":
        places.append(["-r", "more", option, "more"])
    for words in places:
        done = here(*form(task), *words, "--overwrite")
        assert done.returncode == 2, done.stderr
        assert b"never" in done.stderr
    assert files(tmp_path) == before


@every_further_picture
def test_skips_only_where_all_pictures_exist(task: str, option: str, suffix: str, tree: Path, here, tmp_path) -> None:
    words = [task, "-r", "in", "--out-dir", "out", option, "more", "--skip-existing"]
    assert here(*words).returncode == 0
    before = files(tmp_path)
    (tmp_path / "more" / "b" / f"1{suffix}").unlink()
    found = answers(here(*words), task)
    assert ["skipped" in record for record in found] == [True, False, True]
    assert files(tmp_path) == before
    assert all(record.get("skipped") for record in answers(here(*words), task))


def test_programs_can_be_piped_into_each_other(crops: Path, tmp_path: Path) -> None:
    shutil.copy(crops / "chelsea.png", tmp_path / "a.png")
    program = f'"{sys.executable}" -m cnncli'
    line = f"{program} denoise a.png --out - | {program} segment - --out mask.png"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], cwd=tmp_path, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    (record,) = records(done.stdout)
    assert (record["file"], record["mask"]) == ("-", "mask.png")
    mask = shown(tmp_path / "mask.png")
    assert (mask.mode, mask.size) == ("P", (120, 80))


@every_further_picture
def test_folders_of_further_pictures_are_not_inputs(task: str, option: str, suffix: str, here, tree: Path) -> None:
    """Neither where the folder is made by the run, nor where it is there from an earlier one."""
    for _ in range(2):
        done = here(task, "-r", "in", option, "in/drawn", "--out-dir", "in/out", "--overwrite")
        assert [record["file"] for record in records(done.stdout)] == ["in/a/1.png", "in/b/1.png", "in/b/2.jpg"]
