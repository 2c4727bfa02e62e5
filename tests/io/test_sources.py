"""Words on the command line become inputs: all of them, once each, in an order that never changes."""

import glob
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnncli.errors import UsageError
from cnncli.io import sources
from cnncli.io.sources import STDIN, Input, SourceOptions, Sources, is_image_head, looks_like_image
from tests.io.pictures import encoded, photo


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make empty files, their folders too, in the working folder, which is empty."""
    monkeypatch.chdir(tmp_path)

    def touch(*names: str) -> None:
        for name in names:
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            Path(name).touch()

    return touch


def found(*words: str, **options) -> list[str]:
    return [source.file for source in Sources(words, SourceOptions(**options))]


def anchors(*words: str, **options) -> set[str]:
    return {source.anchor for source in Sources(words, SourceOptions(**options))}


def test_yields_files_in_the_order_named(make) -> None:
    make("b.jpg", "a.jpg")
    assert found("b.jpg", "a.jpg", "b.jpg") == ["b.jpg", "a.jpg", "b.jpg"]


def test_yields_a_missing_file(make) -> None:
    assert found("none.jpg", "none/a.png", "") == ["none.jpg", "none/a.png", ""]


def test_yields_a_named_file_of_any_ending(make) -> None:
    make("a.txt", "b", "film.mp4")
    assert found("a.txt", "b", "film.mp4") == ["a.txt", "b", "film.mp4"]


def test_lists_a_folder_by_name(make) -> None:
    make("d/b.jpg", "d/a.PNG", "d/B.jpg", "d/c.txt", "d/film.mp4", "d/.hidden.jpg", "d/.cache/x.jpg", "d/sub/e.jpg")
    assert found("d") == ["d/B.jpg", "d/a.PNG", "d/b.jpg"]


def test_searches_subfolders_in_the_order_of_names(make) -> None:
    make("d/a/1.jpg", "d/b.jpg", "d/c/2.jpg", "d/c/.git/3.jpg", "d/a/z/4.jpg", "d/a.jpg")
    expected = ["d/a/1.jpg", "d/a/z/4.jpg", "d/a.jpg", "d/b.jpg", "d/c/2.jpg"]
    assert found("d", recursive=True) == expected


def test_keeps_the_form_of_the_folder_s_name(make) -> None:
    make("d/a.jpg", "b.jpg")
    assert found("d/") == ["d/a.jpg"]
    assert found(".") == ["./b.jpg"]
    assert found(os.path.abspath("d")) == [os.path.abspath("d/a.jpg")]


def test_follows_links_but_no_loops(make) -> None:
    make("d/a.jpg", "elsewhere/b.jpg")
    os.symlink("../elsewhere", "d/link")
    os.symlink("../d", "d/loop")
    os.symlink(".", "d/self")
    assert found("d", recursive=True) == ["d/a.jpg", "d/link/b.jpg"]


def test_ends_with_loops_that_multiply(make) -> None:
    make("d/a.jpg", "d/e/b.jpg")
    for name in "xyz":
        os.symlink("..", f"d/e/{name}")
        os.symlink(".", f"d/{name}")
    assert found("d", recursive=True) == ["d/a.jpg", "d/e/b.jpg"]
    assert found("d/**/*.jpg") == ["d/a.jpg", "d/e/b.jpg"]


def test_yields_links_to_files_and_to_nothing(make) -> None:
    make("real/a.jpg", "d/b.jpg")
    os.symlink("../real/a.jpg", "d/link.jpg")
    os.symlink("../real/gone.jpg", "d/nothing.jpg")
    os.symlink("self.jpg", "d/self.jpg")
    assert found("d") == ["d/b.jpg", "d/link.jpg", "d/nothing.jpg"]


def test_skips_folders_pipes_and_sockets_named_like_pictures(make) -> None:
    make("d/a.jpg", "d/folder.jpg/b.jpg")
    os.mkfifo("d/pipe.jpg")
    assert found("d") == ["d/a.jpg"]
    assert found("d", recursive=True) == ["d/a.jpg", "d/folder.jpg/b.jpg"]


@pytest.fixture
def deep(make) -> Iterator[str]:
    """A folder deeper than Python's limit of recursion, removed by a program that can."""
    folder = "d"
    for _ in range(5):
        folder = os.path.join(folder, *["x"] * 300)
        os.makedirs(folder)
    yield folder
    subprocess.run(["rm", "-rf", "d"], check=True)


def test_reaches_the_deepest_folder(deep: str, make) -> None:
    make("d/a.jpg")
    Path(deep, "b.jpg").touch()
    assert found("d", recursive=True) == ["d/a.jpg", f"{deep}/b.jpg"]
    assert found("d/**/b.jpg") == [f"{deep}/b.jpg"]


def test_yields_a_subfolder_that_can_t_be_read(make, monkeypatch) -> None:
    """Its record says why: the rest of the run must not be lost for it."""
    make("d/a.jpg", "d/closed/b.jpg", "d/e/c.jpg")
    scandir = os.scandir

    def guarded(folder: str):
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(sources.os, "scandir", guarded)
    assert found("d", recursive=True) == ["d/a.jpg", "d/closed", "d/e/c.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_yields_a_closed_folder(make) -> None:
    make("d/closed/b.jpg")
    os.chmod("d/closed", 0o000)
    assert found("d", recursive=True) == ["d/closed"]


def test_finds_pictures_by_content(make) -> None:
    for image_format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO", "PCX", "SGI"):
        make(f"d/{image_format}")
        Path(f"d/{image_format}").write_bytes(encoded(photo(), image_format))
    for name, content in {"a.jpg": b"text", "b.txt": b"", "c.zip": b"PK\3\4", "d.mp4": b"\0\0\0\x20ftypisom"}.items():
        Path("d", name).write_bytes(content)
    pictures = ["AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "SGI", "TIFF", "WEBP"]
    assert found("d", all_files=True) == [f"d/{name}" for name in pictures]


def test_takes_an_unreadable_file_for_a_picture(tmp_path: Path) -> None:
    assert looks_like_image(str(tmp_path / "none"))


@pytest.mark.parametrize("head", [b"", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x20ftypmp42", b"#!/bin/sh", b"\x89PN"])
def test_tells_other_files_from_pictures(head: bytes) -> None:
    assert not is_image_head(head)


def test_knows_videos_by_their_ending() -> None:
    assert Input("a/FILM.MP4", "a").is_video and Input("x.webm", "").is_video
    assert not Input("a.mp4/b.jpg", "a").is_video and not Input("a.gif", "").is_video


def test_expands_patterns(make) -> None:
    make("d/b.jpg", "d/a.jpg", "d/c.png", "d/.h.jpg", "e/a.jpg", "d/sub/x.jpg")
    assert found("d/*.jpg") == ["d/a.jpg", "d/b.jpg"]
    assert found("?/a.*") == ["d/a.jpg", "e/a.jpg"]
    assert found("d/[bc].*") == ["d/b.jpg", "d/c.png"]
    assert found("d/[!b].jpg") == ["d/a.jpg"]
    assert found(os.path.abspath("d/*.png")) == [os.path.abspath("d/c.png")]


def test_expands_double_stars(make) -> None:
    make("a.jpg", "d/b.jpg", "d/e/f/c.jpg", "d/e/x.txt", "d/.git/h.jpg", "g/e/i.jpg", "h/[x]/k.png")
    assert found("h/**/*.png") == ["h/[x]/k.png"]
    everything = ["a.jpg", "d/b.jpg", "d/e/f/c.jpg", "g/e/i.jpg"]
    assert found("**/*.jpg") == everything
    assert found("./**/*.jpg") == [f"./{name}" for name in everything]
    assert found("d/**/*.jpg") == ["d/b.jpg", "d/e/f/c.jpg"]
    assert found("**/e/**/*.jpg") == ["d/e/f/c.jpg", "g/e/i.jpg"]
    assert found("d/**") == ["d/b.jpg", "d/e/f/c.jpg", "d/e/x.txt"]
    assert found("[dg]/**/?.jpg") == ["d/b.jpg", "d/e/f/c.jpg", "g/e/i.jpg"]


@pytest.mark.parametrize(
    "pattern",
    ["*.jpg", "**/*.jpg", "d/**", "**", "d/*/?.txt", "**/e/**/*", "**/*", "*/[a-e].*", "d/**/f/*", "./**/?.*"],
)
def test_matches_pythons_glob(pattern: str, make) -> None:
    make("a.jpg", "d/b.jpg", "d/e/f/c.jpg", "d/e/x.txt", "d/.git/h.jpg", ".h/j.jpg", "g/e/i.jpg", "d/e/cat/y")
    expected = {path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
    assert found(pattern) == sorted(expected)


def test_searches_folders_that_match(make) -> None:
    make("photos/cats/b.jpg", "photos/dogs/a.jpg", "photos/notes.txt")
    assert found("photos/*s") == ["photos/cats/b.jpg", "photos/dogs/a.jpg"]


@pytest.mark.parametrize("name", ["[a].jpg", "a*.jpg", "what?.jpg", "@list.txt", "@a", "-x.jpg", "a\nb.jpg", "a b.jpg"])
def test_prefers_an_existing_file(name: str, make) -> None:
    make(name, "a.jpg")
    assert found(name) == [name]


def test_prefers_an_existing_folder_in_a_pattern(make) -> None:
    make("trip [2020]/b.jpg", "trip [2020]/a.jpg", "trip 2/c.jpg", "x*/**/d.jpg")
    assert found("trip [2020]") == ["trip [2020]/a.jpg", "trip [2020]/b.jpg"]
    assert found("trip [2020]/*.jpg") == ["trip [2020]/a.jpg", "trip [2020]/b.jpg"]
    assert found("trip [23]/*.jpg") == ["trip 2/c.jpg"]


def test_finds_names_that_are_not_utf_8(make) -> None:
    make("d/é.jpg")
    Path(os.fsdecode(b"d/caf\xe9.jpg")).touch()
    names = [b"d/caf\xe9.jpg", "d/é.jpg".encode()]
    assert [os.fsencode(name) for name in found("d")] == names
    assert [os.fsencode(name) for name in found("d/*")] == names
    Path("list").write_bytes(b"\n".join(names))
    assert [os.fsencode(name) for name in found("@list")] == names


@pytest.mark.parametrize(
    "content",
    [
        b"b.jpg\na b.jpg\nnone.jpg\n",
        b"b.jpg\r\na b.jpg\r\nnone.jpg",
        b"\n\nb.jpg\n\n\na b.jpg\r\n\r\nnone.jpg\n\n",
        b"\xef\xbb\xbfb.jpg\r\na b.jpg\r\nnone.jpg\r\n",
    ],
    ids=["unix", "windows", "blank lines", "byte order mark"],
)
def test_reads_a_list(content: bytes, make) -> None:
    make("b.jpg", "a b.jpg")
    Path("list.txt").write_bytes(content)
    assert found("@list.txt") == ["b.jpg", "a b.jpg", "none.jpg"]


def test_takes_the_names_of_a_list_as_they_are(make) -> None:
    make("*.jpg", "a.jpg", "d/1.jpg", "-", "@list")
    names = ["*.jpg", "@list", "[x].jpg", "-dash.jpg", " a.jpg", "-"]
    Path("names").write_text("\n".join(names))
    assert found("@names") == [*names[:-1], "./-"]


def test_takes_a_file_called_dash_for_a_file(make) -> None:
    make("-")
    assert found("?") == found("./-") == ["./-"]
    assert not any(source.is_stdin for source in Sources(["*", "./-"]))


def test_searches_folders_of_a_list(make) -> None:
    make("d/b.jpg", "d/a.jpg", "d/e/c.jpg")
    Path("list").write_text("d\nx.jpg\n")
    assert found("@list") == ["d/a.jpg", "d/b.jpg", "x.jpg"]
    assert found("@list", recursive=True) == ["d/a.jpg", "d/b.jpg", "d/e/c.jpg", "x.jpg"]


def test_reads_a_list_with_nul(make) -> None:
    Path("list").write_bytes(b"a\nb.jpg\0c.jpg\0\0d.jpg")
    assert found("@list", null_separated=True) == ["a\nb.jpg", "c.jpg", "d.jpg"]


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> io.BufferedReader:
    stream = io.BufferedReader(io.BytesIO(content))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    return stream


@pytest.mark.parametrize(
    ("content", "null_separated"), [(b"a.jpg\nb.jpg\nc.jpg\n", False), (b"a.jpg\0b.jpg\0c.jpg", True)]
)
def test_reads_a_list_on_standard_input(content: bytes, null_separated: bool, make, monkeypatch) -> None:
    give(monkeypatch, content)
    listed = Sources(["@-"], SourceOptions(null_separated=null_separated))
    assert listed.is_stream
    assert [source.file for source in listed] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [source.file for source in listed] == ["a.jpg", "b.jpg", "c.jpg"], "a second time"


def test_loses_no_name_to_whoever_looks_ahead(make, monkeypatch) -> None:
    give(monkeypatch, b"".join(b"%d.jpg\n" % number for number in range(20_000)))
    listed = Sources(["@-"])
    ahead = iter(listed)
    assert [next(ahead).file, next(ahead).file] == ["0.jpg", "1.jpg"]
    assert [source.file for source in listed] == [f"{number}.jpg" for number in range(20_000)]
    assert sum(1 for _ in ahead) == 19_998


def test_yields_names_as_they_arrive(make, monkeypatch) -> None:
    inside, outside = os.pipe()
    stream = os.fdopen(inside)
    monkeypatch.setattr(sys, "stdin", stream)
    names = iter(Sources(["@-"]))
    os.write(outside, b"a.jpg\nb.j")
    assert next(names).file == "a.jpg"
    os.write(outside, b"pg\n")
    assert next(names).file == "b.jpg"
    os.close(outside)
    assert next(names, None) is None
    stream.close()


def test_says_that_standard_input_is_closed(make, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="@-: standard input is closed"):
        found("@-")


def test_takes_standard_input_for_a_picture() -> None:
    (source,) = Sources([STDIN])
    assert source.is_stdin and not source.is_video


@pytest.mark.parametrize("separator", [b"\n", b"\0"])
def test_refuses_what_is_no_list(separator: bytes, make) -> None:
    other = {b"\n": b"\0", b"\0": b"\n"}[separator]
    Path("list").write_bytes(b"a.jpg" + separator + (b"name.jpg" + other) * 100_000)
    hint = {b"\n": "end in NUL; add -0", b"\0": "over 65,536 bytes long; try it without -0"}[separator]
    with pytest.raises(UsageError, match=f"@list: .*{hint}"):
        found("@list", null_separated=separator == b"\0")


@pytest.mark.parametrize(
    ("word", "options", "message"),
    [
        ("empty", {}, "empty: no images in this folder .*--all-files.*-r"),
        ("empty", {"recursive": True}, "empty: no images in this folder .*--all-files looks inside.$"),
        ("none/*.jpg", {}, "none/..jpg: no file matches this pattern"),
        ("empty/**/*.jpg", {}, "no file matches this pattern"),
        ("@blank", {}, "@blank: the list names no file"),
        ("@none", {}, "@none: the list can't be read .No such file or directory."),
        ("@empty", {}, "@empty: the list can't be read .Is a directory."),
        ("out", {"avoid": ("out",)}, "out: is the output folder, which is never an input"),
    ],
)
def test_says_that_nothing_is_there(word: str, options: dict, message: str, make) -> None:
    make("empty/notes.txt", "a.jpg", "out/a.jpg")
    Path("blank").write_bytes(b"\n\r\n\n")
    with pytest.raises(UsageError, match=message):
        found(word, **options)


def test_refuses_a_list_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="read once only; pipe the list into @-"):
        list(Sources([f"@{tmp_path / 'pipe'}"]))


def test_yields_what_comes_before_an_empty_folder(make) -> None:
    make("a.jpg", "empty/x.txt")
    inputs = iter(Sources(["a.jpg", "empty"]))
    assert next(inputs).file == "a.jpg"
    with pytest.raises(UsageError):
        next(inputs)


def test_leaves_out_the_output_folder(make) -> None:
    make("d/a.jpg", "d/out/a.jpg", "d/out/sub/b.jpg", "d/outside.jpg", "d/out2/c.jpg")
    expected = ["d/a.jpg", "d/out2/c.jpg", "d/outside.jpg"]
    assert sorted(found("d", recursive=True, avoid=("d/out",))) == expected
    assert sorted(found("d/**/*.jpg", avoid=(os.path.abspath("d/out"),))) == expected
    assert sorted(found("**/*.jpg", avoid=("d/out",))) == expected
    os.symlink("d/out", "link")
    assert sorted(found("d", recursive=True, avoid=("link",))) == expected


def test_takes_inputs_below_the_output_folder(make) -> None:
    """`--out-dir .` is no reason to find nothing in ./photos."""
    make("photos/a.jpg", "photos/b/c.jpg")
    assert found("photos", recursive=True, avoid=(".",)) == ["photos/a.jpg", "photos/b/c.jpg"]
    assert found("photos/*.jpg", avoid=(".",)) == ["photos/a.jpg"]


def test_takes_a_named_file_in_the_output_folder(make) -> None:
    make("out/a.jpg")
    assert found("out/a.jpg", avoid=("out",)) == ["out/a.jpg"]


def test_minds_no_output_folder_that_is_still_to_be_made(make) -> None:
    make("d/a.jpg")
    assert found("d", avoid=("d/out",)) == ["d/a.jpg"]


def test_states_what_a_mirror_starts_from(make) -> None:
    make("d/a.jpg", "d/e/b.jpg", "trip [2020]/c.jpg")
    Path("list").write_text("d/e/b.jpg\nd\n")
    assert anchors("d", recursive=True) == {"d"}
    assert anchors("d/e/b.jpg") == {"d/e"}
    assert anchors("d/**/*.jpg") == anchors("d/*.jpg") == {"d"}
    assert anchors("*/*.jpg") == {""}
    assert anchors("trip [2020]/*.jpg") == {"trip [2020]"}
    assert anchors("@list") == {"d/e", "d"}


def test_iterates_as_often_as_needed(make) -> None:
    make("d/a.jpg", "d/b.jpg")
    inputs = Sources(["d", "d/*.jpg", "x.png"])
    assert list(inputs) == list(inputs) and len(list(inputs)) == 5


def test_knows_whether_standard_input_holds_something() -> None:
    command = [sys.executable, "-c", "from cnncli.io.sources import stdin_is_input; print(stdin_is_input())"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).stdout.strip() == b"False"
    assert subprocess.run(command, input=b"", capture_output=True).stdout.strip() == b"True"
    with open(__file__) as file:
        assert subprocess.run(command, stdin=file, capture_output=True).stdout.strip() == b"True"
    closed = f"{sys.executable} -c '{command[2]}' <&-"
    assert subprocess.run(closed, shell=True, capture_output=True).stdout.strip() == b"False"


def test_imports_nothing_heavy() -> None:
    code = "import sys, cnncli.io.sources; print({'numpy', 'cv2', 'PIL', 'torch', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout.strip() == b"set()"
