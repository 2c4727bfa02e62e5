"""Photos with a mask each, whose pixels are class numbers: found, looked through, divided, and made into examples."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnncli.errors import InputError, UsageError
from cnncli.imaging.masks import IGNORE
from cnncli.tasks.masks import MASK_SUFFIX, read_mask
from cnncli.train.config import TrainConfig
from cnncli.train.photos import NAMED, Look, check_apart, divided, list_photos, look_through
from cnncli.train.recipe import Notify

LAYOUT = """expected one of
  DATA/images/a.jpg and DATA/masks/a.png          a mask of the same name for each photo
  DATA/train/a.jpg and DATA/train_masks/a.png     the same, and val/ with val_masks/ to measure on
  DATA/classes.txt                                the classes' names, one a line (may be left out)
Masks are indexed or grey PNG files of their photo's size: pixels are class numbers from 0, 255 is left open."""
CLASSES = "classes.txt"
UNKNOWN = 255  # as background: none of the classes is one


@dataclass(frozen=True)
class Masked:
    """A photo of `size` (height, width), and the file that numbers its pixels."""

    photo: str
    mask: str
    size: tuple[int, int]


@dataclass(frozen=True)
class MaskedSet:
    """Photos to train and to measure on. `table` (256,): the class of each number in the masks, 255 where left open."""

    classes: tuple[str, ...]
    table: np.ndarray
    train: tuple[Masked, ...]
    val: tuple[Masked, ...]

    @property
    def background(self) -> int:
        """The class that is called so; 255 where none is."""
        names = [name.casefold() for name in self.classes]
        return names.index("background") if "background" in names else UNKNOWN


Folders = tuple[Path, Path]  # of photos, and of their masks


def read_masked(config: TrainConfig, notify: Notify) -> MaskedSet:
    """What DATA and --val hold. UsageError, showing the layout, where that is not right."""
    data = Path(config.data)
    train_folders, val_folders = _parts(data, config)
    ignore = _ignored(config)
    found, looks, present = _read(train_folders, ignore, config, notify)
    if val_folders is None:
        digests = [looks[entry.photo].digest for entry in found]
        first, second = divided(digests, [""] * len(found), config.val, config.seed)
        if not first or not second:
            raise UsageError(f"{data}: one photo can't be for both training and validation; give at least 2")
        train, val = tuple(found[index] for index in first), tuple(found[index] for index in second)
    else:
        other, val_looks, val_present = _read(val_folders, ignore, config, notify)
        check_apart(looks, val_looks)
        train, val, present = tuple(found), tuple(other), present | val_present
    classes = _classes(data, present)
    return MaskedSet(classes, _table(ignore), train, val)


def _parts(data: Path, config: TrainConfig) -> tuple[Folders, Folders | None]:
    """The folders to train on and, where they are divided already, those to measure on."""
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder; {LAYOUT}")
    train = _folders(data) or _folders(data / "train")
    if train is None:
        raise UsageError(f"{data}: has no photos with masks; {LAYOUT}")
    if isinstance(config.val, str):
        val = _folders(Path(config.val))
        if val is None:
            raise UsageError(f"--val {config.val}: has no photos with masks; {LAYOUT}")
        return train, val
    return train, _folders(data / "val")


def _folders(folder: Path) -> Folders | None:
    """FOLDER/images with FOLDER/masks, or FOLDER itself with FOLDER_masks beside it."""
    for images, masks in (
        (folder / "images", folder / "masks"),
        (folder, folder.absolute().with_name(f"{folder.absolute().name}_masks")),
    ):
        if images.is_dir() and masks.is_dir():
            return images, masks
    return None


def _ignored(config: TrainConfig) -> tuple[int, ...]:
    """Numbers that --set ignore=11 or ignore=11,12 names."""
    value = config.option("ignore", ())
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (tuple, list)) else [value]
    try:
        numbers = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        numbers = (-1,)
    if not all(0 <= number <= IGNORE for number in numbers):
        raise UsageError(f"--set ignore={value}: give numbers from 0 to 255, such as 11 or 11,12")
    return numbers


def _read(
    folders: Folders, ignore: tuple[int, ...], config: TrainConfig, notify: Notify
) -> tuple[list[Masked], dict[str, Look], frozenset[int]]:
    """The photos of a folder with their masks, what a look at each found, and the classes that the masks hold."""
    images, masks = folders
    photos = list_photos(images)
    if not photos:
        raise UsageError(f"{images}: holds no photos; {LAYOUT}")
    named = {photo: str(masks / Path(os.path.basename(photo)).with_suffix(MASK_SUFFIX)) for photo in photos}
    missing = [mask for mask in named.values() if not os.path.isfile(mask)]
    if missing:
        shown = ", ".join(os.path.basename(mask) for mask in missing[:NAMED])
        raise UsageError(f"{masks}: lacks the masks of {len(missing)} of {len(photos)} photos ({shown}); {LAYOUT}")
    looks = look_through(photos, config, notify)
    found = [Masked(photo, named[photo], look.size) for photo, look in looks.items()]
    found, present = _with_masks(found, config, notify)
    return found, looks, present - {IGNORE, *ignore}


def _with_masks(found: Sequence[Masked], config: TrainConfig, notify: Notify) -> tuple[list[Masked], frozenset[int]]:
    """Those whose mask can be read and has its photo's size, and the numbers in them all."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        answers = dict(zip(found, pool.map(_numbers, found), strict=True))
    broken = [answer for answer in answers.values() if isinstance(answer, str)]
    if broken and not config.skip_bad:
        raise UsageError(
            f"{len(broken)} of {len(found)} masks don't fit ({'; '.join(broken[:NAMED])}); mend them, or leave their "
            f"photos out with --skip-bad; {LAYOUT}"
        )
    for reason in broken:
        notify(f"{reason}: left out")
    kept = {entry: numbers for entry, numbers in answers.items() if not isinstance(numbers, str)}
    return list(kept), frozenset().union(*kept.values())


def _numbers(entry: Masked) -> frozenset[int] | str:
    """The numbers in a mask, or why it can't be used."""
    try:
        return frozenset(np.flatnonzero(np.bincount(read_mask(entry.mask, entry.size).reshape(-1))).tolist())
    except InputError as error:
        return str(error) if entry.mask in str(error) else f"{entry.mask}: {error}"


def _classes(data: Path, present: frozenset[int]) -> tuple[str, ...]:
    """Names from classes.txt, or by number. UsageError where masks hold other numbers, or one class alone."""
    if len(present) < 2:
        only = f"class {min(present)} alone" if present else "no class at all"
        raise UsageError(
            f"{data}: its masks hold {only}; two or more are needed (255 is not counted: store 1 in place of white)"
        )
    path = data / CLASSES
    if not path.is_file():
        return tuple(f"class {number}" for number in range(max(present) + 1))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read ({error}); expected one name a line") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if max(present) >= len(names):
        raise UsageError(
            f"{path}: names {len(names)} classes, from 0 to {len(names) - 1}, but the masks hold {max(present)} too; "
            f"add its name, or leave its pixels out with --set ignore={max(present)}"
        )
    return names


def _table(ignore: tuple[int, ...]) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    table[list(ignore)] = IGNORE
    return table
