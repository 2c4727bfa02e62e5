"""The only code that opens a connection out of the machine: fetches one file, checked, whole or not at all."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cnncli.errors import OutputError, WeightsError

MIRROR_VARIABLE = "CNNCLI_MIRROR"  # a base URL with the same file names, for networks that reach no other
TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20


@contextmanager
def downloaded(url: str, sha256_prefix: str, expected_bytes: int | None, folder: Path) -> Iterator[Path]:
    """The file behind `url`, in a temporary folder inside `folder` that is gone when the block ends.

    WeightsError where it can't be fetched, is cut short, or has another size or SHA-256 than expected
    (`expected_bytes` is compared to one per cent: publishers round it). OutputError where it can't be stored.
    """
    if mirror := os.environ.get(MIRROR_VARIABLE):
        url = f"{mirror.rstrip('/')}/{url.rsplit('/', 1)[-1]}"
    most = None if expected_bytes is None else expected_bytes + expected_bytes // 100
    with _temporary_folder(folder) as temporary:
        path = temporary / "download"
        digest, size = _fetch(url, path, most)
        if expected_bytes is not None and abs(size - expected_bytes) > expected_bytes / 100:
            raise WeightsError(f"{url}: {size:,} bytes, expected about {expected_bytes:,}; nothing was kept")
        if not digest.startswith(sha256_prefix):
            raise WeightsError(f"{url}: SHA-256 {digest[:16]}… is not {sha256_prefix}…; nothing was kept")
        yield path


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(prefix=".cnncli-pull-", dir=folder)
    except OSError as error:
        raise OutputError(f"{folder}: can't be written ({error.strerror})") from error
    with temporary as name:
        yield Path(name)


def _fetch(url: str, path: Path, most: int | None) -> tuple[str, int]:
    """SHA-256 and size of what was stored; no more is fetched than can be right."""
    digest = hashlib.sha256()
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, open(path, "wb") as file:
            stated = answer.headers.get("Content-Length", "")
            while chunk := answer.read(CHUNK):
                received += len(chunk)
                if most is not None and received > most:
                    raise WeightsError(f"{url}: more than the expected {most:,} bytes; nothing was kept")
                file.write(chunk)
                digest.update(chunk)
    except urllib.error.HTTPError as error:
        error.close()
        raise WeightsError(f"{url}: can't be fetched ({error.code} {error.reason}); nothing was kept") from error
    except urllib.error.URLError as error:
        raise WeightsError(f"{url}: can't be fetched ({error.reason}); nothing was kept") from error
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(f"{url}: the download broke off ({error!r}); nothing was kept") from error
    except ValueError as error:  # no URL at all
        raise WeightsError(f"{url}: can't be fetched ({error}); see {MIRROR_VARIABLE}") from error
    if stated.isdecimal() and received < int(stated):
        raise WeightsError(f"{url}: cut short after {received:,} of {stated} bytes; nothing was kept")
    return digest.hexdigest(), received
