"""Segmentation: the class of every pixel, objects apart, or a matte of whatever stands in front."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from cnncli.errors import UsageError
from cnncli.imaging.geometry import resize, stepped_size
from cnncli.imaging.masks import class_map, filled, palette, pasted, run_lengths, share_out
from cnncli.imaging.overlay import Region, draw_matte, draw_regions, numbered_colour
from cnncli.io.images import Photo
from cnncli.io.pictures import INDEXED_ENDINGS, WRITTEN_FORMATS, Picture
from cnncli.io.weights import ModelInfo
from cnncli.results.detect import Detections
from cnncli.results.segment import LEARNED, Instance, Segment, Segmentation
from cnncli.tasks.base import BaseTask, Options, Outputs, Request, finite
from cnncli.tasks.detect import Detect, DetectOptions
from cnncli.tasks.labels import class_indices, class_labels

SCALE_RANGE = (33, 4097)  # px of the input's long side: 4 and 512 cells of stride 8
FOREGROUND = "foreground"
STANDS_OUT = 0.5  # the largest value of a matte below which nothing stands in front
LEAST_FILLED = 0.1  # of an object's box: less is what another object's box left over
INSIDE = 0.5  # of a mask's probability: from there on a pixel is of the object
HALF = 128  # of a matte's 255: from there on a pixel counts as foreground
VOC_NAMES = {  # of COCO's classes, which the detector knows
    "airplane": "aeroplane", "motorcycle": "motorbike", "couch": "sofa", "dining table": "diningtable",
    "potted plant": "pottedplant", "tv": "tvmonitor",
}  # fmt: skip


@dataclass(frozen=True)
class SegmentOptions(Options):
    """`classes` limits the answer to these names. `scale`: long side of the network's input in px (None: the model's).

    `scales` are factors of it and `flip` a mirrored copy, over which the answer is averaged. `instances` also tells
    objects apart, with boxes of scores from `conf`. `foreground`: a matte of the main object, in place of classes.
    """

    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    scale: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    instances: bool = False
    conf: float = 0.25
    foreground: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        if self.foreground:
            return ("foreground",)
        return ("segment", "detect") if self.instances else ("segment",)

    def __post_init__(self) -> None:
        if self.foreground and (self.classes or self.labels or self.instances or self.scale or self.averages):
            raise UsageError("--foreground knows no classes, instances and scales; leave these options out")
        low, high = SCALE_RANGE
        if self.scale is not None and not low <= self.scale <= high:
            raise UsageError(f"--scale {self.scale}: give a long side from {low} to {high} pixels")
        if not self.scales or not all(0.25 <= factor <= 4 for factor in self.scales):
            raise UsageError("--scales: give factors from 0.25 to 4, such as 0.75,1,1.25")
        if not 0 < self.conf < 1:
            raise UsageError(f"--conf {self.conf:g}: give a score above 0 and below 1")

    @property
    def averages(self) -> bool:
        return self.flip or self.scales != (1.0,)


class Segmenter(BaseTask):
    """A mask of classes; with `instances` also masks of the objects; or the foreground's matte."""

    name: ClassVar[str] = "segment"
    picture_suffix: ClassVar[str] = ".png"
    picture_key: ClassVar[str] = "mask"
    written: ClassVar[tuple[str, ...]] = ("mask", "overlay", "cutout")
    result_key = "segments"
    columns = ("segments",)

    def __init__(self, models: Mapping[str, ModelInfo], options: SegmentOptions):
        self.options = options
        self.picture_endings = tuple(WRITTEN_FORMATS) if options.foreground else INDEXED_ENDINGS
        if options.foreground:
            self._method: _Foreground | _Classes = _Foreground(models)
        else:
            tells_apart = models["segment"].recipe.get("objects", False)
            self._method = _Objects(models, options) if tells_apart else _Classes(models, options)
        self.labels = self._method.labels
        if options.instances or isinstance(self._method, _Objects):
            self.columns = ("segments", "instances", "instances_from")

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Segmentation]:
        return (yield from self._method.analyse(image))

    def draw(self, photo: Photo, result: Segmentation, suffix: str) -> Picture:
        """The classes in VOC's palette, or the matte in grey."""
        return Picture(result.pixels, None if self.options.foreground else palette())

    def overlay(self, photo: Photo, result: Segmentation, suffix: str) -> Picture:
        """The photo with its segments, or its instances, in colour."""
        return Picture(self._method.overlay(photo.pixels, result))

    def alpha(self, result: Segmentation) -> np.ndarray:
        """How much of each pixel is cut out: uint8 (H, W)."""
        return self._method.alpha(result)

    def release(self, result: Segmentation) -> Segmentation:
        return replace(result, pixels=None)


class _Classes:
    """The class of every pixel by a semantic network, objects told apart by a detector's boxes.

    Its recipe: `long_side` of the input in px and `sizes` [step, rest] that a side may have, or neither, where every
    photo is stretched to `input`; `filter` of the resizing; `background`: the class that is no segment, 255 for none;
    `grid` "pixels": logits are those of the centres of equal cells, else the corners-aligned ones of `sizes`.
    """

    def __init__(self, models: Mapping[str, ModelInfo], options: SegmentOptions):
        self.model = models["segment"]
        self.options = options
        self.labels = class_labels(self.model, options.labels)
        self.background = self.model.recipe["background"]
        if "sizes" not in self.model.recipe and (options.scale or options.scales != (1.0,)):
            raise UsageError(f"--scale and --scales: {self.model.name} takes photos in one size; leave them out")
        wanted = class_indices(self.labels, options.classes)
        self.kept = np.full(256, self.background, np.uint8)  # what each class becomes in the mask
        self.kept[wanted] = wanted
        self.colours = np.array(palette(), np.uint8).reshape(-1, 3)
        self.detector = Detect(models, DetectOptions(conf=options.conf)) if options.instances else None

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Segmentation]:
        height, width = image.shape[:2]
        views = []
        for pixels in self._resized(image):
            for step in (1, -1) if self.options.flip else (1,):
                outputs = yield Request("segment", np.ascontiguousarray(pixels[:, ::step]))
                views.append(finite(outputs["logits"])[:, :, ::step])
        stride = 1 if self.model.recipe.get("grid") == "pixels" else self.model.recipe["sizes"][0]
        classes = self.kept[class_map(views, height, width, stride)]
        instances = None
        if self.detector is not None:
            found = yield from self.detector.analyse(image)
            instances = tuple(self._instances(classes, found))
        return Segmentation(tuple(self._segments(classes)), instances, classes)

    def _resized(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """The photo in each size that the network is asked at."""
        for height, width in self._sizes(image):
            yield resize(image, height, width, self.model.recipe["filter"])[0]

    def _sizes(self, image: np.ndarray) -> list[tuple[int, int]]:
        recipe = self.model.recipe
        if "sizes" not in recipe:
            return [tuple(recipe["input"])]
        own = self.options.scale or recipe["long_side"]
        sides = [min(max(round(own * factor), SCALE_RANGE[0]), SCALE_RANGE[1]) for factor in self.options.scales]
        return [stepped_size(image.shape[1], image.shape[0], side, *recipe["sizes"])[::-1] for side in sides]

    def _segments(self, classes: np.ndarray) -> list[Segment]:
        counts = np.bincount(classes.reshape(-1), minlength=256)
        counts[self.background] = 0
        order = np.argsort(-counts, kind="stable")
        return [self._segment(classes == index, int(index)) for index in order if counts[index]]

    def _segment(self, mask: np.ndarray, index: int) -> Segment:
        area = int(np.count_nonzero(mask))
        return Segment(self.labels[index], index, area, area / mask.size, run_lengths(mask))

    def _instances(self, classes: np.ndarray, found: Detections) -> list[Instance]:
        """Objects whose class the mask knows, best first; those with next to no pixels of it are left out."""
        numbers = {name: index for index, name in enumerate(self.model.classes)}
        by_class: dict[int, list] = {}
        for detection in found.detections:
            index = numbers.get(VOC_NAMES.get(detection.label, detection.label), self.background)
            if self.kept[index] != self.background:
                by_class.setdefault(index, []).append(detection)
        instances = []
        for index, detections in by_class.items():
            owner = share_out(classes == index, np.array([detection.bbox for detection in detections]))
            areas = np.bincount(owner[owner >= 0], minlength=len(detections))
            instances += [
                Instance(self.labels[index], index, d.score, d.bbox, int(areas[n]), run_lengths(owner == n))
                for n, d in enumerate(detections)
                if areas[n] >= LEAST_FILLED * d.bbox[2] * d.bbox[3]
            ]
        return sorted(instances, key=lambda instance: -instance.score)

    def overlay(self, image: np.ndarray, result: Segmentation) -> np.ndarray:
        if result.instances is None:
            colours = {entry.index: tuple(int(v) for v in self.colours[entry.index]) for entry in result.segments}
            regions = [
                Region(
                    f"{entry.label}, {entry.fraction:.0%} of photo", result.pixels == entry.index, colours[entry.index]
                )
                for entry in result.segments
            ]
        else:
            regions = [
                Region(f"{entry.label} {entry.score:.0%}", filled(entry.rle), numbered_colour(number))
                for number, entry in enumerate(result.instances)
            ]
        return draw_regions(image, regions)

    def alpha(self, result: Segmentation) -> np.ndarray:
        return np.where(result.pixels == self.background, 0, 255).astype(np.uint8)


class _Objects(_Classes):
    """A mask of each object by a network that has learned them (He et al. 2017, "Mask R-CNN").

    Its classes begin with the background; outputs: boxes (K, 4) x1, y1, x2, y2 in pixels of the input, scores and
    labels (K,), masks (K, h, w) over their boxes. The best object has the pixels that several claim.
    """

    def __init__(self, models: Mapping[str, ModelInfo], options: SegmentOptions):
        if options.averages:
            raise UsageError("--flip and --scales: a network that tells objects apart has no scores to average")
        super().__init__({"segment": models["segment"]}, replace(options, instances=False))

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Segmentation]:
        height, width = image.shape[:2]
        (pixels,) = self._resized(image)
        outputs = yield Request("segment", pixels)
        scale = np.array([width / pixels.shape[1], height / pixels.shape[0]] * 2, np.float32)
        boxes, scores, masks = (finite(outputs[name]) for name in ("boxes", "scores", "masks"))
        labels = outputs["labels"].astype(np.int64)
        sure = np.flatnonzero((scores >= self.options.conf) & (labels > 0) & (self.kept[labels] != self.background))
        classes = np.full((height, width), self.background, np.uint8)
        instances = []
        for place in sure[np.argsort(-scores[sure], kind="stable")]:
            corners = np.clip(boxes[place] * scale, 0, (width, height) * 2)
            inside = (pasted(masks[place], corners, height, width) > INSIDE) & (classes == self.background)
            if inside.any():
                classes[inside] = labels[place]
                instances.append(self._instance(int(labels[place]), float(scores[place]), corners, inside))
        return Segmentation(tuple(self._segments(classes)), tuple(instances), classes, LEARNED)

    def _instance(self, index: int, score: float, corners: np.ndarray, inside: np.ndarray) -> Instance:
        left, top, right, bottom = (float(value) for value in corners)
        box = (left, top, right - left, bottom - top)
        return Instance(self.labels[index], index, score, box, int(np.count_nonzero(inside)), run_lengths(inside))


class _Foreground:
    """A soft matte of the main object, whatever it is (Qin et al. 2020, "U2-Net")."""

    def __init__(self, models: Mapping[str, ModelInfo]):
        self.model = models["foreground"]
        self.labels = (FOREGROUND,)

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Segmentation]:
        height, width = image.shape[:2]
        recipe = self.model.recipe
        pixels, _ = resize(image, *recipe["input"], recipe["filter"])
        outputs = yield Request("foreground", pixels)
        grey = np.rint(stretched(finite(outputs["matte"])[0]) * 255).astype(np.uint8)
        matte, _ = resize(grey, height, width, recipe["filter"])
        inside = matte >= HALF
        area = int(np.count_nonzero(inside))
        segments = (Segment(FOREGROUND, 1, area, area / inside.size, run_lengths(inside)),) if area else ()
        return Segmentation(segments, None, matte)

    def overlay(self, image: np.ndarray, result: Segmentation) -> np.ndarray:
        return draw_matte(image, result.pixels)

    def alpha(self, result: Segmentation) -> np.ndarray:
        return result.pixels


def stretched(matte: np.ndarray) -> np.ndarray:
    """A matte (H, W) from 0 to 1, as its authors' program shows it; as it is where nothing stands out at all."""
    least, most = float(matte.min()), float(matte.max())
    return (matte - least) / (most - least) if most > max(STANDS_OUT, least) else matte
