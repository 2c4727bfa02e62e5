"""Photos of a data set: found, looked through once before a run, and divided into training and validation."""

import hashlib
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnncli.errors import InputError, UsageError
from cnncli.io.images import decode, read_file
from cnncli.io.sources import IMAGE_SUFFIXES
from cnncli.train.config import TrainConfig
from cnncli.train.recipe import Notify

NAMED = 3  # files of a kind that an error names


def list_photos(folder: Path, recursive: bool = False) -> list[str]:
    """Image files of a folder by name, hidden ones left out."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        found += [os.path.join(parent, name) for name in sorted(files) if _is_photo(name)]
    return found


def _is_photo(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def read_photo(path: str, max_pixels: int) -> np.ndarray:
    """Pixels of a file, uint8 (H, W, 3), upright. InputError, naming the file, where it can't be read."""
    try:
        return decode(read_file(path, max_pixels), max_pixels).pixels
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Look:
    """What a first look at a file found: the hash of its bytes, or why it can't be read."""

    digest: str
    failure: str | None
    size: tuple[int, int] = (0, 0)  # height, width


def look_through(paths: Iterable[str], config: TrainConfig, notify: Notify) -> dict[str, Look]:
    """Decode every file once. Broken ones are an error, or with `skip_bad` a message; they are not in the answer."""
    files = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        looks = dict(zip(files, pool.map(lambda path: _look(path, config.max_pixels), files), strict=True))
    broken = {path: look.failure for path, look in looks.items() if look.failure}
    if broken and not config.skip_bad:
        first = "; ".join(f"{path}: {failure}" for path, failure in list(broken.items())[:NAMED])
        raise UsageError(
            f"{len(broken)} of {len(files)} photos can't be read ({first}); mend or remove them, or leave them out "
            "with --skip-bad"
        )
    for path, failure in broken.items():
        notify(f"{path}: left out, {failure}")
    return {path: look for path, look in looks.items() if not look.failure}


def _look(path: str, max_pixels: int) -> Look:
    try:
        content = read_file(path, max_pixels)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        return Look(digest, None, decode(content, max_pixels).pixels.shape[:2])
    except InputError as error:
        return Look("", str(error))


def divided(keys: Sequence[str], groups: Sequence[str], part: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the training and the validation part, `part` of each group (at least one of each) in the latter.

    Examples of equal `keys` (copies of one photo) stay together. The same for the same seed, in whatever order the
    examples come.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    home: dict[str, str] = {}
    for index, (key, group) in enumerate(zip(keys, groups, strict=True)):
        members[home.setdefault(key, group)][key].append(index)
    train, val = [], []
    for group in sorted(members):
        names = sorted(members[group])
        random.Random(f"{seed} {group}").shuffle(names)
        held = min(max(1, round(part * len(names))), len(names) - 1)
        for place, name in enumerate(names):
            (val if place < held else train).extend(members[group][name])
    return sorted(train), sorted(val)


def check_apart(train: Mapping[str, Look], val: Mapping[str, Look]) -> None:
    """UsageError where a photo is in both parts: its answer would be remembered, not found."""
    first = {look.digest: path for path, look in train.items()}
    shared = [(first[look.digest], path) for path, look in val.items() if look.digest in first]
    if shared:
        named = "; ".join(f"{one} is {other}" for one, other in shared[:NAMED])
        raise UsageError(f"{len(shared)} photos are in both training and validation ({named}); remove them from one")
