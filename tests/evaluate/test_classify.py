"""Labelled photos as they are found, figures counted by hand, and the accuracy of the shipped models."""

from pathlib import Path

import pytest

from cnncli import Predictor
from cnncli.errors import UsageError
from cnncli.evaluate.classify import Labelled, find_photos, summarise
from cnncli.io.store import model_path
from cnncli.io.weights import read_info

CLASSES = ("tabby", "golden retriever", "hot-dog", "crane", "crane", "7")
PNG = b"never decoded here"


def make(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(PNG)
    return folder


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def found(place: Path, images: Path | None = None) -> list[tuple[str, int]]:
    """Files below the folder of the test, and their classes."""
    base = place if place.is_dir() else place.parent
    return [
        (Path(photo.file).relative_to(base).as_posix(), photo.truth) for photo in find_photos(place, images, CLASSES)
    ]


def test_finds_a_folder_per_class(tmp_path: Path) -> None:
    make(tmp_path, "tabby/1.jpg", "tabby/deeper/2.PNG", "hot-dog/3.webp", "hot-dog/notes.txt", ".hidden/4.jpg", "5.jpg")
    assert found(tmp_path) == [("hot-dog/3.webp", 2), ("tabby/1.jpg", 0), ("tabby/deeper/2.PNG", 0)]


@pytest.mark.parametrize(
    ("folder", "truth"),
    [("Golden_Retriever", 1), ("golden-retriever", 1), ("HOT DOG", 2), ("crane", 3), ("2", 2), ("7", 5), ("05", 5)],
)
def test_names_classes_by_name_or_number(tmp_path: Path, folder: str, truth: int) -> None:
    assert found(make(tmp_path, f"{folder}/1.jpg")) == [(f"{folder}/1.jpg", truth)]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["zeppelin/1.jpg"], "zeppelin: the model has no class 'zeppelin'"),
        (["6/1.jpg"], "class '6' is not one of 0 to 5"),
        (["²/1.jpg"], "no class '²'"),
        (["1.jpg"], "has no subfolders; expected a folder with one subfolder per class, or a CSV"),
        (["tabby/1.txt"], "tabby: no images"),
    ],
)
def test_rejects_other_folders(tmp_path: Path, files: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        find_photos(make(tmp_path, *files), None, CLASSES)


@pytest.mark.parametrize(
    "text",
    [
        "file,class_id\na.jpg,1\nb/c.jpg,0\n",
        "class_id,file,note\n1,a.jpg,\n0,b/c.jpg,x\n",
        "path,index\r\na.jpg, 1\r\nb/c.jpg,0\r\n",
        "filename,label\na.jpg,Golden_retriever\nb/c.jpg,tabby\n",
        "image,class\na.jpg,golden retriever\n\nb/c.jpg,tabby\n",
        "file,label\na.jpg,1\nb/c.jpg,0\n",
        "file,class_id,label\na.jpg,1,wrong\nb/c.jpg,0,wrong\n",
        "\ufefffile,name\na.jpg,golden retriever\nb/c.jpg,tabby,surplus\n",
    ],
)
def test_reads_tables(tmp_path: Path, text: str) -> None:
    make(tmp_path, "a.jpg", "b/c.jpg")
    expected = [("a.jpg", 1), ("b/c.jpg", 0)]
    assert found(table(tmp_path, text, "truth.csv")) == expected
    table(tmp_path, text)
    assert found(tmp_path) == expected  # labels.csv of a folder, though the folder has subfolders


def test_finds_the_images_beside_a_table(tmp_path: Path) -> None:
    make(tmp_path, "images/a.jpg", "images/b.jpg")
    assert found(table(tmp_path, "file,class_id\na.jpg,1\nb.jpg,0\n")) == [("images/a.jpg", 1), ("images/b.jpg", 0)]


def test_takes_the_images_of_another_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "other/a.jpg")
    listed = table(tmp_path, "file,class_id\na.jpg,1\n")
    assert found(listed, tmp_path / "other") == [("other/a.jpg", 1)]
    with pytest.raises(UsageError, match=r"--images .*nowhere: no such folder"):
        find_photos(listed, tmp_path / "nowhere", CLASSES)


def test_keeps_absolute_paths_and_missing_files(tmp_path: Path) -> None:
    listed = table(tmp_path, "file,class_id\n/nowhere/a.jpg,1\nmissing.jpg,0\n")
    assert find_photos(listed, None, CLASSES) == [
        Labelled("/nowhere/a.jpg", 1),
        Labelled(str(tmp_path / "missing.jpg"), 0),  # its record will say so
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,class_id\na.jpg,6\n", "line 2: class '6' is not one of 0 to 5"),
        ("file,class_id\na.jpg,1\nb.jpg,-1\n", "line 3: class '-1'"),
        ("file,class_id\na.jpg,²\n", "line 2: class '²'"),
        ("file,class_id\na.jpg\n", "line 2: class ''"),
        ("file,label\na.jpg,zeppelin\n", "line 2: the model has no class 'zeppelin'"),
        ('file,label,note\na.jpg,tabby,"two\nlines"\nb.jpg,zeppelin,\n', "line 4: the model has no class"),
        ("file,class_id\n,1\n", "line 2: names no file"),
        ("file,class_id\n", "no labelled photos; expected"),
        ("file,truth\na.jpg,1\n", "has the columns file, truth; expected file and class_id or label"),
        ("picture,label\n", "has the columns picture, label;"),
        ("", "has the columns none"),
    ],
)
def test_rejects_other_tables(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        find_photos(table(tmp_path, text), None, CLASSES)


@pytest.mark.parametrize("content", [b"file,label\n\xff\xfe,tabby\n", b"file,label\n" + b"x" * 200_000 + b",tabby\n"])
def test_rejects_what_is_no_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"labels.csv: can't be read \("):
        find_photos(tmp_path, None, CLASSES)


def test_rejects_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: can't be read"):
        find_photos(tmp_path / "nowhere", None, CLASSES)


def test_figures_are_those_counted_by_hand() -> None:
    truths = [0, 0, 0, 1, 1, 2]
    answers = [
        (0, 1, 2, 3, 4),  # right
        (1, 0, 2, 3, 4),  # second best
        (1, 2, 3, 4, 5, 0),  # sixth: not among five
        (1, 0, 2, 3, 4),  # right
        None,  # failed, which is wrong
        (0, 1, 3, 4, 5),  # not there
    ]
    figures = summarise(truths, answers, CLASSES)
    assert figures == {
        "photos": 6,
        "failed": 1,
        "top1": 33.33,
        "top5": 50.0,
        "classes": [
            {"label": "tabby", "index": 0, "photos": 3, "top1": 33.33, "top5": 66.67},
            {"label": "golden retriever", "index": 1, "photos": 2, "top1": 50.0, "top5": 50.0},
            {"label": "hot-dog", "index": 2, "photos": 1, "top1": 0.0, "top5": 0.0},
        ],
        "confusion": [
            {"label": "tabby", "predicted": "golden retriever", "photos": 2},
            {"label": "tabby", "predicted": "tabby", "photos": 1},
            {"label": "golden retriever", "predicted": "golden retriever", "photos": 1},
            {"label": "hot-dog", "predicted": "tabby", "photos": 1},
        ],
    }


def test_all_failed_is_nothing_right() -> None:
    figures = summarise([2, 2], [None, None], CLASSES)
    assert (figures["failed"], figures["top1"], figures["top5"], figures["confusion"]) == (2, 0.0, 0.0, [])


def test_rejects_an_answer_too_few() -> None:
    with pytest.raises(ValueError, match="shorter"):
        summarise([0, 1], [(0,)], CLASSES)


@pytest.mark.parametrize(
    ("model", "top1", "top5"), [("efficientnet_lite2", 92.2, 99.4), ("efficientnet_lite0", 89.2, 98.8)]
)
def test_shipped_models_are_as_right_as_measured(data_set, model: str, top1: float, top5: float) -> None:
    classes = read_info(model_path(model)).classes
    photos = find_photos(data_set("imagenet"), None, classes)
    files = [photo.file for photo in photos]
    answers = indices(Predictor("classify", model=model, engine="onnx")(files))
    figures = summarise([photo.truth for photo in photos], answers, classes)
    two_photos = 100 * 2 / 167
    assert figures["photos"] == 167
    assert figures["top1"] == pytest.approx(top1, abs=two_photos)
    assert figures["top5"] == pytest.approx(top5, abs=two_photos)
    by_torch = indices(Predictor("classify", model=model, engine="torch", precision="fp32")(files[:40]))
    assert [answer[0] for answer in by_torch] == [answer[0] for answer in answers[:40]]


def indices(records: list[dict]) -> list[list[int]]:
    return [[entry["index"] for entry in record["classes"]] for record in records]
