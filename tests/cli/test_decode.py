"""`--decode device` through the whole command: the records of `--decode full`, but for what the option states."""

from pathlib import Path

import pytest
from PIL import Image

from cnncli.io.jpeg import START_OF_SCAN
from tests.conftest import PHOTOS, records
from tests.io.pictures import ORIENTATION, encoded

TASKS = ("classify", "detect")
MODELS = {"classify": "efficientnet_lite0", "detect": "efficientdet_lite0"}
ON_TORCH = ("--engine", "torch", "--device", "cpu", "--format", "jsonl")
FAILED = ["cut.jpg", "half.jpg", "text.jpg"]  # by every decoder
DAMAGED = "damaged.jpg"  # in its data, so that most decoders show grey or shifted parts
BOX_MOVES = 0.1  # px


def common(task: str) -> tuple[str, ...]:
    return (task, "-m", MODELS[task], *ON_TORCH)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photos of all kinds, whole and broken."""
    folder = tmp_path / "album"
    folder.mkdir()
    cat, coffee = (Image.open(PHOTOS / f"{name}.png").convert("RGB") for name in ("chelsea", "coffee"))
    plain = encoded(cat, "JPEG", quality=92)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    scan = START_OF_SCAN.search(plain).start()
    middle = (scan + len(plain)) // 2
    files = {
        "plain.jpg": plain,
        "progressive.jpg": encoded(coffee, "JPEG", progressive=True),
        "grey.jpg": encoded(cat.convert("L"), "JPEG"),
        "turned.jpg": encoded(coffee.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif),
        "rocket.jpg": (PHOTOS / "rocket.jpg").read_bytes(),
        "inks.jpg": encoded(coffee.convert("CMYK"), "JPEG"),
        "wide.jpg": encoded(cat.crop((0, 100, 451, 140)), "JPEG"),
        "small.jpg": encoded(cat.resize((90, 60)), "JPEG"),
        "cat.png": encoded(cat, "PNG"),
        "cut.jpg": plain[:-2],
        "half.jpg": plain[: len(plain) // 2],
        "text.jpg": b"no picture",
        DAMAGED: plain[:middle] + plain[middle + 300 :],
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def by_name(output: bytes) -> dict[str, dict]:
    return {Path(record["file"]).name: record for record in records(output)}


def assert_same(found: list[dict], expected: list[dict]) -> None:
    """Records of the same photos, answered in other batches."""
    assert len(found) == len(expected)
    for record, other in zip(found, expected, strict=True):
        assert (record["file"], record["failure"]) == (other["file"], other["failure"])
        entries, others = ((one.get("classes") or one.get("detections") or []) for one in (record, other))
        assert [entry["label"] for entry in entries] == [entry["label"] for entry in others]
        assert [entry["score"] for entry in entries] == pytest.approx([entry["score"] for entry in others], abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_same_photos_and_failures(task: str, album: Path, here) -> None:
    on_device = here(*common(task), album, "--decode", "device")
    full = here(*common(task), album, "--decode", "full")
    assert on_device.returncode == full.returncode == 1
    found, expected = by_name(on_device.stdout), by_name(full.stdout)
    assert list(found) == list(expected) == sorted(path.name for path in album.iterdir())
    assert sorted(name for name, record in expected.items() if not record["ok"]) == sorted([*FAILED, DAMAGED])
    del found[DAMAGED], expected[DAMAGED]
    for name, record in found.items():
        for key in ("ok", "failure", "index", "width", "height", "exif_orientation"):
            assert record[key] == expected[name][key], (name, key)
        assert record["run"] != expected[name]["run"]


@pytest.mark.parametrize("task", TASKS)
def test_some_damage_is_for_the_decoder_of_the_device_to_notice(task: str, album: Path, here) -> None:
    (record,) = records(here(*common(task), album / DAMAGED, "--decode", "device").stdout)
    assert (record["ok"], record["width"], record["height"]) == (True, 451, 300)
    (record,) = records(here(*common(task), album / DAMAGED).stdout)
    assert record["failure"].startswith("damaged (")


def test_labels(album: Path, here) -> None:
    found = by_name(here(*common("classify"), album, "--decode", "device", "-k", "1000").stdout)
    expected = by_name(here(*common("classify"), album, "--decode", "full", "-k", "1000").stdout)
    compared = [name for name, record in expected.items() if record["ok"]]
    assert len(compared) == 9
    for name in compared:
        scores, others = (
            {entry["index"]: entry["score"] for entry in record["classes"]} for record in (found[name], expected[name])
        )
        assert scores == pytest.approx(others, abs=0.002), name
        assert found[name]["classes"][0]["label"] == expected[name]["classes"][0]["label"]


def test_detections(album: Path, here) -> None:
    found = by_name(here(*common("detect"), album, "--decode", "device").stdout)
    expected = by_name(here(*common("detect"), album, "--decode", "full").stdout)
    compared = [name for name, record in expected.items() if record["ok"]]
    assert sum(len(expected[name]["detections"]) for name in compared) >= 8
    for name in compared:
        objects, others = found[name]["detections"], expected[name]["detections"]
        assert [entry["label"] for entry in objects] == [entry["label"] for entry in others], name
        for entry, other in zip(objects, others, strict=True):
            assert entry["score"] == pytest.approx(other["score"], abs=0.002)
            assert entry["bbox"] == pytest.approx(other["bbox"], abs=BOX_MOVES)


@pytest.mark.parametrize("task", TASKS)
def test_draws_the_whole_photo_upright(task: str, album: Path, here, tmp_path: Path) -> None:
    names = ("turned.jpg", "plain.jpg", "cat.png")
    done = here(*common(task), *(album / name for name in names), "--decode", "device", "--out-dir", "drawn")
    assert done.returncode == 0
    for record in records(done.stdout):
        with Image.open(tmp_path / record["output"]) as picture:
            assert picture.size == (record["width"], record["height"])
    alone = records(here(*common(task), *(album / name for name in names), "--decode", "device").stdout)
    assert_same(records(done.stdout), alone)


@pytest.mark.parametrize("task", TASKS)
def test_pictures_of_damaged_photos_are_refused(task: str, album: Path, here, tmp_path: Path) -> None:
    done = here(*common(task), album / DAMAGED, "--decode", "device", "--out", "drawn.png")
    assert done.returncode == 1
    assert records(done.stdout)[0]["failure"].startswith("damaged (")
    assert not (tmp_path / "drawn.png").exists()


@pytest.mark.parametrize("task", TASKS)
def test_resumes(task: str, album: Path, here, tmp_path: Path) -> None:
    command = (*common(task), album, "--decode", "device", "--records", "all.jsonl")
    here(*command)
    whole = records((tmp_path / "all.jsonl").read_bytes())
    lines = (tmp_path / "all.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "all.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:20])
    done = here(*command, "--resume")
    assert done.returncode == 1
    assert_same(records((tmp_path / "all.jsonl").read_bytes()), whole)
    refused = here(*common(task), album, "--decode", "full", "--records", "all.jsonl", "--resume")
    assert refused.returncode == 2


@pytest.mark.parametrize("task", TASKS)
def test_only_torch_decodes_on_its_device(task: str, here) -> None:
    done = here(task, PHOTOS / "rocket.jpg", "-m", MODELS[task], "--decode", "device", "--engine", "onnx")
    assert done.returncode == 2
    assert b"--decode device: " in done.stderr


@pytest.mark.parametrize("task", TASKS)
def test_names_the_choices(task: str, here) -> None:
    done = here(task, PHOTOS / "rocket.jpg", "--decode", "gpu")
    assert done.returncode == 2
    assert b"--decode gpu: choose auto, full or device" in done.stderr


def test_tiles_need_decoded_photos(here) -> None:
    done = here("detect", PHOTOS / "rocket.jpg", "--decode", "device", "--tile", "320")
    assert done.returncode == 2
    assert b"--tile: tiles are cut out of decoded photos; leave it out, or --decode device" in done.stderr
