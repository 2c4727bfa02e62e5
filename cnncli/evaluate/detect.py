"""How well a detector finds what people have marked: COCO's average precision, by pycocotools."""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import UsageError

LAYOUT = "COCO's instances JSON with images, annotations (bbox, category_id) and categories"
PARTS = {
    "images": {"id", "file_name"},
    "annotations": {"image_id", "category_id", "bbox"},
    "categories": {"id", "name"},
}
CONF = 0.001  # COCO's metric wants everything down to the least sure: precision is averaged over all recalls
FIGURES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100",
           "AR_small", "AR_medium", "AR_large")  # fmt: skip


class Annotations:
    """A COCO file and where its images are."""

    def __init__(self, path: Path, images: Path | None):
        from pycocotools.coco import COCO

        content = _read(path)
        self.folder = images or path.parent
        self.images = sorted(content["images"], key=lambda image: image["id"])
        missing = [image["file_name"] for image in self.images if not (self.folder / image["file_name"]).exists()]
        if len(missing) == len(self.images):
            raise UsageError(f"{self.folder}: holds none of the images of {path}; say with --images where they are")
        self.truth = COCO()
        self.truth.dataset = content
        with contextlib.redirect_stdout(io.StringIO()):
            self.truth.createIndex()

    @property
    def files(self) -> list[str]:
        return [os.path.join(self.folder, image["file_name"]) for image in self.images]

    def score(self, detections: list[list[dict[str, Any]] | None]) -> dict[str, Any]:
        """Figures in percent for the detections of each image, in the order of `files`; None for one that failed."""
        from pycocotools.cocoeval import COCOeval

        results = [
            {"image_id": image["id"], **{key: entry[key] for key in ("category_id", "bbox", "score")}}
            for image, entries in zip(self.images, detections, strict=True)
            for entry in entries or []
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            found = self.truth.loadRes(results) if results else self._nothing()
            evaluation = COCOeval(self.truth, found, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {
            "images": len(self.images),
            "failed": sum(entries is None for entries in detections),
            **{name: _percent(value) for name, value in zip(FIGURES, evaluation.stats, strict=True)},
            "classes": self._per_class(evaluation),
        }

    def _per_class(self, evaluation: Any) -> list[dict[str, Any]]:
        """AP of each class that is marked at all: precision (overlap, recall, class, area, limit), -1 where absent."""
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        rows = []
        for number, category in enumerate(map(int, evaluation.params.catIds)):  # numpy's integers are no JSON
            values = precision[:, :, number]
            values = values[values > -1]
            if len(values):
                marked = len(self.truth.getAnnIds(catIds=[category], iscrowd=False))
                name = self.truth.cats[category]["name"]
                rows.append({"label": name, "category_id": category, "marked": marked, "AP": _percent(values.mean())})
        return rows

    def _nothing(self) -> Any:
        from pycocotools.coco import COCO

        empty = COCO()
        empty.dataset = {**self.truth.dataset, "annotations": []}
        empty.createIndex()
        return empty


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be read ({error}); expected {LAYOUT}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: has no images; expected {LAYOUT}")
    for part, keys in PARTS.items():
        _check_part(path, content, part, keys)
    if not content["images"]:
        raise UsageError(f"{path}: has no images; expected {LAYOUT}")
    return {**content, "annotations": _completed(content["annotations"])}


def _check_part(path: Path, content: dict[str, Any], part: str, keys: set[str]) -> None:
    if not isinstance(content.get(part), list):
        raise UsageError(f"{path}: has no {part}; expected {LAYOUT}")
    for number, entry in enumerate(content[part]):
        lacking = sorted(keys - set(entry)) if isinstance(entry, dict) else sorted(keys)
        if lacking:
            raise UsageError(f"{path}: {part}[{number}] has no {lacking[0]}; expected {LAYOUT}")


def _completed(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With what hand-made files leave out, numbered from 1: pycocotools takes a match with number 0 for none."""
    return [
        {"iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3], **entry, "id": number}
        for number, entry in enumerate(annotations, 1)
    ]


def _percent(value: float) -> float | None:
    """In percent; COCO's -1 (nothing of this kind is marked) is None."""
    return None if np.isnan(value) or value < 0 else round(100 * float(value), 2)
