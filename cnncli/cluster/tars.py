"""Tar shards of pictures, as WebDataset makes them: their pictures are found by headers and read by position."""

import os
import tarfile
from collections.abc import Iterator

from cnncli.errors import InputError
from cnncli.io.images import reason
from cnncli.io.sources import IMAGE_SUFFIXES

SUFFIX = ".tar"


def pictures_in(path: str) -> Iterator[tuple[str, int, int]]:
    """Name, position and length in bytes of every picture (by its ending) in an uncompressed tar file, in its order.

    InputError at the first header that is damaged or missing. Memory does not grow with the number of members.
    """
    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header
                if member.isreg() and _is_picture(member.name):
                    yield member.name, member.offset_data, member.size
            end = archive.offset
        with open(path, "rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:  # the reader takes damage for the end
                raise InputError(f"damaged from byte {end} on")
    except OSError as error:
        raise InputError(reason(error)) from error
    except tarfile.TarError as error:
        raise InputError(f"damaged, or no uncompressed tar file ({error})") from error


def _is_picture(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.removeprefix("./").split("/"))
    return not hidden and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
