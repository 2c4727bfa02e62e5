"""A gallery of known people: a folder per person, or a file per person, embedded once and kept."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.config import RunConfig
from cnncli.errors import UsageError
from cnncli.io.atomic import write_atomically
from cnncli.io.images import read_file
from cnncli.io.sources import Input, SourceOptions, Sources
from cnncli.io.store import cache_folder
from cnncli.results import Candidate, PhotoFaces, Recognition, Record
from cnncli.run.items import Item
from cnncli.run.pairs import NO_FACE, has_faces
from cnncli.run.pipeline import Outcome
from cnncli.run.runner import run_items
from cnncli.run.session import Session
from cnncli.tasks.verify_face import FaceFinder

FORMAT = 1  # of the cache; a file of another is made anew
LAYOUT = "a folder with a subfolder of photos for each person, or with one photo for each"


@dataclass(frozen=True)
class Entry:
    """What is known of a file: its size and time when it was hashed, its SHA-256, and where its embeddings are.

    `rows` are those of the gallery's embeddings, none where no face was found or the file could not be read; then
    `failure` says why.
    """

    size: int
    time: int  # ns
    sha256: str
    rows: tuple[int, ...]
    failure: str | None = None


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


def open_gallery(folder: Path, session: Session, config: RunConfig, notify: Callable[[str], None]) -> Gallery:
    """The gallery of a folder; only files that are new or changed are looked at. UsageError where it has no face."""
    if not folder.is_dir():
        raise UsageError(f"--gallery {folder}: no such folder; expected {LAYOUT}")
    files = [source.file for source in Sources([str(folder)], SourceOptions(recursive=True))]
    store = _Store(folder, session)
    known, rows = store.read(notify)
    entries, fresh = _recognised(files, known)
    for file, faces, failure in _looked_at(session, list(fresh), config):
        first = len(rows)
        rows += [face.embedding for face in faces]
        entries[file] = replace(fresh[file], rows=tuple(range(first, len(rows))), failure=failure)
    for file in files:
        if entries[file].failure:
            notify(f"{file}: left out of the gallery, {entries[file].failure}")
    if entries != known:
        store.write(*_compact(entries, rows), notify)
    places = [(file, row) for file in files for row in entries[file].rows]
    if not places:
        raise UsageError(f"--gallery {folder}: no face was found in its {len(files)} photos; expected {LAYOUT}")
    return Gallery(folder, tuple(file for file, _ in places), np.stack([rows[row] for _, row in places]))


def _recognised(files: list[str], known: dict[str, Entry]) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The files whose content is known, by size and time or by hash, and those that have to be looked at."""
    entries, fresh = {}, {}
    by_hash = {entry.sha256: entry for entry in known.values()}
    for file in files:
        status = os.stat(file)
        entry = known.get(file)
        if entry is None or (entry.size, entry.time) != (status.st_size, status.st_mtime_ns):
            sha256 = _sha256(file)
            same = by_hash.get(sha256)  # moved, copied or touched
            new = Entry(status.st_size, status.st_mtime_ns, sha256, ())
            if same is None:
                fresh[file] = new
                continue
            entry = replace(new, rows=same.rows, failure=same.failure)
        entries[file] = entry
    return entries, fresh


def _compact(entries: dict[str, Entry], rows: list[np.ndarray]) -> tuple[dict[str, Entry], np.ndarray]:
    """Entries and embeddings without those of files that are gone."""
    kept: list[np.ndarray] = []
    renumbered = {}
    for file, entry in entries.items():
        first = len(kept)
        kept += [rows[row] for row in entry.rows]
        renumbered[file] = replace(entry, rows=tuple(range(first, len(kept))))
    return renumbered, np.array(kept, np.float32).reshape(len(kept), -1) if kept else np.zeros((0, 1), np.float32)


def recognise(
    session: Session, gallery: Gallery, outcomes: Iterator[tuple[Record, Outcome]], count: int
) -> Iterator[tuple[Record, Outcome]]:
    """Records of photos, with the people that they are like; a photo without a face is a failed one."""
    for record, outcome in outcomes:
        if record.ok and not record.extra.get("skipped"):
            if has_faces(outcome.result):
                result = gallery.search(session.task, outcome.result, count)
                record = replace(record, result=result.as_dict())
                outcome = replace(outcome, result=result)
            else:
                record = replace(record, failure=NO_FACE, result=None)
                outcome = replace(outcome, failure=NO_FACE, result=None)
        yield record, outcome


def _looked_at(session: Session, files: list[str], config: RunConfig) -> Iterator[tuple[str, Any, str | None]]:
    """Each file with the faces that count in it, or why there are none."""
    decode = session.task.decode
    plain = replace(config, shard=type(config.shard)())
    items = (
        Item(index, Input(file, ""), lambda file=file: decode(read_file(file, config.max_pixels), config.max_pixels))
        for index, file in enumerate(files)
    )
    for record, outcome in run_items(session, items, plain):
        faces = outcome.result.chosen if outcome.result else ()
        yield record.file, faces, outcome.failure or (None if faces else NO_FACE)


def _sha256(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class _Store:
    """The cache of a gallery: a file in the user's cache folder, named after folder, models and options.

    The SHA-256 of the rest, the length of a JSON text, the text (what is known of each file), the embeddings as .npy.
    """

    def __init__(self, folder: Path, session: Session):
        options = session.task.options
        run = session.run
        parts = [os.path.realpath(folder), run.weights_sha256, *(sha256 for _, sha256 in run.further.values())]
        key = json.dumps([FORMAT, *parts, options.conf, options.which, session.precision])
        self.path = cache_folder() / "faces" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.bin"

    def read(self, notify: Callable[[str], None]) -> tuple[dict[str, Entry], list[np.ndarray]]:
        """What is known; nothing where the file is missing or damaged, which is said."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return {}, []
        try:
            return _unpacked(content)
        except (ValueError, KeyError, TypeError, EOFError):
            notify(f"{self.path}: the gallery's cache is damaged and is made anew")
            return {}, []

    def write(self, entries: dict[str, Entry], embeddings: np.ndarray, notify: Callable[[str], None]) -> None:
        """Keep what is known; a cache that can't be written costs time, nothing else."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(self.path) as file:
                file.write(_packed(entries, embeddings))
        except OSError as error:
            notify(f"{self.path}: the gallery's cache can't be written ({error.strerror})")


def _packed(entries: dict[str, Entry], embeddings: np.ndarray) -> bytes:
    text = json.dumps({file: list(vars(entry).values()) for file, entry in entries.items()}).encode()
    array = io.BytesIO()
    np.save(array, embeddings, allow_pickle=False)
    body = len(text).to_bytes(8, "little") + text + array.getvalue()
    return hashlib.sha256(body).digest() + body


def _unpacked(content: bytes) -> tuple[dict[str, Entry], list[np.ndarray]]:
    body = content[32:]
    if hashlib.sha256(body).digest() != content[:32]:
        raise ValueError("wrong checksum")
    length = int.from_bytes(body[:8], "little")
    known = json.loads(body[8 : 8 + length])
    entries = {
        file: Entry(size, time, sha256, tuple(rows), failure)
        for file, (size, time, sha256, rows, failure) in known.items()
    }
    return entries, list(np.load(io.BytesIO(body[8 + length :]), allow_pickle=False))
