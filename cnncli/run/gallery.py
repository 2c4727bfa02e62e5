"""A gallery of known people: a folder per person, or a file per person, embedded once and kept.

What is kept is known by content: files may be moved, copied, renamed or touched, and are not looked at again.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cnncli.config import RunConfig, Shard
from cnncli.errors import UsageError
from cnncli.io.atomic import write_atomically
from cnncli.io.images import reason
from cnncli.io.sources import Input, SourceOptions, Sources
from cnncli.io.store import cache_folder
from cnncli.results.record import Record
from cnncli.results.verify_face import Candidate, PhotoFaces, Recognition
from cnncli.run.items import Item, load_file
from cnncli.run.pairs import NO_FACE, has_faces
from cnncli.run.pipeline import Outcome
from cnncli.run.runner import run_items
from cnncli.run.session import Session
from cnncli.tasks.verify_face import FaceFinder

FORMAT = 2  # of the cache; a file of another is made anew
LAYOUT = "a folder with a subfolder of photos for each person, or with one photo for each"
LONG_FROM = 50  # new photos: looking at them takes seconds, so it is said
Notify = Callable[[str], None]
Stamp = tuple[int, int, int]  # size in bytes, times in ns of the last change of content and of anything


@dataclass(frozen=True)
class Known:
    """What was seen of a gallery: each file's stamp and SHA-256, and each content's embeddings (faces, F) by SHA-256.

    A content without a face has no rows. What could not be read is not known: the next run tries again.
    """

    files: Mapping[str, tuple[Stamp, str]]
    faces: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Gallery:
    """Embeddings (N, F) float32, and for each the file that it is of."""

    folder: Path
    files: tuple[str, ...]
    embeddings: np.ndarray

    def identity(self, file: str) -> str:
        """Who a file shows: the folder that it is in, or its own name where it lies at the top."""
        path = Path(os.path.relpath(file, self.folder))
        return path.parent.as_posix() if path.parent != Path(".") else path.stem

    def search(self, task: FaceFinder, found: PhotoFaces, count: int) -> Recognition:
        """The `count` people nearest to the photo's face (of several faces: to that which is nearest to anyone)."""
        best = min(found.chosen, key=lambda face: float(task.judge.distances(face, self.embeddings).min()))
        distances = task.judge.distances(best, self.embeddings)
        matches: dict[str, Candidate] = {}
        for row in np.argsort(distances, kind="stable"):
            name = self.identity(self.files[row])
            if name not in matches:
                distance = float(distances[row])
                matches[name] = Candidate(name, self.files[row], distance, distance <= task.judge.threshold)
            if len(matches) == count:
                break
        return Recognition(tuple(matches.values()), best, task.judge.threshold, task.judge.metric)


def open_gallery(folder: Path, session: Session, config: RunConfig, notify: Notify, all_files: bool = False) -> Gallery:
    """The gallery of a folder; only content that is new is looked at. UsageError where no face is in it."""
    if not folder.is_dir():
        raise UsageError(f"--gallery {folder}: no such folder; expected {LAYOUT}")
    sources = Sources([str(folder)], SourceOptions(recursive=True, all_files=all_files))
    names = {os.path.relpath(source.file, folder): source.file for source in sources}
    store = _Store(folder, session)
    known = store.read(notify)
    hashed, failures = _hashed(names, known)
    faces = {sha256: known.faces[sha256] for _, sha256 in hashed.values() if sha256 in known.faces}
    fresh = {sha256: names[name] for name, (_, sha256) in hashed.items() if sha256 not in faces}
    if len(fresh) >= LONG_FROM:
        notify(f"{folder}: {len(fresh)} photos are new in this gallery and are looked at; the next run knows them")
    unread: dict[str, str] = {}
    try:
        for sha256, outcome in zip(fresh, _outcomes(session, fresh.values(), config), strict=True):
            if outcome.failure:
                unread[sha256] = outcome.failure
            else:
                faces[sha256] = np.array([face.embedding for face in outcome.result.chosen], np.float32)
    finally:  # an interrupted run has seen some
        if (hashed, faces.keys()) != (known.files, known.faces.keys()):
            store.write(Known(hashed, faces), notify)
    failures |= {name: unread[sha256] for name, (_, sha256) in hashed.items() if sha256 in unread}
    return _gallery(folder, names, hashed, faces, failures, notify)


def _gallery(
    folder: Path,
    names: Mapping[str, str],
    hashed: Mapping[str, tuple[Stamp, str]],
    faces: Mapping[str, np.ndarray],
    failures: Mapping[str, str],
    notify: Notify,
) -> Gallery:
    """What can be compared; what can't is said."""
    files: list[str] = []
    rows: list[np.ndarray] = []
    for name, file in names.items():
        found = [] if name in failures else faces[hashed[name][1]]
        if not len(found):
            notify(f"{file}: left out of the gallery, {failures.get(name, NO_FACE)}")
        files += [file] * len(found)
        rows += list(found)
    if not rows:
        raise UsageError(f"--gallery {folder}: no face was found in its {len(names)} photo(s); expected {LAYOUT}")
    return Gallery(folder, tuple(files), np.stack(rows))


def _hashed(names: Mapping[str, str], known: Known) -> tuple[dict[str, tuple[Stamp, str]], dict[str, str]]:
    """Stamp and SHA-256 of each file, read only where its stamp has changed; and why some could not be read."""
    hashed: dict[str, tuple[Stamp, str]] = {}
    failures = {}
    for name, file in names.items():
        try:
            status = os.stat(file)
            stamp = status.st_size, status.st_mtime_ns, status.st_ctime_ns
            before = known.files.get(name)
            hashed[name] = before if before and before[0] == stamp else (stamp, _sha256(file))
        except OSError as error:
            failures[name] = reason(error)
    return hashed, failures


def recognise(
    session: Session, gallery: Gallery, outcomes: Iterator[tuple[Record, Outcome]]
) -> Iterator[tuple[Record, Outcome]]:
    """Records of photos, with the people that they are like; a photo without a face is a failed one."""
    for record, outcome in outcomes:
        if record.ok and not record.extra.get("skipped"):
            if has_faces(outcome.result):
                result = gallery.search(session.task, outcome.result, session.task.options.top_k)
                record = replace(record, result=result.as_dict())
                outcome = replace(outcome, result=result)
            else:
                record = replace(record, failure=NO_FACE, result=None)
                outcome = replace(outcome, failure=NO_FACE, result=None)
        yield record, outcome


def _outcomes(session: Session, files: Iterable[str], config: RunConfig) -> Iterator[Outcome]:
    decode = session.task.decode
    items = (
        Item(index, Input(file, ""), partial(load_file, file, decode, config.max_pixels))
        for index, file in enumerate(files)
    )
    return (outcome for _, outcome in run_items(session, items, replace(config, shard=Shard())))


def _sha256(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class _Store:
    """The cache of a gallery: a file in the user's cache folder, named after folder, models and options.

    The SHA-256 of the rest, the length of a JSON text, the text (files, and how many faces each content has), the
    embeddings as .npy.
    """

    def __init__(self, folder: Path, session: Session):
        options = session.task.options
        run = session.run
        parts = [os.path.realpath(folder), run.weights_sha256, *(sha256 for _, sha256 in run.further.values())]
        key = json.dumps([FORMAT, *parts, options.least_score, options.which, session.task.mirrors, session.precision])
        self.path = cache_folder() / "faces" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.bin"

    def read(self, notify: Notify) -> Known:
        """What is known; nothing where the file is missing or damaged, which is said."""
        try:
            return _unpacked(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            notify(f"{self.path}: the gallery's cache can't be read ({error.strerror})")
        except (ValueError, KeyError, TypeError, EOFError):
            notify(f"{self.path}: the gallery's cache is damaged and is made anew")
        return Known({}, {})

    def write(self, known: Known, notify: Notify) -> None:
        """Keep what is known; a cache that can't be written costs time, nothing else."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(self.path) as file:
                file.write(_packed(known))
        except OSError as error:
            notify(f"{self.path}: the gallery's cache can't be written ({error.strerror})")


def _packed(known: Known) -> bytes:
    counts = {sha256: len(rows) for sha256, rows in known.faces.items()}
    text = json.dumps([dict(known.files), counts]).encode()
    rows = [row for rows in known.faces.values() for row in rows]
    array = io.BytesIO()
    np.save(array, np.stack(rows) if rows else np.zeros((0, 1), np.float32), allow_pickle=False)
    body = len(text).to_bytes(8, "little") + text + array.getvalue()
    return hashlib.sha256(body).digest() + body


def _unpacked(content: bytes) -> Known:
    body = content[32:]
    if hashlib.sha256(body).digest() != content[:32]:
        raise ValueError("wrong checksum")
    length = int.from_bytes(body[:8], "little")
    files, counts = json.loads(body[8 : 8 + length])
    rows = np.load(io.BytesIO(body[8 + length :]), allow_pickle=False)
    parts = np.split(rows, np.cumsum(list(counts.values()), dtype=int))  # and what is left, which is nothing
    known = {name: ((stamp[0], stamp[1], stamp[2]), sha256) for name, (stamp, sha256) in files.items()}
    return Known(known, dict(zip(counts, parts, strict=False)))
