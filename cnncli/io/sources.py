"""From the words on the command line to a stream of inputs, in an order that never changes.

Paths travel as `str` with surrogate escapes, so names that are not UTF-8 survive to the records and back.
Nothing is kept: a folder of a million files is walked, not listed.
"""

import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cnncli.errors import UsageError

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".heic",
        ".heif",
        ".jp2",
        ".j2k",
        ".jpx",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pfm",
        ".tga",
        ".ico",
        ".icns",
        ".psd",
        ".pcx",
        ".dds",
        ".sgi",
        ".qoi",
    ]
)
VIDEO_SUFFIXES = frozenset(
    [".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts"]
)
STDIN = "-"
GLOB_CHARACTERS = frozenset("*?[")

# First bytes of picture files, for --all-files; RIFF and ISO boxes are looked into further below.
MAGIC = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"8BPS", b"qoif", b"DDS ",
    b"icns", b"\0\0\1\0", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"\x01\xda", b"\x0a\x05\x01",
    b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF",
)  # fmt: skip
ISO_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"hevc")


@dataclass(frozen=True)
class Input:
    """One place to read from: a file, standard input, or a video whose frames become one input each."""

    file: str
    anchor: str  # the folder that --out-dir mirrors from: the named folder, or the parent of a named file

    @property
    def is_stdin(self) -> bool:
        return self.file == STDIN

    @property
    def is_video(self) -> bool:
        return Path(self.file).suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class SourceOptions:
    """How words become inputs; `avoid` is the output folder, never an input even inside the input tree."""

    recursive: bool = False
    all_files: bool = False
    null_separated: bool = False
    avoid: str | None = None


def stdin_is_input() -> bool:
    """Whether standard input is a pipe, a file or a socket: something to read, neither terminal nor /dev/null."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


class Sources:
    """The inputs that a list of words stands for; iterate as often as needed.

    UsageError where a folder, pattern or list yields nothing. A named file that is missing is an input all the
    same: its record says so. Lists on standard input are read once and kept.
    """

    def __init__(self, words: Iterable[str], options: SourceOptions = SourceOptions()):
        self.words = tuple(words)
        self.options = options
        self._stdin_list: list[str] | None = None

    def __iter__(self) -> Iterator[Input]:
        for word in self.words:
            found = False
            for found_input in self._expand(word):
                found = True
                yield found_input
            if not found:
                raise UsageError(self._nothing_in(word))

    @property
    def is_stream(self) -> bool:
        """Whether a list arrives on standard input, so that its end can't be known ahead."""
        return "@-" in self.words

    def _expand(self, word: str) -> Iterator[Input]:
        if word == STDIN:
            yield Input(STDIN, "")
        elif os.path.isdir(word):
            yield from self._walk(word, word, ())
        elif os.path.lexists(word):
            yield Input(word, os.path.dirname(word))
        elif word.startswith("@") and len(word) > 1:
            yield from self._listed(word[1:])
        elif GLOB_CHARACTERS & set(word):
            yield from self._matching(word)
        else:
            yield Input(word, os.path.dirname(word))

    def _matching(self, pattern: str) -> Iterator[Input]:
        fixed = pattern
        while GLOB_CHARACTERS & set(fixed):
            fixed = os.path.dirname(fixed)
        for path in sorted(glob.iglob(pattern, recursive=True), key=os.fsencode):
            if os.path.isdir(path):
                if "**" not in pattern:  # `**` names the files below by itself
                    yield from self._walk(path, fixed, ())
            elif not self._avoided(path):
                yield Input(path, fixed)

    def _listed(self, name: str) -> Iterator[Input]:
        for path in self._lines(name):
            if os.path.isdir(path):
                yield from self._walk(path, path, ())
            else:
                yield Input(path, os.path.dirname(path))

    def _lines(self, name: str) -> Iterator[str]:
        separator = b"\0" if self.options.null_separated else b"\n"
        if name == STDIN:
            yield from self._lines_of_stdin(separator)
            return
        try:
            with open(name, "rb") as file:
                yield from _split(file, separator)
        except OSError as error:
            raise UsageError(f"@{name}: the list can't be read ({error.strerror})") from error

    def _lines_of_stdin(self, separator: bytes) -> Iterator[str]:
        """The list as it arrives; kept, because standard input can be read only once."""
        if self._stdin_list is not None:
            yield from self._stdin_list
            return
        arrived = []
        for name in _split(sys.stdin.buffer, separator):
            arrived.append(name)
            yield name
        self._stdin_list = arrived

    def _walk(self, folder: str, anchor: str, above: tuple[tuple[int, int], ...]) -> Iterator[Input]:
        """Files of a folder in the order of their names; hidden ones and loops of links are left out."""
        if self._avoided(folder):
            return
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise UsageError(f"{folder}: the folder can't be read ({error.strerror})") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                if self.options.recursive:
                    yield from self._walk(entry.path, anchor, (*above, identity))
            elif self._wanted(entry):
                yield Input(entry.path, anchor)

    def _wanted(self, entry: os.DirEntry) -> bool:
        if not self.options.all_files:
            return os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and _is_file(entry)
        return _is_file(entry) and looks_like_image(entry.path)

    def _avoided(self, path: str) -> bool:
        avoid = self.options.avoid
        if avoid is None or not os.path.isdir(avoid):
            return False
        real, root = os.path.realpath(path), os.path.realpath(avoid)
        return real == root or real.startswith(root + os.sep)

    def _nothing_in(self, word: str) -> str:
        if os.path.isdir(word):
            hint = "" if self.options.recursive else ", or add -r to search its subfolders"
            return f"{word}: no images in this folder (by their endings; --all-files looks inside{hint})"
        if word.startswith("@"):
            return f"{word}: the list names no file"
        return f"{word}: no file matches this pattern"


def _split(file: BinaryIO, separator: bytes) -> Iterator[str]:
    """Names in a list, one at a time, as they arrive."""
    if separator == b"\n":
        names: Iterable[bytes] = (line.rstrip(b"\r\n") for line in file)
    else:
        names = _separated(file, separator)
    return (os.fsdecode(name) for name in names if name)


def _separated(file: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := file.read1(1 << 16):
        *names, rest = (rest + chunk).split(separator)
        yield from names
    yield rest


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def looks_like_image(path: str) -> bool:
    """Whether a file's first bytes are those of a picture; unreadable files are, so that a record tells why not."""
    try:
        with open(path, "rb") as file:
            head = file.read(32)
    except OSError:
        return True
    if head.startswith(MAGIC):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    return head[4:8] == b"ftyp" and head[8:12] in ISO_BRANDS
