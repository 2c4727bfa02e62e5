"""A gallery of known people, with a task for which a photo's colour is the embedding of the face in it."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnncli.config import RunConfig, Shard
from cnncli.errors import InterruptedRunError, UsageError
from cnncli.io.images import Photo
from cnncli.io.store import cache_folder
from cnncli.results.record import Record
from cnncli.run.gallery import Gallery, open_gallery, recognise
from cnncli.run.items import items_of_files
from cnncli.run.runner import run_items
from cnncli.tasks.verify_face import FaceOptions
from tests.run.test_pairs import BLACK, BLUE, ORANGE, RED, Colours, paint, session

PEOPLE = {"ann/1.png": RED, "ann/2.png": ORANGE, "ben/1.png": BLUE, "cy.png": (0, 200, 0)}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for name, colour in PEOPLE.items():
        paint(tmp_path / "people" / name, colour)
    return tmp_path / "people"


class Opened:
    """A gallery, what it said, and how many photos it looked at."""

    def __init__(self, folder: Path, options: FaceOptions | None = None, weights: str = "0" * 64, **more):
        self.task, self.said = Colours(options), []
        self.gallery = open_gallery(folder, session(self.task, weights), RunConfig(**more), self.said.append)
        self.looked = len(self.task.seen)

    @property
    def faces(self) -> dict[str, list[tuple[int, ...]]]:
        """The colours of each file, by its path in the gallery."""
        found: dict[str, list[tuple[int, ...]]] = {}
        for file, embedding in zip(self.gallery.files, self.gallery.embeddings, strict=True):
            found.setdefault(os.path.relpath(file, self.gallery.folder), []).append(tuple(map(int, embedding)))
        return found


def cache_files() -> list[Path]:
    return list((cache_folder() / "faces").glob("*.bin"))


def search(gallery: Gallery, *files: Path, **options) -> list[Record]:
    run = session(Colours(FaceOptions(**options)))
    outcomes = run_items(run, items_of_files(map(str, files), RunConfig()), RunConfig())
    return [record for record, _ in recognise(run, gallery, outcomes)]


def test_knows_everyone(people: Path) -> None:
    opened = Opened(people)
    assert opened.faces == {name: [colour] for name, colour in PEOPLE.items()}
    assert (opened.looked, opened.said) == (4, [])


def test_ranks_people_by_their_nearest_photo(people: Path, tmp_path: Path) -> None:
    """Cosines of (200, 90, 0) with red, orange, green and blue, by hand."""
    probe = paint(tmp_path / "probe.png", (200, 90, 0))
    length = math.hypot(200, 90)
    (record,) = search(Opened(people).gallery, probe)
    matches = record.result["matches"]
    assert [entry["identity"] for entry in matches] == ["ann", "cy", "ben"]
    assert [Path(entry["file"]).relative_to(people).as_posix() for entry in matches] == [
        "ann/2.png",
        "cy.png",
        "ben/1.png",
    ]
    expected = [1 - (200 * 200 + 100 * 90) / (length * math.hypot(200, 100)), 1 - 90 / length, 1]
    assert [entry["distance"] for entry in matches] == pytest.approx(expected, abs=1e-6)
    assert [entry["verified"] for entry in matches] == [True, False, False]
    assert record.result["threshold"] == 0.2
    assert record.result["facial_area"]["nose"] == [4, 5]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_gives_at_most_what_is_asked(people: Path, count: int) -> None:
    (record,) = search(Opened(people).gallery, people / "cy.png", top_k=count)
    assert len(record.result["matches"]) == min(count, 3)
    assert (record.result["matches"][0]["identity"], record.result["matches"][0]["distance"]) == ("cy", 0)


def test_of_several_faces_the_one_that_is_nearest_to_anyone_counts(people: Path, tmp_path: Path) -> None:
    probe = paint(tmp_path / "two.png", (90, 90, 90), (0, 1, 200))
    (record,) = search(Opened(people).gallery, probe)
    assert record.result["matches"][0]["identity"] == "ben"


def test_photos_without_a_match_fail_alone(people: Path, tmp_path: Path) -> None:
    nobody = paint(tmp_path / "nobody.png", BLACK)
    records = search(Opened(people).gallery, nobody, tmp_path / "gone.png", people / "cy.png")
    assert [record.failure for record in records] == ["no face found in it; see --conf", "no such file", None]


def test_folders_in_folders_are_people_too(people: Path) -> None:
    paint(people / "staff" / "dora" / "1.png", (9, 9, 9))
    gallery = Opened(people).gallery
    assert {gallery.identity(file) for file in gallery.files} == {"ann", "ben", "cy", "staff/dora"}


def test_a_second_run_looks_at_nothing(people: Path) -> None:
    first, second = Opened(people), Opened(people)
    assert (first.looked, second.looked) == (4, 0)
    assert second.faces == first.faces
    np.testing.assert_array_equal(first.gallery.embeddings, second.gallery.embeddings)
    assert len(cache_files()) == 1


def test_a_second_run_reads_no_photo(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Opened(people)
    (content, times) = (cache_files()[0].read_bytes(), cache_files()[0].stat().st_mtime_ns)
    monkeypatch.setattr("cnncli.run.gallery._sha256", lambda file: pytest.fail(f"{file} was read"))
    Opened(people)
    assert (cache_files()[0].read_bytes(), cache_files()[0].stat().st_mtime_ns) == (content, times)


def changed(people: Path) -> None:
    paint(people / "cy.png", (0, 200, 200))


def changed_unseen(people: Path) -> None:
    """As large and as old as before."""
    before = os.stat(people / "cy.png")
    content = (people / "cy.png").read_bytes()
    paint(people / "cy.png", (0, 201, 0))
    size = os.path.getsize(people / "cy.png")
    assert size == len(content)
    os.utime(people / "cy.png", ns=(before.st_atime_ns, before.st_mtime_ns))


def moved(people: Path) -> None:
    (people / "cy.png").rename(people / "ben" / "2.png")


def swapped(people: Path) -> None:
    (people / "cy.png").rename(people / "x.png")
    (people / "ann" / "1.png").rename(people / "cy.png")
    (people / "x.png").rename(people / "ann" / "1.png")


def deleted(people: Path) -> None:
    shutil.rmtree(people / "ann")


def added(people: Path) -> None:
    paint(people / "dora.png", (1, 2, 3))


def copied(people: Path) -> None:
    shutil.copy(people / "cy.png", people / "dora.png")


def linked(people: Path) -> None:
    (people / "dora.png").symlink_to(people / "cy.png")


def touched(people: Path) -> None:
    os.utime(people / "cy.png", (1, 1))


CHANGES: dict[Callable, tuple[int, dict]] = {  # how many photos are looked at, and which files show what then
    changed: (1, {**PEOPLE, "cy.png": (0, 200, 200)}),
    changed_unseen: (1, {**PEOPLE, "cy.png": (0, 201, 0)}),
    moved: (0, {**{k: v for k, v in PEOPLE.items() if k != "cy.png"}, "ben/2.png": PEOPLE["cy.png"]}),
    swapped: (0, {**PEOPLE, "cy.png": RED, "ann/1.png": PEOPLE["cy.png"]}),
    deleted: (0, {"ben/1.png": BLUE, "cy.png": PEOPLE["cy.png"]}),
    added: (1, {**PEOPLE, "dora.png": (1, 2, 3)}),
    copied: (0, {**PEOPLE, "dora.png": PEOPLE["cy.png"]}),
    linked: (0, {**PEOPLE, "dora.png": PEOPLE["cy.png"]}),
    touched: (0, PEOPLE),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_only_new_content_is_looked_at(people: Path, change: Callable) -> None:
    Opened(people)
    change(people)
    looked, expected = CHANGES[change]
    opened = Opened(people)
    assert opened.faces == {name: [colour] for name, colour in expected.items()}
    assert opened.looked == looked
    assert Opened(people).looked == 0


def test_equal_photos_are_looked_at_once(people: Path) -> None:
    for number in range(5):
        shutil.copy(people / "cy.png", people / f"twin{number}.png")
    opened = Opened(people)
    assert (opened.looked, len(opened.gallery.files)) == (4, 9)


def test_a_folder_has_one_cache_whatever_it_is_called(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Opened(people)
    monkeypatch.chdir(people.parent)
    (people.parent / "alias").symlink_to(people)
    for name in ("people", "./people/", "people/../people", "alias"):
        opened = Opened(Path(name))
        assert opened.looked == 0
        assert len(opened.gallery.files) == 4
    monkeypatch.chdir(people)
    assert Opened(Path(".")).looked == 0


@pytest.mark.parametrize(
    "other", [{"weights": "1" * 64}, {"options": FaceOptions(conf=0.7)}, {"options": FaceOptions(which="all")}]
)
def test_other_models_and_options_have_their_own(people: Path, other: dict) -> None:
    Opened(people)
    assert Opened(people, **other).looked == 4
    assert Opened(people).looked == Opened(people, **other).looked == 0


def test_thresholds_share_one(people: Path) -> None:
    Opened(people)
    assert Opened(people, options=FaceOptions(threshold=0.1, metric="cosine", top_k=1)).looked == 0


def empty(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[:-5]


def flipped(content: bytes) -> bytes:
    return content[:90] + bytes([content[90] ^ 1]) + content[91:]


def junk(content: bytes) -> bytes:
    return b"\x93NUMPY" * 30


@pytest.mark.parametrize("damage", [empty, cut, flipped, junk], ids=lambda damage: damage.__name__)
def test_a_damaged_cache_is_noticed_and_made_anew(people: Path, damage: Callable[[bytes], bytes]) -> None:
    expected = Opened(people).faces
    (path,) = cache_files()
    path.write_bytes(damage(path.read_bytes()))
    opened = Opened(people)
    assert opened.said == [f"{path}: the gallery's cache is damaged and is made anew"]
    assert (opened.looked, opened.faces) == (4, expected)
    again = Opened(people)
    assert (again.looked, again.said) == (0, [])


def test_a_cache_that_cannot_be_written_is_said(people: Path) -> None:
    cache_folder().mkdir(parents=True, exist_ok=True)
    (cache_folder() / "faces").write_text("in the way")
    for _ in range(2):
        opened = Opened(people)
        assert opened.looked == 4
        (said,) = opened.said
        assert "the gallery's cache can't be written (" in said


def test_a_cache_that_cannot_be_read_is_said(people: Path) -> None:
    Opened(people)
    (path,) = cache_files()
    path.unlink()
    path.mkdir()
    opened = Opened(people)
    assert opened.looked == 4
    assert "the gallery's cache can't be read (Is a directory)" in opened.said[0]


def test_what_shows_no_face_is_said_each_time_and_looked_at_once(people: Path) -> None:
    nobody = paint(people / "nobody.png", BLACK)
    for looked in (5, 0):
        opened = Opened(people)
        assert opened.looked == looked
        assert opened.said == [f"{nobody}: left out of the gallery, no face found in it; see --conf"]
        assert len(opened.gallery.files) == 4


def test_broken_files_are_said_and_tried_again(people: Path) -> None:
    (people / "ann" / "broken.png").write_bytes(b"junk")
    (people / "ann" / "nothing.png").symlink_to(people / "gone.png")
    (people / "ann" / "loop.png").symlink_to(people / "ann" / "loop.png")
    paint(people / "unlucky.png", RED, height=13)
    for _ in range(2):
        opened = Opened(people)
        first, second, third = opened.said
        assert first.startswith(f"{people}/ann/broken.png: left out of the gallery, ")
        assert second == f"{people}/ann/nothing.png: left out of the gallery, no such file"
        assert "unlucky.png: left out of the gallery, internal error (ZeroDivisionError" in third
        assert len(opened.gallery.files) == 4
    paint(people / "gone.png", (7, 7, 7))
    assert Opened(people).faces["ann/nothing.png"] == [(7, 7, 7)]


def test_what_was_too_large_is_not_forever(people: Path) -> None:
    with pytest.raises(UsageError, match="no face was found"):
        Opened(people, max_pixels=100)
    assert len(Opened(people).gallery.files) == 4


def test_names_of_all_kinds(people: Path) -> None:
    for name in (b"b\xff.png", b"new\nline.png", b"-x.png", "Zoë.png".encode()):
        shutil.copy(people / "cy.png", os.fsencode(people) + b"/" + name)
    opened = Opened(people)
    assert len(opened.gallery.files) == 8
    assert {"b\udcff", "new\nline", "-x", "Zoë"} < {opened.gallery.identity(file) for file in opened.gallery.files}
    assert Opened(people).looked == 0


def test_all_faces_of_a_photo_can_be_known(people: Path) -> None:
    paint(people / "two.png", RED, BLUE)
    for _ in range(2):
        opened = Opened(people, options=FaceOptions(which="all"))
        assert opened.faces["two.png"] == [RED, BLUE]


def test_a_shard_knows_everyone(people: Path) -> None:
    assert len(Opened(people, shard=Shard(1, 2)).gallery.files) == 4


@pytest.mark.parametrize("content", [None, "nothing", "text", "nobody"])
def test_explains_a_gallery_without_people(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "people"
    if content is not None:
        folder.mkdir()
    if content == "text":
        (folder / "notes.txt").write_text("x")
    if content == "nobody":
        paint(folder / "nobody.png", BLACK)
    words = {None: "no such folder", "nobody": r"no face was found in its 1 photo\(s\)"}.get(content, "no images in")
    with pytest.raises(UsageError, match=words):
        Opened(folder)


def test_takes_files_by_content_where_asked(people: Path) -> None:
    shutil.copy(people / "cy.png", people / "dora")
    task = Colours()
    gallery = open_gallery(people, session(task), RunConfig(), lambda text: None, all_files=True)
    assert len(gallery.files) == 5


def test_says_that_it_takes_time(people: Path) -> None:
    for number in range(60):
        paint(people / f"{number}.png", (number + 1, 3, 1))
    assert Opened(people).said == [
        f"{people}: 64 photos are new in this gallery and are looked at; the next run knows them"
    ]
    assert Opened(people).said == []


def test_an_interrupted_run_keeps_what_it_saw(people: Path) -> None:
    class Interrupted(Colours):
        def decode(self, content: bytes, max_pixels: int) -> Photo:
            if len(self.seen) == 2:
                raise InterruptedRunError("interrupted", 130)
            return Colours.decode(content, max_pixels)

    with pytest.raises(InterruptedRunError):
        open_gallery(people, session(Interrupted()), RunConfig(workers=1), lambda text: None)
    assert Opened(people).looked < 4
    assert Opened(people).looked == 0
