"""Detection: letterbox, anchors decoded above the threshold, non-maximum suppression per class."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from cnncli.config import check_choice
from cnncli.errors import InputError, UsageError
from cnncli.imaging.boxes import areas, decode_boxes, lies_in_larger, stated_anchors, suppress_per_class
from cnncli.imaging.draw import draw_boxes
from cnncli.imaging.geometry import Geometry, letterbox, letterbox_geometry, tiles
from cnncli.io.encoded import EncodedPhoto, decode_later
from cnncli.io.images import Photo, decode
from cnncli.io.pictures import Picture
from cnncli.io.weights import ModelInfo
from cnncli.results.detect import Detection, Detections
from cnncli.tasks.base import DECODING, BaseTask, Options, Outputs, Request, finite
from cnncli.tasks.labels import class_indices, class_labels

MOST_OF_ALL_VIEWS = 20_000  # candidates of a photo and its tiles: suppression takes time by their square
CUT_MARGIN = 0.02  # of a tile's side: a box that ends this near to its inner edge may be part of a larger object


@dataclass(frozen=True)
class DetectOptions(Options):
    """Scores from `conf`, overlaps up to `iou`, at most `max_det` boxes; `classes` limits the answer to these names.

    `single`: only the most salient object. `tile` (px of the photo, None for none) also looks at overlapping squares
    of this side, `tile_overlap` of it shared with the next. `decode` "auto" and "full": the CPU decodes photos;
    "device": JPEGs are decoded and resized on the device (nn.photos).
    """

    conf: float = 0.25
    iou: float = 0.5
    max_det: int = 100
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    single: bool = False
    tile: int | None = None
    tile_overlap: float = 0.2
    decode: str = "auto"

    @property
    def roles(self) -> tuple[str, ...]:
        return ("detect",)

    def __post_init__(self) -> None:
        if not 0 < self.conf < 1:
            raise UsageError(f"--conf {self.conf:g}: give a score above 0 and below 1")
        if not 0 <= self.iou <= 1:
            raise UsageError(f"--iou {self.iou:g}: give an overlap from 0 to 1")
        if self.max_det < 1:
            raise UsageError(f"--max-det {self.max_det}: give at least 1")
        if self.tile is not None and self.tile < 32:
            raise UsageError(f"--tile {self.tile}: give at least 32 pixels")
        if not 0 <= self.tile_overlap < 0.9:
            raise UsageError(f"--tile-overlap {self.tile_overlap:g}: give a part from 0 to 0.9")
        check_choice("--decode", self.decode, DECODING)
        if self.decode == "device" and self.tile is not None:
            raise UsageError("--tile: tiles are cut out of decoded photos; leave it out, or --decode device")


class Detect(BaseTask):
    """Objects of a photo: label, score and box each."""

    name: ClassVar[str] = "detect"
    result_key = "detections"
    most_candidates = 5000  # before suppression, as in EfficientDet's own post-processing

    def __init__(self, models: Mapping[str, ModelInfo], options: DetectOptions):
        self.model = models["detect"]
        self.options = options
        self.labels = class_labels(self.model, options.labels)
        self.wanted = class_indices(self.labels, options.classes)
        self.fill = self.model.recipe["fill"]
        self.anchors = stated_anchors(self.model.recipe)
        if options.tile is not None and "points" in self.model.outputs:
            raise UsageError(
                f"--tile: {self.model.name} finds the points of one object, in the whole photo; leave it out"
            )
        self.columns = ("detections",)
        self._has_points = "points" in self.model.outputs

    def decode(self, content: bytes, max_pixels: int) -> Photo:
        """The whole photo, or what a device makes it of."""
        return decode_later(content, max_pixels) if self.options.decode == "device" else decode(content, max_pixels)

    def analyse(self, image: np.ndarray | EncodedPhoto) -> Generator[Request, Outputs, Detections]:
        height, width = image.shape[:2]
        found = []
        for left, top, right, bottom in self._views(width, height):
            request, geometry = self._request(image, (left, top, right, bottom))
            outputs = yield request
            corners, scores, classes = self._decode(outputs, geometry)
            corners += np.array([left, top, left, top], np.float32)
            found.append((corners, scores, classes, _cut(corners, (left, top, right, bottom), width, height)))
        corners, scores, classes, cut = (np.concatenate(part) for part in zip(*found, strict=True))
        if len(scores) > MOST_OF_ALL_VIEWS:
            best = np.sort(np.argsort(-scores, kind="stable")[:MOST_OF_ALL_VIEWS])
            corners, scores, classes, cut = corners[best], scores[best], classes[best], cut[best]
        whole = self._without_pieces(corners, classes, cut)
        corners, scores, classes = corners[whole], scores[whole], classes[whole]
        result = self.interpret(corners, scores, classes, width, height)
        return self._with_points(result, outputs["points"], geometry, width, height) if "points" in outputs else result

    def _request(self, image: np.ndarray | EncodedPhoto, view: tuple[int, int, int, int]) -> tuple[Request, Geometry]:
        """What the network is to see of a view, which of a photo for the device is all of it."""
        size = self.model.recipe["input"][0]
        if isinstance(image, EncodedPhoto):
            return Request("detect", image), letterbox_geometry(image.width, image.height, size)[1]
        left, top, right, bottom = view
        pixels, geometry = letterbox(image[top:bottom, left:right], size, self.fill)
        return Request("detect", pixels), geometry

    def interpret(
        self, corners: np.ndarray, scores: np.ndarray, classes: np.ndarray, width: int, height: int
    ) -> Detections:
        """Suppression over the boxes of all views: corner boxes (N, 4) in the photo, scores and classes (N,)."""
        corners = np.clip(corners, 0, np.array([width, height, width, height], np.float32))
        inside = areas(corners) > 0  # the others lie in the padding
        if self._has_points:
            inside[:] = True  # one point has no area
        corners, scores, classes = corners[inside], scores[inside], classes[inside]
        kept = suppress_per_class(corners, scores, classes, self.options.iou)[: self.options.max_det]
        if self.options.single and len(kept):
            kept = kept[:1] if len(kept) == 1 else kept[[_most_salient(corners[kept], scores[kept])]]
        return Detections(tuple(self._detection(classes[i], scores[i], corners[i]) for i in kept))

    def _with_points(
        self, result: Detections, points: np.ndarray, geometry: Geometry, width: int, height: int
    ) -> Detections:
        """The one object with its points (K, 2), x and y in parts of the input's side; none lies outside the photo."""
        places = geometry.undo_points(finite(points) * self.model.recipe["input"][0])
        places = np.clip(places, 0, (width, height)).tolist()
        return Detections(tuple(replace(entry, points=tuple(map(tuple, places))) for entry in result.detections))

    def _without_pieces(self, corners: np.ndarray, classes: np.ndarray, cut: np.ndarray) -> np.ndarray:
        """Whether each box is to stay: pieces of an object that another view shows whole are not objects too."""
        stays = np.ones(len(corners), bool)
        for index in np.flatnonzero(cut):
            same = corners[classes == classes[index]]
            stays[index] = not lies_in_larger(corners[index], same, self.options.iou)
        return stays

    def _views(self, width: int, height: int) -> list[tuple[int, int, int, int]]:
        """Left, top, right, bottom of the whole photo and, with tiling, of the squares that cover it."""
        whole = (0, 0, width, height)
        if self.options.tile is None or max(width, height) <= self.options.tile:
            return [whole]
        return [whole, *tiles(width, height, self.options.tile, self.options.tile_overlap)]

    def _decode(self, outputs: Outputs, geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """From the network's outputs to corner boxes, scores and classes.

        Class logits (anchors, classes) and box codes (anchors, 4); or, reduced on the device (nn.candidates), logits
        (K,), codes (K, 4) and their index (K,) among anchors * classes.
        """
        anchors, classes, scores, codes = self._candidates(outputs)
        boxes = decode_boxes(codes, self.anchors[anchors])
        if not np.isfinite(boxes).all():
            raise InputError("the network's answer is not finite; try --precision fp32")
        corners = geometry.undo_points(boxes.reshape(-1, 2)).reshape(-1, 4).astype(np.float32)
        return corners, scores, classes

    def draw(self, photo: Photo, result: Detections, suffix: str) -> Picture:
        boxes = [(entry.label, entry.category_id, entry.score, entry.bbox) for entry in result.detections]
        return Picture(draw_boxes(photo.pixels, boxes, [entry.points for entry in result.detections]))

    def _candidates(self, outputs: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Anchors, classes, scores and box codes of what is over the threshold; only these go through the sigmoid."""
        logits = outputs["class_logits"]
        if not np.isfinite(logits.max()):
            raise InputError("the network's answer is not finite; try --precision fp32")
        least = np.float32(np.log(self.options.conf / (1 - self.options.conf)))
        places = np.flatnonzero(logits.reshape(-1) >= least)
        chosen = logits.reshape(-1)[places]
        flat = outputs["index"][places] if "index" in outputs else places  # reduced on the device, or all
        anchors, classes = np.divmod(flat, len(self.labels))
        codes = outputs["box_codes"][places if "index" in outputs else anchors]
        kept = self._best(chosen, np.isin(classes, self.wanted))
        return anchors[kept], classes[kept], _sigmoid(chosen[kept]), codes[kept].astype(np.float32)

    def _best(self, logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Ascending indices of the best among those allowed (N,)."""
        (indices,) = np.nonzero(allowed)
        if len(indices) > self.most_candidates:
            order = np.argsort(-logits[indices], kind="stable")[: self.most_candidates]
            indices = np.sort(indices[order])
        return indices

    def _detection(self, index: int, score: float, corners: np.ndarray) -> Detection:
        left, top, right, bottom = (float(value) for value in corners)
        category = self.model.recipe["category_ids"][index]
        return Detection(self.labels[index], category, float(score), (left, top, right - left, bottom - top))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float32)))


def _cut(corners: np.ndarray, view: tuple[int, int, int, int], width: int, height: int) -> np.ndarray:
    """Whether each box (N, 4) ends where its view does, but not the photo."""
    margin = CUT_MARGIN * max(view[2] - view[0], view[3] - view[1])
    inner = np.array(view) != (0, 0, width, height)
    return ((np.abs(corners - np.array(view, np.float32)) < margin) & inner).any(axis=1)


def _most_salient(corners: np.ndarray, scores: np.ndarray) -> int:
    """The object that a viewer would name first: sure and large, by score times the side of an equal square."""
    return int(np.argmax(scores * np.sqrt(areas(corners))))
