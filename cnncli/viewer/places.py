"""Where the files that records name lie now, and how a page names them."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from cnncli.viewer.records import Recorded


def locate(name: str, recorded: Recorded, photos: Path | None) -> str:
    """The path of a file that a record names.

    It is looked for in `photos`, with all of its folders or the last ones, or none; and, where it is relative, in the
    working folder and in the folder of the records file. Where it is nowhere its own name is answered, for reading it
    to say so.
    """
    return next((place for place in _places(name, recorded, photos) if _exists(place)), name)


def _places(name: str, recorded: Recorded, photos: Path | None) -> Iterator[str]:
    if photos is not None:
        parts = [part for part in name.split(os.sep) if part not in ("", os.curdir, os.pardir)]
        yield from (os.path.join(photos, *parts[start:]) for start in range(len(parts)))
    yield name
    if recorded.folder is not None:
        yield os.path.join(recorded.folder, name)


def _exists(place: str) -> bool:
    try:
        return os.path.exists(place)
    except ValueError:  # a NUL in the name
        return False


def relative_url(path: str, page: Path) -> str | None:
    """The URL of a file for a page that lies at `page`: its bytes percent-encoded, never read as another scheme.

    None for what can't be the name of a file.
    """
    try:
        relative = os.path.relpath(path, os.path.dirname(os.path.abspath(page)))
    except ValueError:  # another drive of Windows
        return Path(os.path.abspath(path)).as_uri()
    try:
        return quote(os.fsencode("./" + relative.replace(os.sep, "/")))
    except UnicodeEncodeError:  # a surrogate that escapes no byte
        return None
