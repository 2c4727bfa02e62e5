"""From the words on the command line to a stream of inputs, in an order that never changes.

Paths travel as `str` with surrogate escapes, so names that are not UTF-8 survive to the records and back.
Nothing is kept: a folder of a million files is walked, not listed.
"""

import glob
import itertools
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cnncli.errors import UsageError

IMAGE_SUFFIXES = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".ico",
    ".icns", ".psd", ".pcx", ".dds", ".sgi", ".qoi",
])  # fmt: skip
VIDEO_SUFFIXES = frozenset([
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts",
])  # fmt: skip
STDIN = "-"
GLOB_CHARACTERS = frozenset("*?[")
LONGEST_NAME = 1 << 16  # bytes, many times what systems allow
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # Windows' editors begin a text with it
Identities = frozenset[tuple[int, int]]  # of folders: device and inode

# First bytes of picture files, for --all-files; RIFF and ISO boxes are looked into further below.
MAGIC = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"8BPS", b"qoif", b"DDS ",
    b"icns", b"\0\0\1\0", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"\x01\xda", b"\x0a\x05\x01",
    b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF",
)  # fmt: skip
HEAD = 32  # bytes, enough to know one
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
        return os.path.splitext(self.file)[1].lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class SourceOptions:
    """How words become inputs; `avoid` are output folders, never inputs even inside the input tree."""

    recursive: bool = False
    all_files: bool = False
    null_separated: bool = False
    avoid: tuple[str, ...] = ()


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
        self._stdin_names: list[str] = []  # of a list on standard input, those that have arrived
        self._stdin_rest: Iterator[str] | None = None

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
            yield from self._walk(word, word)
        elif os.path.lexists(word):
            yield Input(word, os.path.dirname(word))
        elif word.startswith("@") and len(word) > 1:
            yield from self._listed(word[1:])
        elif GLOB_CHARACTERS & set(word):
            yield from self._matching(word)
        else:
            yield Input(word, os.path.dirname(word))

    def _matching(self, pattern: str) -> Iterator[Input]:
        anchor = _folder_above(pattern)
        avoided = self._outputs_in(anchor)
        pattern = glob.escape(anchor) + pattern[len(anchor) :]
        for path in sorted(set(_glob(pattern)), key=os.fsencode):
            if os.path.isdir(path):
                if "**" not in pattern:  # `**` names the files below by itself
                    yield from self._walk(path, anchor)
            elif not _is_in_any(path, avoided):
                yield _named(path, anchor)

    def _listed(self, name: str) -> Iterator[Input]:
        for path in self._lines(name):
            if os.path.isdir(path):
                yield from self._walk(path, path)
            else:
                yield _named(path, os.path.dirname(path))

    def _lines(self, name: str) -> Iterator[str]:
        separator = b"\0" if self.options.null_separated else b"\n"
        try:
            if name == STDIN:
                yield from self._lines_of_stdin(separator)
                return
            if stat.S_ISFIFO(os.stat(name).st_mode):
                raise UsageError(f"@{name}: a pipe can be read once only; pipe the list into @-")
            with open(name, "rb") as file:
                yield from _split(file, separator, name)
        except OSError as error:
            raise UsageError(f"@{name}: the list can't be read ({error.strerror})") from error

    def _lines_of_stdin(self, separator: bytes) -> Iterator[str]:
        """The list as it arrives; kept, because standard input can be read only once, by whoever comes first."""
        if self._stdin_rest is None:
            if sys.stdin is None:
                raise UsageError("@-: standard input is closed")
            self._stdin_rest = _split(sys.stdin.buffer, separator, STDIN)
        for position in itertools.count():
            if position == len(self._stdin_names):
                name = next(self._stdin_rest, None)
                if name is None:
                    return
                self._stdin_names.append(name)
            yield self._stdin_names[position]

    def _walk(self, top: str, anchor: str) -> Iterator[Input]:
        """Files of a folder in the order of their names; hidden ones and loops of links are left out.

        A folder that can't be read is an input: its record says so.
        """
        avoided = self._outputs_in(anchor)
        waiting = [self._entries(top, anchor, avoided, frozenset())]  # a stack: no folder is too deep
        while waiting:
            step = next(waiting[-1], None)
            if step is None:
                waiting.pop()
            elif isinstance(step, Input):
                yield step
            else:
                waiting.append(step)

    def _entries(self, folder: str, anchor: str, avoided: list[str], above: Identities) -> Iterator["Input | Iterator"]:
        """A folder's files, and for each subfolder to search its own entries."""
        if _is_in_any(folder, avoided):
            return
        try:
            identity = _identity(folder)
            if identity in above:
                return
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError:
            yield Input(folder, anchor)
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                if self.options.recursive:
                    yield self._entries(entry.path, anchor, avoided, above | {identity})
            elif self._wanted(entry):
                yield Input(entry.path, anchor)

    def _wanted(self, entry: os.DirEntry) -> bool:
        if not self.options.all_files:
            return os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and _is_file(entry)
        return _is_file(entry) and looks_like_image(entry.path)

    def _outputs_in(self, folder: str) -> list[str]:
        """The output folders that are the searched folder or inside of it: what lies there is no input."""
        return [path for path in self.options.avoid if os.path.isdir(path) and _is_inside(path, folder or ".")]

    def _nothing_in(self, word: str) -> str:
        if os.path.isdir(word):
            if _is_in_any(word, self._outputs_in(word)):
                return f"{word}: is the output folder, which is never an input; choose another one"
            hint = "" if self.options.recursive else ", or add -r to search its subfolders"
            return f"{word}: no images in this folder (by their endings; --all-files looks inside{hint})"
        if word.startswith("@"):
            return f"{word}: the list names no file"
        return f"{word}: no file matches this pattern"


def _named(path: str, anchor: str) -> Input:
    """A file that a pattern or list names: one called "-" is a file, not standard input."""
    return Input(os.path.join(".", path) if path == STDIN else path, anchor)


def _folder_above(pattern: str) -> str:
    """The folder that a pattern starts from: the deepest that exists by that name, or has no special characters."""
    folder = os.path.dirname(pattern)
    while GLOB_CHARACTERS & set(folder) and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _glob(pattern: str) -> Iterator[str]:
    """As glob.iglob, but `**` does not follow loops of links, which would take forever."""
    head, star, tail = _split_at_double_star(pattern)
    if not star:
        yield from glob.iglob(pattern)
        return
    for top in glob.iglob(head) if head else [""]:
        for folder in _folders_below(top):
            yield from _glob(os.path.join(glob.escape(folder), tail or "*"))


def _split_at_double_star(pattern: str) -> tuple[str, str, str]:
    parts = pattern.split(os.sep)
    if "**" not in parts:
        return pattern, "", ""
    place = parts.index("**")
    return os.sep.join([*parts[:place], ""]), "**", os.sep.join(parts[place + 1 :])


def _folders_below(top: str) -> Iterator[str]:
    """A folder and all below it; hidden ones and loops of links are left out."""
    waiting: list[tuple[str, Identities]] = [(top, frozenset())]
    while waiting:
        folder, above = waiting.pop()
        try:
            identity = _identity(folder or ".")
            if identity in above:
                continue
            with os.scandir(folder or ".") as listing:
                names = [entry.name for entry in listing if _is_folder(entry) and not entry.name.startswith(".")]
        except OSError:
            continue
        yield folder
        waiting += [(os.path.join(folder, name), above | {identity}) for name in names]


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_in_any(path: str, folders: list[str]) -> bool:
    return any(_is_inside(path, folder) for folder in folders)


def _is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    return real == root or real.startswith(os.path.join(root, ""))


def _split(file: BinaryIO, separator: bytes, name: str) -> Iterator[str]:
    """Names in a list, one at a time, as they arrive."""
    rest, mark = b"", BYTE_ORDER_MARK
    while chunk := file.read1(1 << 16):
        *names, rest = (rest + chunk).removeprefix(mark).split(separator)
        mark = b""
        if separator == b"\n" and b"\0" in chunk:
            raise UsageError(f"@{name}: the names in this list end in NUL; add -0")
        yield from _decoded(names, separator)
        if len(rest) > LONGEST_NAME:
            hint = "try it without -0" if separator == b"\0" else "-0 takes names that end in NUL"
            raise UsageError(f"@{name}: a name in this list is over {LONGEST_NAME:,} bytes long; {hint}")
    yield from _decoded([rest], separator)


def _decoded(names: Iterable[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        if separator == b"\n":
            name = name.rstrip(b"\r")
        if name:
            yield os.fsdecode(name)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry) -> bool:
    """Whether a record is due: a link to nothing has one, a link to itself is left out."""
    try:
        return entry.is_file() or (entry.is_symlink() and _leads_nowhere(entry))
    except OSError:
        return False


def _leads_nowhere(entry: os.DirEntry) -> bool:
    try:
        entry.stat()
    except FileNotFoundError:
        return True
    return False


def looks_like_image(path: str) -> bool:
    """Whether a file's first bytes are those of a picture; unreadable files are, so that a record tells why not."""
    try:
        with open(path, "rb") as file:
            return is_image_head(file.read(HEAD))
    except OSError:
        return True


def is_image_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes should be a picture."""
    if head.startswith(MAGIC):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    return head[4:8] == b"ftyp" and head[8:12] in ISO_BRANDS
