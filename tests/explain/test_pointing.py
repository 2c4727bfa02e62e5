"""Whether heat maps point at the animal in a photo: the share of their heat inside its annotated box."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnncli.config import EngineConfig
from cnncli.explain.cam import Cam
from cnncli.explain.frames import View, view_of
from cnncli.explain.method import Method
from cnncli.explain.occlusion import Occlusion
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject
from cnncli.imaging.geometry import resize_and_crop
from cnncli.io.images import decode, read_file

CLASSES = {17: range(281, 286), 18: range(151, 269)}  # ImageNet's cats and dogs by COCO's categories
PHOTOS = 6
SURE = 0.1  # of the animal's class: of what the network hardly sees, no map can tell where it sees it
TARGET = 0.6


def animals(folder: Path) -> list[tuple[Path, int, list[list[float]]]]:
    """Photos with a cat, then with a dog: path, category, boxes x, y, width, height in pixels."""
    found = {}
    for category in CLASSES:
        for part in ("val", "train"):
            annotations = json.loads((folder / f"instances_{part}.json").read_text())
            names = {image["id"]: image["file_name"] for image in annotations["images"]}
            for item in sorted(annotations["annotations"], key=lambda item: item["image_id"]):
                if item["category_id"] == category:
                    path = folder / part / names[item["image_id"]]
                    found.setdefault(path, (path, category, []))
                    if found[path][1] == category:
                        found[path][2].append(item["bbox"])
    return list(found.values())


def inside(view: View, boxes: list[list[float]]) -> np.ndarray:
    """Which pixels of the photo (H, W) lie in a box."""
    mask = np.zeros(view.picture.shape[:2], bool)
    for x, y, width, height in boxes:
        mask[round(y) : round(y + height), round(x) : round(x + width)] = True
    return mask


def share(method: Method, subject: Subject, seen: np.ndarray, view: View, part: tuple, mask: np.ndarray) -> float:
    heat = np.nan_to_num(view.laid(method.look(subject, seen)["heat"][part])).clip(0)
    return heat[mask].sum() / heat.sum()


@pytest.mark.timeout(600)
def test_heat_lies_on_the_animal(data_set: Callable[[str], Path]) -> None:
    subject = open_subject(EngineConfig("efficientnet_lite2", device="cpu", threads=1))
    recipe, shares = subject.info.recipe, []
    for path, category, boxes in animals(data_set("coco")):
        photo = decode(read_file(path, 10**8)).pixels
        seen = resize_and_crop(photo, recipe["resize"], tuple(recipe["input"]), recipe["filter"])[0].copy()
        logits = subject.outputs(subject.normalised(seen))["logits"][0]
        label = subject.info.classes[max(CLASSES[category], key=logits.__getitem__)]
        if logits.softmax(0)[subject.info.classes.index(label)] < SURE:
            continue
        view, part = view_of(subject.info, photo, seen)
        mask = inside(view, boxes)
        x, y, width, height = view.region
        methods = Cam(label=label), Occlusion(label, step=32)
        area = mask[y : y + height, x : x + width].mean()
        shares.append([area, *(share(method, subject, seen, view, part, mask) for method in methods)])
        if len(shares) == PHOTOS:
            break
    area, cam, occlusion = np.mean(shares, axis=0)
    assert len(shares) == PHOTOS
    assert cam > max(TARGET, area) and occlusion > max(TARGET, area), shares
