"""How much of a heat map lies in the annotated boxes of what it explains, over photos of COCO with their annotations.

    python -m tests.bench.pointing FOLDER ANNOTATIONS.json [--count 20]

The classifier (efficientnet_lite2) explains its own answer, on the first photos where that names an annotated
category; the detector (efficientdet_lite0) its surest object's category, from a score of 0.3. Beside the shares stands
the part of what the network sees that the boxes cover: what a map of equal heat everywhere would have.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.config import EngineConfig
from cnncli.explain.cam import Cam
from cnncli.explain.frames import view_of
from cnncli.explain.occlusion import Occlusion
from cnncli.explain.session import open_subject
from cnncli.explain.subject import Subject
from cnncli.io.images import decode, read_file

# ImageNet's names of COCO's categories; the others are looked for by their own name
CATEGORIES = {
    "coffee mug": "cup", "tow truck": "truck", "brown bear": "bear", "American black bear": "bear", "cab": "car",
    "trolleybus": "bus", "minibus": "bus", "passenger car": "train", "racket": "tennis racket", "quail": "bird",
    "standard poodle": "dog", "Indian elephant": "elephant", "analog clock": "clock", "toilet seat": "toilet",
    "unicycle": "bicycle", "bow tie": "tie", "ballplayer": "person", "Egyptian cat": "cat", "tabby": "cat",
}  # fmt: skip
LEAST_SCORE = 0.3
Box = list[float]  # x, y, width, height in pixels


def photos(folder: Path, annotations: Path) -> Iterator[tuple[np.ndarray, dict[str, list[Box]]]]:
    """Pixels, and the boxes of each category."""
    entries = json.loads(annotations.read_text())
    names = {category["id"]: category["name"] for category in entries["categories"]}
    for image in entries["images"]:
        boxes: dict[str, list[Box]] = {}
        for item in entries["annotations"]:
            if item["image_id"] == image["id"]:
                boxes.setdefault(names[item["category_id"]], []).append(item["bbox"])
        yield decode(read_file(folder / image["file_name"], 10**8)).pixels, boxes


def shares(subject: Subject, photo: np.ndarray, boxes: dict[str, list[Box]], least: float) -> list[float] | None:
    """Part of the view that the boxes cover, and of the heat of each method; None where the answer is not annotated."""
    inner: Any = INNER[subject.info.task]
    seen = next(inner(subject).analyse(photo)).array
    target = subject.target(subject.normalised(seen), None)
    wanted = boxes.get(CATEGORIES.get(target.label, target.label))
    if not wanted or target.score < least:
        return None
    view, part = view_of(subject.info, photo, seen)
    inside = np.zeros(photo.shape[:2], bool)
    for x, y, width, height in wanted:
        inside[round(y) : round(y + height), round(x) : round(x + width)] = True
    x, y, width, height = view.region
    found = [float(inside[y : y + height, x : x + width].mean())]
    for method in (Cam(), Cam(variant="grad-cam++"), Occlusion(patch=64, step=32)):
        heat = np.nan_to_num(view.laid(method.look(subject, seen)["heat"][part])).clip(0)
        found.append(float(heat[inside].sum() / heat.sum()) if heat.any() else 0.0)
    return found


def _classify(subject: Subject) -> Any:
    from cnncli.tasks.classify import Classify, ClassifyOptions

    return Classify({"classify": subject.info}, ClassifyOptions())


def _detect(subject: Subject) -> Any:
    from cnncli.tasks.detect import Detect, DetectOptions

    return Detect({"detect": subject.info}, DetectOptions())


INNER = {"classify": _classify, "detect": _detect}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    for model, least in (("efficientnet_lite2", 0.0), ("efficientdet_lite0", LEAST_SCORE)):
        subject = open_subject(EngineConfig(model, device="cpu", threads=1))
        rows: list[list[float]] = []
        for photo, boxes in photos(options.folder, options.annotations):
            found = shares(subject, photo, boxes, least)
            if found is not None:
                rows.append(found)
            if len(rows) == options.count:
                break
        boxes_share, cam, plus, occlusion = np.mean(rows, axis=0)
        print(f"{model}, {len(rows)} photos: boxes cover {boxes_share:.1%}; of the heat lies in them: ", end="")
        print(f"Grad-CAM {cam:.1%}, Grad-CAM++ {plus:.1%}, occlusion {occlusion:.1%}")


if __name__ == "__main__":
    main()
