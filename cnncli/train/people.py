"""Photos of people, a folder each: divided by person, so that nobody is in both parts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from cnncli.errors import UsageError
from cnncli.train.augment import JITTER
from cnncli.train.config import TrainConfig
from cnncli.train.face_crops import face_crops
from cnncli.train.parts import divided_folders
from cnncli.train.photos import NAMED, check_apart, divided, list_photos, look_through
from cnncli.train.recipe import Examples, Notify

LAYOUT = (
    "give a folder for each person, with two or more photos in it: DATA/anna/1.jpg, DATA/anna/2.jpg, DATA/ben/1.jpg …"
)
LEAST_PEOPLE, LEAST_PHOTOS = 2, 2  # of a part, of a person: else it has no pairs of different or of the same people
SHIFT = {"light": 0.03, "strong": 0.06}  # of the side
TURN = 10  # degrees, to either side

Photos = dict[str, tuple[str, np.ndarray]]  # of a part, by path: the person's name and the face


@dataclass(frozen=True)
class Faces(Examples):
    """Faces and whose they are: "images" uint8 (size, size, 3), "person" and "index"."""

    names: tuple[str, ...]
    crops: list[np.ndarray]
    people: list[int]  # of each crop, a place in `names`
    augment: v2.Transform | None = None

    def __len__(self) -> int:
        return len(self.crops)

    def example(self, index: int) -> dict[str, Any]:
        image = torch.from_numpy(self.crops[index])
        if self.augment is not None:
            image = self.augment(image.permute(2, 0, 1)).permute(1, 2, 0).contiguous()
        return {"images": image, "person": self.people[index], "index": index}


def read_people(config: TrainConfig, size: int, how: str, notify: Notify) -> tuple[Faces, Faces]:
    """The faces of the training and of the validation part. UsageError where there are too few people or photos."""
    folder, val_folder = divided_folders(config, LAYOUT)
    owners = _photos_of(folder)
    looks = look_through(owners, config, notify)
    crops = face_crops(list(looks), size, how, config.max_pixels, notify)
    if val_folder is None:
        found = _with_pairs({path: (owners[path], crop) for path, crop in crops.items()}, folder, notify)
        _check_people(found, folder, 2 * LEAST_PEOPLE)
        train, val = _divided(found, config)
        check_apart({path: looks[path] for path in train}, {path: looks[path] for path in val})
    else:
        others = _photos_of(val_folder)
        val_looks = look_through(others, config, notify)
        check_apart(looks, val_looks)
        val_crops = face_crops(list(val_looks), size, how, config.max_pixels, notify)
        train = _with_pairs({path: (owners[path], crop) for path, crop in crops.items()}, folder, notify)
        val = _with_pairs({path: (others[path], crop) for path, crop in val_crops.items()}, val_folder, notify)
        _check_strangers(train, val)
        for part, where in ((train, folder), (val, val_folder)):
            _check_people(part, where, LEAST_PEOPLE)
    return _faces(train, _augment(config.augment, size)), _faces(val, None)


def _photos_of(folder: Path) -> dict[str, str]:
    """The person of each photo, by its path."""
    people = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    owners = {path: entry.name for entry in people for path in list_photos(entry, recursive=True)}
    if not owners:
        loose = len(list_photos(folder))
        said = f"has no folders of people ({loose} photos lie in it directly)" if loose else "holds no photos"
        raise UsageError(f"{folder}: {said}; {LAYOUT}")
    return owners


def _with_pairs(photos: Photos, folder: Path, notify: Notify) -> Photos:
    """The photos of people who have at least two."""
    counts = Counter(name for name, _ in photos.values())
    alone = [name for name, count in counts.items() if count < LEAST_PHOTOS]
    if len(alone) == len(counts):
        raise UsageError(f"{folder}: nobody of {len(counts)} has two photos with a face; {LAYOUT}")
    if alone:
        more = " and others" if len(alone) > NAMED else ""
        notify(
            f"{len(alone)} of {len(counts)} people are left out, with one photo each: {', '.join(alone[:NAMED])}{more}"
        )
    return {path: (name, crop) for path, (name, crop) in photos.items() if counts[name] >= LEAST_PHOTOS}


def _check_people(photos: Photos, folder: Path, least: int) -> None:
    count = len({name for name, _ in photos.values()})
    if count < least:
        raise UsageError(
            f"{folder}: people with two photos or more: {count}, and at least {least} are needed, {LEAST_PEOPLE} to "
            f"learn from and {LEAST_PEOPLE} others to validate; {LAYOUT}"
        )


def _check_strangers(train: Photos, val: Photos) -> None:
    shared = sorted({name for name, _ in train.values()} & {name for name, _ in val.values()})
    if shared:
        named = ", ".join(shared[:NAMED])
        raise UsageError(f"{len(shared)} people are in both training and validation ({named}); remove them from one")


def _divided(photos: Photos, config: TrainConfig) -> tuple[Photos, Photos]:
    """Whole people in each part, at least two."""
    names = [name for name, _ in photos.values()]
    count = len(set(names))
    part = min(max(float(config.val), LEAST_PEOPLE / count), 1 - LEAST_PEOPLE / count)
    indices = divided(names, [""] * len(names), part, config.seed)
    paths = list(photos)
    first, second = ({paths[index]: photos[paths[index]] for index in half} for half in indices)
    return first, second


def _faces(photos: Mapping[str, tuple[str, np.ndarray]], augment: v2.Transform | None) -> Faces:
    names = sorted({name for name, _ in photos.values()})
    number = {name: place for place, name in enumerate(names)}
    crops = [np.array(crop) for _, crop in photos.values()]
    return Faces(tuple(names), crops, [number[name] for name, _ in photos.values()], augment)


def _augment(level: str, size: int) -> v2.Transform | None:
    """Of an aligned face: mirror image, a small shift, with "strong" a turn, brightness, contrast and saturation."""
    if level == "none":
        return None
    turns = [v2.RandomRotation(TURN)] if level == "strong" else []
    moved = v2.RandomCrop(size, padding=max(1, round(SHIFT[level] * size)), padding_mode="edge")
    brightness, contrast, saturation, _ = JITTER[level]  # the hue costs more time than all else
    return v2.Compose([v2.RandomHorizontalFlip(), *turns, moved, v2.ColorJitter(brightness, contrast, saturation)])


def batches_of_people(people: Sequence[int], batch: int, per_person: int, seed: int) -> list[int]:
    """Indices of photos: batch after batch `per_person` photos each of as many people as fit into it.

    People come in turn, each round in another order, and so do the photos of each: after some epochs all have been
    seen, and nobody more often for having more photos. As many indices as there are photos.
    """
    generator = np.random.default_rng(seed)
    photos = [np.flatnonzero(np.equal(people, person)) for person in range(max(people) + 1)]
    turns = [_Deck(own, generator) for own in photos]
    groups = min(max(2, batch // per_person), len(photos))
    everybody = _Deck(np.arange(len(photos)), generator)
    order: list[int] = []
    while len(order) < len(people):
        chosen = everybody.draw(groups)
        counts = [batch // groups + (place < batch % groups) for place in range(groups)]
        for person, count in zip(chosen, counts, strict=True):
            order += turns[person].draw(count)
    return order[: len(people)]


class _Deck:
    """Cards drawn in random order: all before one comes again, and none twice in a draw that they suffice for."""

    def __init__(self, cards: np.ndarray, generator: np.random.Generator):
        self.cards, self.generator = cards, generator
        self.left: list[int] = []

    def draw(self, count: int) -> list[int]:
        drawn: list[int] = []
        while len(drawn) < count:
            if not self.left:
                shuffled = self.generator.permutation(self.cards).tolist()
                seen = set(drawn)  # what this draw holds already comes last
                self.left = [card for card in shuffled if card in seen] + [
                    card for card in shuffled if card not in seen
                ]
            drawn.append(self.left.pop())
        return drawn
