"""Pairs of photos with a task of our own, for which a photo's colour is the embedding of the face in it."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnncli.config import RunConfig, Shard
from cnncli.errors import UsageError
from cnncli.results.record import Record, Run
from cnncli.results.verify_face import Face, PhotoFaces
from cnncli.run.pairs import Pair, PairSources, pair_items, read_pairs, verify
from cnncli.run.session import Session
from cnncli.tasks.base import BaseTask
from cnncli.tasks.verify_face import FaceOptions, Judge

POINTS = ((3.0, 3.0), (6.0, 3.0), (4.0, 5.0), (3.0, 7.0), (6.0, 7.0))
RED, ORANGE, BLUE, BLACK = (200, 0, 0), (200, 100, 0), (0, 0, 200), (0, 0, 0)


class Colours(BaseTask):
    """A face for each half of a photo that is not black; both count. `seen`: the colours that were looked at."""

    name = "verify-face"

    def __init__(self, options: FaceOptions | None = None):
        self.judge, self.options = Judge("cosine", 0.2), options or FaceOptions()
        self.result_key, self.columns = "verified", ("verified",)
        self.seen: list[tuple[int, ...]] = []
        self.mirrors = bool(self.options.mirror)

    def analyse(self, image: np.ndarray) -> Iterator:
        self.seen.append(tuple(image[0, 0]))
        if image.shape[0] == 13:
            raise ZeroDivisionError("unlucky")
        colours = dict.fromkeys(tuple(int(v) for v in image[0, column]) for column in (0, -1))
        embeddings = [np.array(colour, np.float32) for colour in colours if any(colour)]
        faces = tuple(Face(0.9, (2.0, 2.0, 6.0, 7.0), POINTS, embedding) for embedding in embeddings)
        return PhotoFaces(faces, faces)
        yield


def session(task: Colours | None = None, weights: str = "0" * 64) -> Session:
    run = Run("verify-face", "colours", weights, "numpy", "cpu", "digest", "verified")
    return Session(task or Colours(), {}, run, "fp32")


def paint(path: Path, left: tuple, right: tuple | None = None, height: int = 10) -> Path:
    pixels = np.empty((height, 12, 3), np.uint8)
    pixels[:, :6], pixels[:, 6:] = left, right or left
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in {"red": RED, "orange": ORANGE, "blue": BLUE, "nobody": BLACK}.items():
        paint(tmp_path / f"{name}.png", colour)
    paint(tmp_path / "both.png", BLUE, ORANGE)
    (tmp_path / "broken.png").write_bytes(b"junk")
    return tmp_path


def check(folder: Path, *pairs: tuple[str, str], task: Colours | None = None, **options) -> list[Record]:
    listed = [Pair(str(folder / one), str(folder / other)) for one, other in pairs]
    config = RunConfig(**options)
    return [record for record, _ in verify(session(task), pair_items(listed, config.shard), config, len(listed))]


def test_compares_by_the_distance(folder: Path) -> None:
    """Cosines: red and orange 2 / √5, red and blue 0."""
    near, far = check(folder, ("red.png", "orange.png"), ("red.png", "blue.png"))
    assert (near.result["verified"], near.result["distance"]) == (True, pytest.approx(1 - 2 / math.sqrt(5), abs=1e-6))
    assert (far.result["verified"], far.result["distance"]) == (False, 1)
    assert (near.file, near.extra["file2"]) == (str(folder / "red.png"), str(folder / "orange.png"))
    assert (near.width, near.height, near.index, far.index) == (12, 10, 0, 1)
    assert near.result["threshold"] == 0.2
    areas = near.result["facial_areas"]
    assert areas["img1"] == areas["img2"]
    assert areas["img1"]["nose"] == [4, 5]
    assert [areas["img1"][key] for key in "xywh"] == [2, 2, 6, 7]


def test_order_does_not_matter(folder: Path) -> None:
    names = ["red.png", "orange.png", "blue.png", "both.png"]
    for one in names:
        for other in names:
            first, second = check(folder, (one, other), (other, one))
            assert first.result["distance"] == second.result["distance"]
            assert first.result["verified"] == second.result["verified"]


def test_the_nearest_faces_of_two_photos_count(folder: Path) -> None:
    (record,) = check(folder, ("red.png", "both.png"))
    assert record.result["distance"] == pytest.approx(1 - 2 / math.sqrt(5), abs=1e-6)


def test_the_same_photo_is_the_same_person(folder: Path) -> None:
    (record,) = check(folder, ("red.png", "red.png"))
    assert (record.result["verified"], record.result["distance"]) == (True, 0)


def test_looks_at_each_photo_once(folder: Path) -> None:
    task = Colours()
    names = ["red.png", "orange.png", "blue.png"]
    check(folder, *[(one, other) for one in names for other in names], task=task)
    assert len(task.seen) == 3


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 64, "workers": 1}, {"workers": 4}])
def test_answers_come_in_order_however_they_are_made(folder: Path, options: dict) -> None:
    names = ["red.png", "orange.png", "blue.png", "both.png", "nobody.png", "gone.png"]
    pairs = [(one, other) for one in names for other in names]
    records = check(folder, *pairs, **options)
    assert [record.index for record in records] == list(range(36))
    assert [record.as_dict() for record in records] == [record.as_dict() for record in check(folder, *pairs)]


def test_shards_share_the_pairs(folder: Path) -> None:
    pairs = [("red.png", "orange.png"), ("red.png", "blue.png"), ("blue.png", "both.png")]
    parts = [check(folder, *pairs, shard=Shard(number, 2)) for number in (0, 1)]
    assert [[record.index for record in part] for part in parts] == [[0, 2], [1]]
    assert [record.extra["shard"] for record in parts[0]] == ["0/2"] * 2
    assert {record.extra["inputs"] for part in parts for record in part} == {3}
    whole = check(folder, *pairs)
    assert [parts[0][0].result, parts[1][0].result, parts[0][1].result] == [record.result for record in whole]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("red.png", "gone.png"), "gone.png: no such file"),
        (("gone.png", "red.png"), "gone.png: no such file"),
        (("red.png", "broken.png"), "broken.png: "),
        (("red.png", "nobody.png"), "nobody.png: no face found"),
        (("nobody.png", "red.png"), "nobody.png: no face found"),
        (("nobody.png", "gone.png"), "nobody.png: no face found"),
        (("red.png", "."), ": is a folder"),
    ],
)
def test_failures_name_the_photo(folder: Path, pair: tuple[str, str], words: str) -> None:
    failed, fine = check(folder, pair, ("red.png", "red.png"))
    assert not failed.ok
    assert words in failed.failure
    assert failed.as_dict()["verified"] is None
    assert fine.ok


def test_bugs_keep_their_traceback(folder: Path) -> None:
    paint(folder / "unlucky.png", RED, height=13)
    listed = [Pair(str(folder / "red.png"), str(folder / "unlucky.png"))]
    ((record, outcome),) = verify(session(), pair_items(listed), RunConfig())
    assert "internal error (ZeroDivisionError" in record.failure
    assert "raise ZeroDivisionError" in outcome.bug


def test_times_are_those_of_both_photos(folder: Path) -> None:
    items = pair_items([Pair(str(folder / "red.png"), str(folder / "blue.png"))])
    ((record, _),) = verify(session(), items, RunConfig(), timings=True)
    assert set(record.extra["ms"]) == {"decode", "prepare", "infer", "interpret"}
    assert record.extra["ms"]["decode"] > 0


def test_no_pairs_are_no_records() -> None:
    assert list(verify(session(), [], RunConfig())) == []


def test_sources_are_the_photos() -> None:
    sources = PairSources([Pair("a/x.png", "b/y.png"), Pair("-", "a/x.png")])
    assert [source.file for source in sources] == ["a/x.png", "b/y.png"]


def listed(path: Path, content: bytes, folder: Path | None = None) -> list[Pair]:
    path.write_bytes(content)
    return read_pairs(path, folder)


@pytest.mark.parametrize(
    "content",
    [
        b"a.png,b.png\nc.png,d.png\n",
        b"a.png,b.png\r\nc.png,d.png\r\n",
        b"a.png,b.png\nc.png,d.png",
        b"img1,img2\na.png,b.png\nc.png,d.png\n",
        b"\xef\xbb\xbfimg1,img2\r\na.png,b.png\r\nc.png,d.png\r\n",
        b"\xef\xbb\xbfa.png,b.png\nc.png,d.png\n",
        b"IMG1 , IMG2\na.png,b.png\nc.png,d.png\n",
        b"id,file1,file2\n7,a.png,b.png\n8,c.png,d.png\n",
        b'"a.png","b.png"\n"c.png", "d.png"\n',
        b"a.png, b.png\n c.png ,d.png \n",
        b"\n\na.png,b.png\n\n , \nc.png,d.png\n\n",
        b"a.png,b.png,0.2,note\nc.png,d.png,0.4\n",
        b"file,file2,index\na.png,b.png,0\nc.png,d.png,1\n",
    ],
)
def test_reads_pairs_of_many_files(tmp_path: Path, content: bytes) -> None:
    expected = [
        Pair(str(tmp_path / one), str(tmp_path / other)) for one, other in (("a.png", "b.png"), ("c.png", "d.png"))
    ]
    assert listed(tmp_path / "pairs.csv", content) == expected


def test_reads_what_is_the_same(tmp_path: Path) -> None:
    text = b"same,img2,img1\n1,b,a\n0,d,c\nTrue,f,e\nno,h,g\n"
    pairs = listed(tmp_path / "pairs.csv", text)
    assert [pair.same for pair in pairs] == [True, False, True, False]
    assert [Path(pair.first).name for pair in pairs] == ["a", "c", "e", "g"]


def test_reads_names_of_all_kinds(tmp_path: Path) -> None:
    content = b'"a,b.png","say ""hi"".png"\n-x.png," two words .jpg"\nb\xff.png,/abs/c.png\n-,@list\n'
    names = [(pair.first, pair.second) for pair in listed(tmp_path / "pairs.csv", content)]
    assert names[0] == (f"{tmp_path}/a,b.png", f'{tmp_path}/say "hi".png')
    assert names[1] == (f"{tmp_path}/-x.png", f"{tmp_path}/ two words .jpg")
    assert names[2] == (f"{tmp_path}/b\udcff.png", "/abs/c.png")
    assert names[3] == (f"{tmp_path}/-", f"{tmp_path}/@list")


def test_looks_in_the_folder_that_is_named(tmp_path: Path) -> None:
    assert listed(tmp_path / "pairs.csv", b"a,b\nc,d\n", Path("photos")) == [Pair("photos/c", "photos/d")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no pairs"),
        (b"\n\n", "has no pairs"),
        (b"img1,img2,same\n", "has no pairs"),
        (b"a.png\n", "line 1 has no two names"),
        (b"img1,img2\na.png,b.png\n\nc.png\n", "line 4 has no two names"),
        (b"a.png,\n", "line 1 has no two names"),
        (b",b.png\n", "line 1 has no two names"),
        (b"a.png;b.png\n", "line 1 has no two names"),
        (b"img1,img2,same\na,b,perhaps\n", "line 2 says 'perhaps' in the column 'same'"),
        (b"img1,img2,same\na,b\n", "line 2 says '' in the column 'same'"),
        (b'a,"' + b"x" * 200_000 + b'"\n', "can't be read (field larger"),
    ],
)
def test_explains_a_wrong_file(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UsageError) as error:
        listed(tmp_path / "pairs.csv", content)
    assert words in str(error.value)
    assert str(tmp_path / "pairs.csv") in str(error.value)
    assert len(str(error.value)) < 400


def test_explains_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pairs\.csv: can't be read \(No such file"):
        read_pairs(tmp_path / "pairs.csv", None)
    with pytest.raises(UsageError, match="Is a directory"):
        read_pairs(tmp_path, None)
