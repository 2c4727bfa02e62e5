"""How often a classifier is right: labelled photos, top-1 and top-5, per class, and what is taken for what."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnncli.errors import UsageError
from cnncli.io.sources import SourceOptions, Sources

FILE_COLUMNS = ("file", "path", "filename", "image")
INDEX_COLUMNS = ("class_id", "index")
NAME_COLUMNS = ("label", "class", "name")
LAYOUT = "a folder with one subfolder per class, or a CSV with the columns file and class_id (or label)"


@dataclass(frozen=True)
class Labelled:
    """A photo and the index of its class."""

    file: str
    truth: int


def find_photos(place: Path, images: Path | None, classes: Sequence[str]) -> list[Labelled]:
    """The labelled photos of a folder or a CSV. UsageError where the layout is another, or a class is unknown."""
    if place.is_dir() and not (place / "labels.csv").is_file():
        photos = _from_folders(place, classes)
    else:
        table = place / "labels.csv" if place.is_dir() else place
        photos = _from_table(table, images, classes)
    if not photos:
        raise UsageError(f"{place}: no labelled photos; expected {LAYOUT}")
    return photos


def _from_folders(place: Path, classes: Sequence[str]) -> list[Labelled]:
    folders = sorted(entry for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise UsageError(f"{place}: has no subfolders; expected {LAYOUT}")
    known = _Names(classes)
    photos = []
    for folder in folders:
        truth = known.index(folder.name, folder)
        photos += [Labelled(source.file, truth) for source in Sources([str(folder)], SourceOptions(recursive=True))]
    return photos


def _from_table(table: Path, images: Path | None, classes: Sequence[str]) -> list[Labelled]:
    columns, rows = _read_table(table)
    file_column = next((name for name in FILE_COLUMNS if name in columns), None)
    class_column = next((name for name in INDEX_COLUMNS + NAME_COLUMNS if name in columns), None)
    if file_column is None or class_column is None:
        found = ", ".join(columns) or "none"
        raise UsageError(f"{table}: has the columns {found}; expected file and class_id or label")
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: no such folder")
    known = _Names(classes)
    read_class = known.number if class_column in INDEX_COLUMNS else known.index
    folder = images or _image_folder(table.parent, [row[file_column] for _, row in rows])
    photos = []
    for line, row in rows:
        where = f"{table}, line {line}"
        if not row[file_column]:
            raise UsageError(f"{where}: names no file")
        photos.append(Labelled(os.path.join(folder, row[file_column]), read_class(row[class_column], where)))
    return photos


def _read_table(table: Path) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a CSV, and its rows with the number of the line that each ends on."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table}: can't be read ({error}); expected {LAYOUT}") from error
    return columns, rows


def _image_folder(beside: Path, files: Sequence[str]) -> Path:
    """The folder that a table's files are in: its own, or `images` in it where the first file is there alone."""
    if files and not (beside / files[0]).exists() and (beside / "images" / files[0]).exists():
        return beside / "images"
    return beside


class _Names:
    """Classes by name (case, space, underscore and hyphen aside) or by number."""

    def __init__(self, classes: Sequence[str]):
        self._count = len(classes)
        self._indices: dict[str, int] = {}
        for index, name in enumerate(classes):
            self._indices.setdefault(_plain(name), index)

    def index(self, name: str, where: Any) -> int:
        if _plain(name) in self._indices:
            return self._indices[_plain(name)]
        if name.strip().isdecimal():
            return self.number(name, where)
        raise UsageError(f"{where}: the model has no class '{name}'; see --labels for other names")

    def number(self, text: str, where: Any) -> int:
        if not text.strip().isdecimal() or int(text) >= self._count:
            raise UsageError(f"{where}: class '{text}' is not one of 0 to {self._count - 1}")
        return int(text)


def _plain(name: str) -> str:
    return name.strip().casefold().replace("_", " ").replace("-", " ")


def summarise(truths: Iterable[int], answers: Iterable[Sequence[int] | None], classes: Sequence[str]) -> dict[str, Any]:
    """Figures of answers (indices, best first; None for a photo that failed, which counts as wrong).

    Keys: photos, failed, top1, top5 (percent), classes (per class: label, photos, top1, top5), confusion
    (label, predicted, photos; wrong and right ones, most frequent first).
    """
    total: Counter[int] = Counter()
    top1: Counter[int] = Counter()
    top5: Counter[int] = Counter()
    pairs: Counter[tuple[int, int]] = Counter()
    failed = 0
    for truth, answer in zip(truths, answers, strict=True):
        total[truth] += 1
        if answer is None:
            failed += 1
            continue
        top1[truth] += answer[0] == truth
        top5[truth] += truth in answer[:5]
        pairs[truth, answer[0]] += 1
    photos = sum(total.values())
    return {
        "photos": photos,
        "failed": failed,
        "top1": _percent(top1.total(), photos),
        "top5": _percent(top5.total(), photos),
        "classes": [
            {
                "label": classes[index],
                "index": index,
                "photos": total[index],
                "top1": _percent(top1[index], total[index]),
                "top5": _percent(top5[index], total[index]),
            }
            for index in sorted(total)
        ],
        "confusion": [
            {"label": classes[truth], "predicted": classes[answer], "photos": count}
            for (truth, answer), count in sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))
        ],
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
