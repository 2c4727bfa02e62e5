"""Photos with one label each: a folder per class, a CSV of files and labels, or IDX files of arrays."""

import csv
import gzip
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnncli.errors import UsageError
from cnncli.train.config import TrainConfig
from cnncli.train.parts import divided_folders
from cnncli.train.photos import check_apart, divided, list_photos, look_through
from cnncli.train.recipe import Notify

LAYOUT = """expected one of
  DATA/CLASS/photo.jpg                        a folder for each class
  DATA/train/CLASS/… and DATA/val/CLASS/…     the same, divided already (test/ and valid/ do too)
  labels.csv with columns file,label          files beside it
  DATA/train-images-idx3-ubyte[.gz] and so on IDX files, as MNIST has them"""
IDX_PARTS = ("train", "t10k")
IDX_TYPES = {0x08: ">u1"}  # the format's own byte for unsigned bytes, the only kind that images come in


@dataclass(frozen=True)
class Labelled:
    """Examples with labels: paths, or arrays (N, H, W), and class numbers (N,)."""

    photos: Sequence[str] | np.ndarray
    labels: Sequence[int]


@dataclass(frozen=True)
class LabelledSet:
    classes: tuple[str, ...]
    train: Labelled
    val: Labelled


def read_labelled(config: TrainConfig, notify: Notify) -> LabelledSet:
    """Training and validation part of DATA. UsageError, with the layouts shown, where it is none of them."""
    data = Path(config.data)
    if not data.exists():
        raise UsageError(f"{data}: no such folder or file; {LAYOUT}")
    if data.is_file():
        return _divided(_read_csv(data), config, notify)
    if (idx := _idx_file(data, IDX_PARTS[0], "images-idx3")) is not None:
        return _read_idx(data, idx)
    train, val = divided_folders(config, LAYOUT)
    if val is None:
        return _divided(_read_folder(train), config, notify)
    return _both(_read_folder(train), _read_folder(val), config, notify)


def _read_folder(folder: Path) -> list[tuple[str, str]]:
    """(path, class) of a folder per class."""
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        loose = len(list_photos(folder))
        raise UsageError(f"{folder}: has no folders of classes ({loose} photos lie in it directly); {LAYOUT}")
    found = [(path, entry.name) for entry in classes for path in list_photos(entry, recursive=True)]
    counts = Counter(label for _, label in found)
    empty = [entry.name for entry in classes if not counts[entry.name]]
    if empty:
        raise UsageError(f"{folder}: no photos in {', '.join(empty[:5])}; add some or remove the folder")
    return found


def _read_csv(path: Path) -> list[tuple[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: can't be read as CSV ({error}); {LAYOUT}") from error
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise UsageError(f"{path}: has no columns file and label; {LAYOUT}")
    incomplete = [number for number, row in enumerate(rows, 2) if not row["file"] or not row["label"]]
    if incomplete:
        raise UsageError(f"{path}: line {incomplete[0]} lacks a file or a label")
    return [(str(path.parent / row["file"]), row["label"]) for row in rows]


def _divided(found: list[tuple[str, str]], config: TrainConfig, notify: Notify) -> LabelledSet:
    looks = look_through((path for path, _ in found), config, notify)
    found = [entry for entry in found if entry[0] in looks]
    classes = _classes(found, config.data)
    part = config.val if isinstance(config.val, float) else 0.2
    keys = [looks[path].digest for path, _ in found]
    train, val = divided(keys, [label for _, label in found], part, config.seed)
    lone = set(classes) - ({found[index][1] for index in train} & {found[index][1] for index in val})
    if lone:
        raise UsageError(
            f"{config.data}: {', '.join(sorted(lone)[:5])} has too few photos; 2 or more different ones are needed"
        )
    return LabelledSet(classes, _numbered(found, train, classes), _numbered(found, val, classes))


def _both(train: list[tuple[str, str]], val: list[tuple[str, str]], config: TrainConfig, notify: Notify) -> LabelledSet:
    train_looks = look_through((path for path, _ in train), config, notify)
    val_looks = look_through((path for path, _ in val), config, notify)
    check_apart(train_looks, val_looks)
    train = [entry for entry in train if entry[0] in train_looks]
    val = [entry for entry in val if entry[0] in val_looks]
    classes = _classes(train, config.data)
    unknown = sorted({label for _, label in val} - set(classes))
    if unknown:
        raise UsageError(f"validation has classes that training has not: {', '.join(unknown[:5])}")
    return LabelledSet(classes, _numbered(train, range(len(train)), classes), _numbered(val, range(len(val)), classes))


def _classes(found: list[tuple[str, str]], data: str) -> tuple[str, ...]:
    classes = tuple(sorted({label for _, label in found}))
    if len(classes) < 2:
        raise UsageError(f"{data}: has one class alone, {classes[0] if classes else 'none'}; two or more are needed")
    return classes


def _numbered(found: list[tuple[str, str]], chosen: Sequence[int], classes: tuple[str, ...]) -> Labelled:
    number = {name: index for index, name in enumerate(classes)}
    return Labelled([found[index][0] for index in chosen], [number[found[index][1]] for index in chosen])


def _idx_file(folder: Path, part: str, kind: str) -> Path | None:
    for separator in "-.":
        for ending in ("", ".gz"):
            path = folder / f"{part}-{kind.replace('-', separator)}-ubyte{ending}"
            if path.is_file():
                return path
    return None


def _read_idx(folder: Path, images: Path) -> LabelledSet:
    """MNIST's files: 60,000 images to train on, and those called t10k to validate."""
    parts = []
    for part in IDX_PARTS:
        files = [_idx_file(folder, part, kind) for kind in ("images-idx3", "labels-idx1")]
        if None in files:
            raise UsageError(f"{folder}: has {images.name}, but not all of the four IDX files; {LAYOUT}")
        pixels, labels = (read_idx(file) for file in files if file is not None)
        if len(pixels) != len(labels):
            raise UsageError(f"{folder}: {len(pixels)} images of {part} have {len(labels)} labels")
        parts.append(Labelled(pixels, labels.tolist()))
    count = max(max(part.labels) for part in parts) + 1
    return LabelledSet(tuple(str(number) for number in range(count)), *parts)


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file: two zero bytes, a type, the number of axes, each length (big-endian), the numbers.

    Source: LeCun, "The MNIST database", file formats.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        _, kind, axes = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
        return np.frombuffer(content, IDX_TYPES[kind], offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, KeyError, ValueError) as error:
        raise UsageError(f"{path}: is no IDX file of bytes, or cut short ({error})") from error
