"""`cnncli verify-face` and `cnncli eval verify-face` as their users call them."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from PIL import Image

from cnncli.io.store import cache_folder
from cnncli.results.schema import schema
from tests.conftest import PHOTOS, Completed, records

ASTRONAUT = PHOTOS / "astronaut.png"
CAT = PHOTOS / "chelsea.png"
STRICT = ("--threshold", "0.0001")  # so strict that another picture of the same face is a different person's
TURNS = {  # how a photo lies that its EXIF orientation turns upright
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
}


def portrait() -> np.ndarray:
    return np.asarray(Image.open(ASTRONAUT).convert("RGB"))[40:190, 150:300]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Small photos: a.png, its mirror image b.png, c.png in other colours, nobody.png, broken.png."""
    save(tmp_path / "a.png", portrait())
    save(tmp_path / "b.png", portrait()[:, ::-1])
    save(tmp_path / "c.png", portrait()[:, :, ::-1] // 2 + 60)
    save(tmp_path / "nobody.png", np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"junk")
    return tmp_path


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return path


def answer(done: Completed) -> dict[str, Any]:
    """The one record, which keeps to the schema."""
    (record,) = valid(done)
    return record


def valid(done: Completed) -> list[dict[str, Any]]:
    found = records(done.stdout)
    for record in found:
        jsonschema.validate(record, schema("verify-face"))
    return found


def test_one_person(here, faces: Path) -> None:
    done = here("verify-face", "a.png", "b.png")
    record = answer(done)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (record["file"], record["file2"], record["ok"], record["failure"]) == ("a.png", "b.png", True, None)
    assert record["verified"] is True
    assert 0 < record["distance"] < record["threshold"] == pytest.approx(1 - 0.363)
    assert (record["similarity_metric"], record["model"]) == ("cosine", "sface")
    assert record["further_models"]["find-face"]["model"] == "yunet"
    assert set(record["ms"]) == {"decode", "prepare", "infer", "interpret"}
    first, second = (record["facial_areas"][key] for key in ("img1", "img2"))
    assert first["right_eye"][0] < first["nose"][0] < first["left_eye"][0]
    assert first["right_eye"][1] < first["nose"][1] < first["mouth_right"][1]
    assert second["x"] == pytest.approx(150 - first["x"] - first["w"], abs=4)


def test_different_persons(here, faces: Path) -> None:
    done = here("verify-face", "a.png", "b.png", *STRICT)
    record = answer(done)
    assert (done.returncode, done.stderr) == (1, b"")
    assert (record["ok"], record["verified"], record["threshold"]) == (True, False, 0.0001)


def test_the_same_file_twice(here, faces: Path) -> None:
    done = here("verify-face", "a.png", "a.png")
    assert done.returncode == 0
    assert answer(done)["distance"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("model", ["sface", "dlib_resnet29"])
def test_order_does_not_matter(here, faces: Path, model: str) -> None:
    first, second = (
        answer(here("verify-face", *pair, "-m", model)) for pair in (("a.png", "c.png"), ("c.png", "a.png"))
    )
    assert first["distance"] == pytest.approx(second["distance"], abs=1e-5)
    assert first["verified"] == second["verified"]
    areas = first["facial_areas"]
    assert second["facial_areas"] == {"img1": areas["img2"], "img2": areas["img1"]}


@pytest.mark.parametrize("pair", [("nobody.png", "a.png"), ("a.png", "nobody.png"), ("nobody.png", "nobody.png")])
def test_no_face(here, faces: Path, pair: tuple[str, str]) -> None:
    done = here("verify-face", *pair)
    record = answer(done)
    assert done.returncode == 5
    assert (record["ok"], record["verified"]) == (False, None)
    assert record["failure"] == "nobody.png: no face found in it; see --conf"
    assert done.stderr == b"cnncli: nobody.png: no face found in it; see --conf\n"


@pytest.mark.parametrize("name", ["gone.png", "broken.png", "empty.png", "folder", "nul\0.png"])
@pytest.mark.parametrize("turn", [1, -1])
def test_unreadable(here, faces: Path, name: str, turn: int) -> None:
    (faces / "empty.png").write_bytes(b"")
    (faces / "folder").mkdir()
    done = here("verify-face", *("a.png", name)[::turn])
    assert done.returncode == 6
    assert answer(done)["failure"].startswith(f"{name}: ")
    assert done.stderr.count(b"\n") == 1
    assert here("verify-face", *("a.png", name)[::turn], "--quiet").stderr == b""


@pytest.mark.parametrize("size", [(1, 1), (20_000, 2), (2, 20_000)])
def test_photos_too_small_for_a_face(here, faces: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (9, 99, 3)).save(faces / "odd.png")
    assert here("verify-face", "a.png", "odd.png").returncode == 5


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "I;16"])
def test_pixels_of_all_kinds(here, faces: Path, mode: str) -> None:
    grey = Image.fromarray(portrait()).convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    (wide if mode == "I;16" else Image.fromarray(portrait()).convert(mode)).save(faces / "other.png")
    done = here("verify-face", "a.png", "other.png")
    assert (done.returncode, answer(done)["verified"]) == (0, True)


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_turns_change_nothing(here, faces: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(faces / "turned.png", TURNS[orientation](portrait()), exif=exif)
    record = answer(here("verify-face", "a.png", "turned.png"))
    assert record["distance"] == pytest.approx(0, abs=1e-6)
    assert record["facial_areas"]["img1"] == record["facial_areas"]["img2"]


@pytest.mark.parametrize("pair", [("-", "b.png"), ("b.png", "-")])
def test_one_may_come_on_standard_input(cnncli, faces: Path, pair: tuple[str, str]) -> None:
    done = cnncli("verify-face", *pair, "--out", "both.png", stdin=(faces / "a.png").read_bytes())
    record = answer(done)
    assert (done.returncode, record["file"], record["file2"]) == (0, *pair)
    assert record["distance"] == answer(cnncli("verify-face", "a.png", "b.png"))["distance"]
    assert (faces / "both.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_on_standard_input(cnncli, faces: Path) -> None:
    done = cnncli("verify-face", "-", "a.png", stdin=b"")
    assert done.returncode == 6
    assert answer(done)["failure"] == "-: empty file"


def test_names_of_all_kinds(cnncli, faces: Path) -> None:
    names = ["-dash.png", "two words.png", "new\nline.png", "@list.png", "st*r.png", os.fsdecode(b"b\xff.png")]
    for name in names:
        shutil.copy(faces / "a.png", faces / name)
        done = cnncli("verify-face", "--out", "both.png", "--overwrite", "--", name, "a.png")
        assert (done.returncode, answer(done)["file"]) == (0, name)


def test_a_strange_name_that_is_not_there(cnncli, faces: Path) -> None:
    done = cnncli("verify-face", "a.png", os.fsdecode(b"b\xff\n.png"))
    assert done.returncode == 6
    assert done.stderr == b"cnncli: b\\udcff\\n.png: no such file\n"


def test_shows_both_faces(here, faces: Path) -> None:
    record = answer(here("verify-face", "a.png", "b.png", "--out", "both.png"))
    assert record["output"] == "both.png"
    same = np.asarray(Image.open(faces / "both.png"))
    assert here("verify-face", "a.png", "b.png", *STRICT, "--out", "both.jpg").returncode == 1
    other = np.asarray(Image.open(faces / "both.jpg"))
    assert same.shape == other.shape
    assert same[-3, 3].tolist() == [0, 158, 115]
    assert other[-3, 3] == pytest.approx([213, 94, 0], abs=8)


def test_a_picture_on_standard_output_is_alone(here, faces: Path) -> None:
    done = here("verify-face", "a.png", "b.png", *STRICT, "--out", "-")
    assert done.returncode == 1
    picture = Image.open(io.BytesIO(done.stdout))
    picture.load()
    assert picture.format == "PNG"
    assert done.stdout.endswith(b"IEND\xaeB`\x82")
    done = here("verify-face", "a.png", "b.png", "--out", "-", "--records", "r.jsonl")
    assert done.stdout.startswith(b"\x89PNG")
    assert json.loads((faces / "r.jsonl").read_text())["output"] == "-"


def test_failures_draw_nothing(here, faces: Path) -> None:
    assert here("verify-face", "a.png", "nobody.png", "--out", "both.png").returncode == 5
    assert not (faces / "both.png").exists()
    done = here("verify-face", "a.png", "gone.png", "--out", "-")
    assert (done.returncode, done.stdout) == (6, b"")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give two photos, not 0"),
        (["a.png"], "give two photos, not 1"),
        (["a.png", "b.png", "c.png"], "give two photos, not 3"),
        (["-", "-"], "standard input holds one photo"),
        (["a.png", "b.png", "--embed", "--landmarks"], "contradict each other"),
        (["--pairs", "pairs.csv", "--gallery", "people"], "contradict each other"),
        (["a.png", "--pairs", "pairs.csv"], "--pairs names the photos"),
        (["--pairs", "gone.csv"], "gone.csv: can't be read"),
        (["--pairs", "pairs.csv", "--out", "x.png"], "--pairs gives records"),
        (["--pairs", "pairs.csv", "--out-dir", "x"], "--pairs gives records"),
        (["a.png", "b.png", "--images", "."], "--images goes with --pairs"),
        (["a.png", "b.png", "--threshold", "low"], "--threshold low"),
        (["a.png", "b.png", "--threshold", "0"], "--threshold 0"),
        (["a.png", "b.png", "--threshold", "nan"], "--threshold nan"),
        (["a.png", "b.png", "--threshold", "@gone.json"], "--threshold @gone.json"),
        (["a.png", "b.png", "--threshold", "@pairs.csv"], "--threshold @pairs.csv"),
        (["a.png", "--landmarks", "--threshold", "0.5"], "--landmarks compares nothing"),
        (["a.png", "--embed", "--metric", "cosine"], "--embed compares nothing"),
        (["a.png", "b.png", "--metric", "angle"], "--metric angle: choose cosine"),
        (["a.png", "b.png", "--metric", "euclidean"], "--metric euclidean: sface was made for cosine"),
        (["a.png", "b.png", "-m", "dlib_resnet29", "--metric", "cosine"], "dlib_resnet29 was made for euclidean"),
        (["a.png", "b.png", "--which", "first"], "--which first"),
        (["a.png", "b.png", "--conf", "1"], "--conf 1"),
        (["a.png", "--gallery", "gone"], "--gallery gone: no such folder"),
        (["a.png", "--gallery", "people"], "people: no images in this folder"),
        (["a.png", "--gallery", ".", "--top-k", "0"], "--top-k 0"),
        (["a.png", "--gallery", ".", "--out", "x.png"], "--gallery gives records"),
        (["a.png", "b.png", "--out-dir", "x"], "use --out"),
        (["a.png", "b.png", "--out", "x.txt"], "names no image format"),
        (["a.png", "b.png", "--out", "people"], "is a folder"),
        (["a.png", "b.png", "--out", "gone/x.png"], "gone does not exist"),
        (["a.png", "b.png", "--out", "c.png"], "c.png: exists; use --overwrite"),
        (["a.png", "b.png", "--out", "b.png", "--overwrite"], "b.png: is an input"),
        (["a.png", "--embed", "--out", "x.npy", "--records", "r.jsonl", "--resume"], "can't be resumed"),
        (["a.png", "b.png", "--format", "coco"], "--format coco"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)  # fmt: skip
def test_usage_errors_come_before_anything_runs(arguments: list[str], words: str, here, faces: Path) -> None:
    (faces / "people").mkdir()
    (faces / "pairs.csv").write_text("a.png,b.png\n")
    before = {path: path.stat().st_mtime_ns for path in faces.rglob("*")}
    done = here("verify-face", *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == b""
    message = done.stderr.decode()
    assert words in message
    assert message.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in faces.rglob("*")} == before


@pytest.mark.parametrize("arguments", [["-m", "gone"], ["-m", "yunet"], ["--weights", "a.png"]])
def test_wrong_weights_are_3(arguments: list[str], here, faces: Path) -> None:
    assert here("verify-face", "a.png", "b.png", *arguments).returncode == 3


def test_full_disks_are_74(cnncli, faces: Path) -> None:
    for words in (("a.png", "b.png"), ("a.png", "b.png", "--out", "-"), ("--landmarks", "a.png")):
        with open("/dev/full", "wb") as full:
            done = cnncli("verify-face", *words, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 74
        assert b"No space left" in done.stderr


def test_a_reader_that_leaves_ends_the_run(faces: Path) -> None:
    (faces / "pairs.csv").write_text("a.png,b.png\n" * 40)
    command = f'"{sys.executable}" -m cnncli verify-face --pairs pairs.csv | head -n 1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], cwd=faces, capture_output=True, timeout=60)
    assert done.stdout.splitlines()[-1] == b"0"
    assert done.stderr == b""


CLOSE = ("--metric", "euclidean_l2")


def test_other_metrics(here, faces: Path) -> None:
    """Of embeddings as long as 1: |a - b|² = 2 (1 - cos)."""
    cosine, of_length_1 = (
        answer(here("verify-face", "a.png", "b.png")),
        answer(here("verify-face", "a.png", "b.png", *CLOSE)),
    )
    assert of_length_1["distance"] ** 2 == pytest.approx(2 * cosine["distance"], abs=1e-5)
    assert of_length_1["threshold"] ** 2 == pytest.approx(2 * cosine["threshold"])
    lines = records(here("verify-face", "--embed", "a.png", "b.png").stdout)
    first, second = (np.array(line["faces"][0]["embedding"]) for line in lines)
    euclidean = answer(here("verify-face", "a.png", "b.png", "--metric", "euclidean", "--threshold", "9"))
    assert euclidean["distance"] == pytest.approx(np.linalg.norm(first - second), abs=1e-4)
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    assert cosine["distance"] == pytest.approx(1 - first @ second / lengths, abs=1e-5)


def test_group_photos_count_with_all_faces(here, faces: Path) -> None:
    """A photo of the mirror image in large, and of the face itself in small."""
    large = cv2.resize(portrait()[:, ::-1], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    group = np.full((300, 500, 3), 90, np.uint8)
    group[:, :300] = large
    group[75:225, 330:480] = portrait()
    save(faces / "group.png", group)
    found = answer(here("verify-face", "--landmarks", "group.png"))["faces"]
    assert len(found) == 2
    best, nearest = (
        answer(here("verify-face", "a.png", "group.png", "--which", which)) for which in ("largest", "all")
    )
    assert best["facial_areas"]["img2"]["x"] < 300 < nearest["facial_areas"]["img2"]["x"]
    assert nearest["distance"] < best["distance"]
    assert nearest["distance"] < 0.05


PAIRS = "img1,img2,same\na.png,b.png,1\na.png,nobody.png,0\nb.png,c.png,1\ngone.png,a.png,0\na.png,a.png,1\n"


@pytest.fixture
def pairs(faces: Path) -> Path:
    (faces / "pairs.csv").write_text(PAIRS)
    return faces / "pairs.csv"


def test_pairs_of_a_file(here, pairs: Path) -> None:
    done = here("verify-face", "--pairs", "pairs.csv")
    found = valid(done)
    assert done.returncode == 1
    assert [record["index"] for record in found] == list(range(5))
    assert [record["verified"] for record in found] == [True, None, True, None, True]
    assert done.stderr.decode().splitlines() == [
        "cnncli: ./nobody.png: no face found in it; see --conf",
        "cnncli: ./gone.png: no such file",
        "cnncli: 3 analysed, 2 failed",
    ]
    single = answer(here("verify-face", "a.png", "b.png"))
    assert found[0]["distance"] == single["distance"]
    assert found[0]["run"] == single["run"]
    assert "ms" not in found[0]


def test_pairs_in_another_folder(here, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    pairs.rename(tmp_path / "lists" / "pairs.csv")
    found = records(here("verify-face", "--pairs", "lists/pairs.csv", "--images", ".", "-q").stdout)
    assert [record["ok"] for record in found] == [True, False, True, False, True]
    assert not any(record["ok"] for record in records(here("verify-face", "--pairs", "lists/pairs.csv", "-q").stdout))


def test_all_different_is_no_failure(here, faces: Path) -> None:
    (faces / "pairs.csv").write_text("a.png,b.png\nb.png,c.png\n")
    done = here("verify-face", "--pairs", "pairs.csv", *STRICT)
    assert (done.returncode, [record["verified"] for record in valid(done)]) == (0, [False, False])


@pytest.mark.parametrize("size", ["1", "64"])
def test_batches_change_nothing(here, pairs: Path, size: str) -> None:
    expected = records(here("verify-face", "--pairs", "pairs.csv").stdout)
    for record, other in zip(
        records(here("verify-face", "--pairs", "pairs.csv", "-b", size).stdout), expected, strict=True
    ):
        assert record["verified"] == other["verified"]
        assert record.get("distance") == pytest.approx(other.get("distance"), abs=1e-5)


def test_runs_are_resumed(here, pairs: Path, tmp_path: Path) -> None:
    words = ("verify-face", "--pairs", "pairs.csv", "--records", "r.jsonl")
    assert here(*words).returncode == 1
    whole = (tmp_path / "r.jsonl").read_bytes()
    for count in (0, 1, 3, 5):
        kept = sum(map(len, whole.splitlines(keepends=True)[:count]))
        (tmp_path / "r.jsonl").write_bytes(whole[: kept + 40])
        assert here(*words, "--resume").returncode == 1
        assert (tmp_path / "r.jsonl").read_bytes() == whole
    assert here(*words).returncode == 2  # exists
    assert here(*words, "--resume", *STRICT).returncode == 2
    pairs.write_text(PAIRS.replace("b.png,1", "c.png,1", 1))
    done = here(*words, "--resume")
    assert done.returncode == 2
    assert b"the inputs have changed" in done.stderr


def test_shards_are_merged(here, pairs: Path, tmp_path: Path) -> None:
    words = ("verify-face", "--pairs", "pairs.csv")
    for number in range(3):
        here(*words, "--shard", f"{number}/3", "--records", f"{number}.jsonl")
    merged = here("merge", "2.jsonl", "0.jsonl", "1.jsonl")
    assert merged.returncode == 0
    assert records(merged.stdout) == records(here(*words).stdout)


@pytest.mark.parametrize(
    ("words", "column"),
    [
        (("a.png", "b.png"), "verified"),
        (("--pairs", "pairs.csv"), "verified"),
        (("a.png", "nobody.png", "--gallery", "people"), "matches"),
        (("a.png", "nobody.png", "--landmarks"), "faces"),
        (("a.png", "nobody.png", "--embed"), "faces"),
    ],
)
def test_formats(here, pairs: Path, words: tuple[str, ...], column: str) -> None:
    save(pairs.parent / "people" / "eve.png", portrait())
    lines = [{**line, "ms": 0} for line in records(here("verify-face", *words).stdout)]
    array = json.loads(here("verify-face", *words, "--format", "json").stdout)
    assert [{**entry, "ms": 0} for entry in array] == lines
    rows = list(csv.DictReader(io.StringIO(here("verify-face", *words, "--format", "csv").stdout.decode())))
    assert [row["file"] for row in rows] == [line["file"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        assert None not in row
        assert (json.loads(row[column]) if row[column] else None) == line[column]
    table = here("verify-face", *words, "--format", "table").stdout.decode()
    assert "a.png" in table


def test_csv_has_one_header_whatever_comes_first(here, faces: Path) -> None:
    heads = []
    for order in ("a.png,b.png\na.png,gone.png\n", "a.png,gone.png\na.png,b.png\n"):
        (faces / "pairs.csv").write_text(order)
        heads.append(here("verify-face", "--pairs", "pairs.csv", "--format", "csv").stdout.splitlines()[0])
    assert heads[0] == heads[1]
    assert {b"file2", b"distance", b"threshold", b"facial_areas"} < set(heads[0].split(b","))


def test_records_may_be_pairs_again(here, pairs: Path) -> None:
    """The CSV of a run, read as a list of pairs."""
    first = here("verify-face", "--pairs", "pairs.csv", "--format", "csv").stdout
    (pairs.parent / "again.csv").write_bytes(first)
    assert here("verify-face", "--pairs", "again.csv", "--format", "csv").stdout == first.replace(b"./", b"././")


@pytest.fixture
def people(faces: Path) -> Path:
    save(faces / "people" / "eve" / "1.png", portrait())
    save(faces / "people" / "eve" / "2.png", portrait()[:, ::-1])
    save(faces / "people" / "odd.png", portrait()[:, :, ::-1] // 2 + 60)
    return faces / "people"


def test_finds_people(here, people: Path) -> None:
    done = here("verify-face", "b.png", "nobody.png", "--gallery", "people")
    known, unknown = valid(done)
    assert done.returncode == 1
    assert [entry["identity"] for entry in known["matches"]] == ["eve", "odd"]
    assert known["matches"][0]["file"] == "people/eve/2.png"
    assert known["matches"][0]["verified"] is True
    assert known["matches"][0]["distance"] == pytest.approx(0, abs=1e-6)
    assert (unknown["ok"], unknown["matches"]) == (False, None)
    assert b"cnncli: nobody.png: no face found in it; see --conf" in done.stderr
    assert list(cache_folder().rglob("*.bin"))


def test_a_second_run_says_the_same(here, people: Path) -> None:
    first, second = (here("verify-face", "a.png", "b.png", "--gallery", "people") for _ in range(2))
    assert first.stdout == second.stdout
    assert (first.returncode, second.stderr) == (0, b"")


def test_distances_to_people_are_those_of_pairs(here, people: Path) -> None:
    matches = answer(here("verify-face", "a.png", "--gallery", "people"))["matches"]
    for match in matches:
        assert match["distance"] == pytest.approx(
            answer(here("verify-face", "a.png", match["file"]))["distance"], abs=1e-5
        )
    assert answer(here("verify-face", "a.png", "--gallery", "people", "-k", "1"))["matches"] == matches[:1]


def test_a_gallery_may_be_among_the_inputs(here, people: Path) -> None:
    done = here("verify-face", "people", "-r", "--gallery", "people")
    assert [record["matches"][0]["file"] for record in valid(done)] == [
        record["file"] for record in records(done.stdout)
    ]


def test_broken_people_are_said_once(here, people: Path) -> None:
    (people / "broken.png").write_bytes(b"junk")
    (people / "nothing.png").symlink_to("gone.png")
    save(people / "nobody.png", np.zeros((30, 30, 3), np.uint8))
    for _ in range(2):
        done = here("verify-face", "a.png", "b.png", "--gallery", "people")
        assert done.returncode == 0
        said = done.stderr.decode().splitlines()
        assert [line.partition(": left out")[0] for line in said] == [
            "cnncli: people/broken.png", "cnncli: people/nobody.png", "cnncli: people/nothing.png",
        ]  # fmt: skip
    assert here("verify-face", "a.png", "--gallery", "people", "-q").stderr == b""


def test_embeddings_as_an_array(here, faces: Path) -> None:
    lines = valid(here("verify-face", "--embed", "nobody.png", "a.png", "gone.png", "b.png", "-q"))
    done = here("verify-face", "--embed", "nobody.png", "a.png", "gone.png", "b.png", "--out", "e.npy", "-q")
    assert done.returncode == 1
    array = np.load(faces / "e.npy")
    assert (array.shape, array.dtype) == ((4, 128), np.float32)
    assert np.isnan(array[[0, 2]]).all()
    for number in (1, 3):
        np.testing.assert_allclose(array[number], lines[number]["faces"][0]["embedding"], atol=1e-5)
    assert [line["faces"] for line in lines][::2] == [[], None]


def test_landmarks_alone(here, faces: Path) -> None:
    done = here("verify-face", "--landmarks", "a.png", "nobody.png", "--out-dir", "drawn")
    found, none = valid(done)
    assert done.returncode == 0
    (face,) = found["faces"]
    assert "embedding" not in face
    assert found["model"] == "yunet"
    assert face == answer(here("verify-face", "a.png", "b.png"))["facial_areas"]["img1"]
    assert none["faces"] == []
    assert (np.asarray(Image.open(faces / "drawn" / "a.jpg")) != 0).any()


LABELLED = "img1,img2,same\na.png,b.png,1\na.png,a.png,1\nb.png,c.png,0\na.png,c.png,0\n"


def test_measures_pairs(here, faces: Path) -> None:
    """Against the same figures from the distances of `--pairs`, by counting."""
    (faces / "pairs.csv").write_text(LABELLED)
    distances = [record["distance"] for record in valid(here("verify-face", "--pairs", "pairs.csv"))]
    middle = (distances[0] + min(distances[2:])) / 2
    done = here("eval", "verify-face", "pairs.csv", "--threshold", middle, "--json", "--records", "r.jsonl")
    figures = json.loads(done.stdout)
    assert done.returncode == 0
    accepted = np.array(distances) <= middle
    right = accepted == np.array([True, True, False, False])
    assert figures["accuracy"] == 100 * right.mean()
    assert figures["false_accept_rate"] == 100 * accepted[2:].mean()
    assert figures["AUC"] == np.mean([[far > near for near in distances[:2]] for far in distances[2:]])
    assert (figures["pairs"], figures["missed"], figures["model"], figures["metric"]) == (4, 0, "sface", "cosine")
    assert [record["distance"] for record in records((faces / "r.jsonl").read_bytes())] == distances
    table = here("eval", "verify-face", "pairs.csv").stdout.decode()
    assert "accuracy" in table
    assert "EER" in table


def test_a_calibrated_threshold_is_used(here, faces: Path) -> None:
    (faces / "pairs.csv").write_text(LABELLED)
    words = ("eval", "verify-face", "pairs.csv", "--calibrate", "0", "--calibration", "t.json", "--json")
    figures = json.loads(here(*words, "--roc", "roc.png").stdout)
    threshold = json.loads((faces / "t.json").read_text())["threshold"]
    assert figures["calibrated_threshold"] == threshold
    assert (faces / "roc.png").read_bytes().startswith(b"\x89PNG")
    record = answer(here("verify-face", "a.png", "b.png", "--threshold", "@t.json"))
    assert record["threshold"] == threshold
    assert record["verified"] == (record["distance"] <= threshold)
    again = json.loads(here("eval", "verify-face", "pairs.csv", "--threshold", "@t.json", "--json").stdout)
    assert (again["false_accept_rate"], again["threshold"]) == (0, threshold)
    for other in (("-m", "dlib_resnet29"), ("--metric", "euclidean_l2")):
        done = here("verify-face", "a.png", "b.png", "--threshold", "@t.json", *other)
        assert done.returncode == 2
        assert b"the threshold was calibrated for" in done.stderr
    done = here(*words)
    assert done.returncode == 2
    assert b"t.json: exists" in done.stderr
    assert here(*words, "--overwrite").returncode == 0


def test_a_threshold_of_other_weights_is_refused(here, faces: Path) -> None:
    from cnncli.io.store import model_path

    (faces / "pairs.csv").write_text(LABELLED)
    here("eval", "verify-face", "pairs.csv", "--calibrate", "0", "--calibration", "t.json")
    weights = {name: ("--weights", str(model_path(name))) for name in ("sface", "dlib_resnet29")}
    words = ("verify-face", "a.png", "b.png", "--threshold", "@t.json")
    assert here(*words, *weights["sface"]).returncode in (0, 1)
    done = here(*words, *weights["dlib_resnet29"])
    assert done.returncode == 2
    assert b"the threshold was calibrated for sface" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unlabelled.csv"], "has no column 'same'"),
        (["gone.csv"], "gone.csv: can't be read"),
        (["alike.csv"], "all of one kind"),
        (["pairs.csv", "--calibrate", "0.1"], "go together"),
        (["pairs.csv", "--calibration", "t.json"], "go together"),
        (["pairs.csv", "--calibrate", "1.5", "--calibration", "t.json"], "--calibrate 1.5"),
        (["pairs.csv", "--calibrate", "nan", "--calibration", "t.json"], "--calibrate nan"),
        (["pairs.csv", "--calibrate", "0", "--calibration", "gone/t.json"], "gone does not exist"),
        (["pairs.csv", "--calibrate", "0", "--calibration", "pairs.csv", "--overwrite"], "--calibration pairs.csv"),
        (["pairs.csv", "--roc", "roc.txt"], "--roc: '.txt' names no image format"),
        (["pairs.csv", "--roc", "a.png", "--overwrite"], "a.png: is an input"),
        (["pairs.csv", "--roc", "broken.png"], "broken.png: exists"),
        (["pairs.csv", "--threshold", "x"], "--threshold x"),
        (["pairs.csv", "--metric", "euclidean"], "--metric euclidean"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_eval_explains_what_is_wrong(arguments: list[str], words: str, here, faces: Path) -> None:
    (faces / "pairs.csv").write_text(LABELLED)
    (faces / "unlabelled.csv").write_text("a.png,b.png\n")
    (faces / "alike.csv").write_text("img1,img2,same\na.png,b.png,1\n")
    done = here("eval", "verify-face", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_eval_counts_what_fails(here, faces: Path) -> None:
    (faces / "pairs.csv").write_text(LABELLED + "a.png,nobody.png,0\na.png,gone.png,1\n")
    done = here("eval", "verify-face", "pairs.csv", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["missed"] == 2
    assert done.stderr.count(b"\n") == 2
    assert here("eval", "verify-face", "pairs.csv", "--json", "-q").stderr == b""


@pytest.mark.parametrize("model", ["sface", "dlib_resnet29"])
def test_copies_of_lower_quality_keep_the_verdict(model: str, data_set, here, tmp_path: Path) -> None:
    """First 60 pairs of each kind of LFW: JPEG again at quality 90, where the distance is no close call."""
    folder = data_set("lfw")
    with open(folder / "pairs.csv") as file:
        listed = list(csv.DictReader(file))
    chosen = [row for same in "10" for row in [row for row in listed if row["same"] == same][:60]]
    for name in {row[key] for row in chosen for key in ("img1", "img2")}:
        Image.open(folder / name).save(tmp_path / name, quality=90)
    text = "".join(f"{row['img1']},{row['img2']}\n" for row in chosen)
    (tmp_path / "pairs.csv").write_text(text)
    plain, copies = (
        records(here("verify-face", "--pairs", "pairs.csv", "--images", place, "-m", model).stdout)
        for place in (folder, ".")
    )
    sure = [abs(one["distance"] - one["threshold"]) >= 0.05 for one in plain]
    assert sum(sure) > 100
    assert not any(
        is_sure and one["verified"] != other["verified"]
        for is_sure, one, other in zip(sure, plain, copies, strict=True)
    )
