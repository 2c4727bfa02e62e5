"""Faces: found by YuNet in several sizes of the photo, aligned by five points, embedded one by one.

The task looks at one photo; what is compared with what is decided above it (run.pairs, run.gallery).
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from cnncli.errors import UsageError
from cnncli.imaging.boxes import suppress
from cnncli.imaging.draw_faces import draw_faces
from cnncli.imaging.faces import DISTANCES, NMS_OVERLAP, align, decode_faces, pad_to_step
from cnncli.imaging.geometry import resize
from cnncli.io.images import Photo
from cnncli.io.pictures import Picture
from cnncli.io.weights import ModelInfo
from cnncli.results.verify_face import Face, FaceMatch, PhotoFaces
from cnncli.tasks.base import BaseTask, Options, Outputs, Request, finite

LANDMARKS, EMBED, PAIR, GALLERY = "landmarks", "embed", "pair", "gallery"
MODES = (LANDMARKS, EMBED, PAIR, GALLERY)
ANSWERS = {  # of each mode: the key of the answer in the record, and the columns of CSV
    LANDMARKS: ("faces", ("faces",)),
    EMBED: ("faces", ("faces",)),
    PAIR: ("verified", ("verified", "distance", "threshold", "similarity_metric", "facial_areas")),
    GALLERY: ("matches", ("matches", "threshold", "similarity_metric", "facial_area")),
}
WHICH = ("largest", "best", "all")
VIEWS = (320, 640, 1280)  # long sides in px: YuNet knows faces of 10 to 300 px, and there are larger and smaller ones
MOST_ENLARGED = 2  # times: landmarks of small crops gain by doubling, not by more
LEAST_SCORES = {LANDMARKS: 0.6}  # to look at; what is compared must be a face: on LFW none scores below 0.89
LEAST_COMPARED = 0.8
DOUBTFUL = 0.5  # a score that counts for nothing when the best face is chosen
FARTHEST = {"cosine": 2, "euclidean_l2": 2}  # distances of opposite directions
COSINE_TO_L2 = 2.0  # |a - b|² = 2 (1 - cos) of vectors of length 1


@dataclass(frozen=True)
class FaceOptions(Options):
    """`conf`: least score of a face (None: 0.6 to find, 0.8 to compare faces). `mode`: only find them (landmarks),
    embed them, or compare them in pairs or with a gallery.

    `which` faces of a photo count: the largest, the best (size and score), or all. `threshold` and `metric` decide who
    is the same; None: what the model was made for. `top_k`: how many people of a `gallery`. `mirror`: embed each face
    and its mirror image, and take the mean; None: for models of the cosine distance, whose embeddings the mean only
    turns. (dlib's threshold is one of lengths, which the mean shortens.)
    """

    mode: str = LANDMARKS
    conf: float | None = None
    which: str = "best"
    threshold: float | None = None
    metric: str | None = None
    top_k: int = 5
    gallery: str = ""
    mirror: bool | None = None

    @property
    def least_score(self) -> float:
        return LEAST_SCORES.get(self.mode, LEAST_COMPARED) if self.conf is None else self.conf

    @property
    def for_one_photo(self) -> bool:
        """Whether a single photo has an answer."""
        return self.mode in (LANDMARKS, EMBED)

    @property
    def roles(self) -> tuple[str, ...]:
        return ("find-face",) if self.mode == LANDMARKS else ("embed-face", "find-face")

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"mode {self.mode}: choose {', '.join(MODES)}")
        if self.conf is not None and not 0 < self.conf < 1:
            raise UsageError(f"--conf {self.conf:g}: give a score above 0 and below 1")
        if self.which not in WHICH:
            raise UsageError(f"--which {self.which}: choose {', '.join(WHICH)}")
        if self.metric is not None and self.metric not in DISTANCES:
            raise UsageError(f"--metric {self.metric}: choose {', '.join(DISTANCES)}")
        if self.threshold is not None and not 0 < self.threshold < float("inf"):
            raise UsageError(f"--threshold {self.threshold:g}: give a distance above 0")
        if self.top_k < 1:
            raise UsageError(f"--top-k {self.top_k}: at least 1 person is needed")


@dataclass(frozen=True)
class Judge:
    """Decides whether two embeddings are of one person: where their distance is at most the threshold."""

    metric: str
    threshold: float

    def compare(self, first: Face, second: Face) -> FaceMatch:
        distance = float(self.distances(first, second.embedding[None])[0])
        return FaceMatch(distance <= self.threshold, distance, first, second)

    def nearest(self, first: PhotoFaces, second: PhotoFaces) -> FaceMatch:
        """The nearest two of the faces that count in two photos."""
        pairs = [self.compare(one, other) for one in first.chosen for other in second.chosen]
        return min(pairs, key=lambda match: match.distance)

    def distances(self, face: Face, others: np.ndarray) -> np.ndarray:
        """Distances (N,) of a face to embeddings (N, F)."""
        distances = DISTANCES[self.metric](np.broadcast_to(face.embedding, others.shape), others)
        return np.maximum(distances, 0)  # rounding takes 1 - cosine of equal ones below 0


class FaceFinder(BaseTask):
    """The faces of a photo, best first; those that count have an embedding."""

    name: ClassVar[str] = "verify-face"

    def __init__(self, models: Mapping[str, ModelInfo], options: FaceOptions):
        self.options = options
        self.result_key, self.columns = ANSWERS[options.mode]
        self.embedder = models.get("embed-face")
        if self.embedder is not None:
            self.template = np.array(self.embedder.recipe["template"])
            self.judge = judge_of(self.embedder, options)
            self.mirrors = self.embedder.recipe["metric"] == "cosine" if options.mirror is None else options.mirror

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, PhotoFaces]:
        found = yield from self._find(image)
        if self.embedder is None:
            return PhotoFaces(tuple(found), ())
        chosen = []
        for face in self._that_count(found):
            aligned = align(image, np.array(face.points), self.template, tuple(self.embedder.recipe["input"]))
            embedding = yield from self._embed(aligned)
            chosen.append(replace(face, embedding=embedding))
        return PhotoFaces(tuple(found), tuple(chosen))

    def _embed(self, aligned: np.ndarray) -> Generator[Request, Outputs, np.ndarray]:
        """The embedding (F,) of an aligned face; with `mirrors` the mean of it and that of its mirror image."""
        embeddings = []
        for step in (1, -1) if self.mirrors else (1,):
            outputs = yield Request("embed-face", np.ascontiguousarray(aligned[:, ::step]))
            embeddings.append(finite(outputs["embedding"]).astype(np.float32))
        return np.mean(embeddings, axis=0)

    def _find(self, image: np.ndarray) -> Generator[Request, Outputs, list[Face]]:
        """All faces over the threshold, the best first; of one found in several sizes the surest."""
        scores, boxes, points = [], [], []
        for height, width in view_sizes(*image.shape[:2]):
            view, geometry = resize(image, height, width, "bilinear" if height < image.shape[0] else "bicubic")
            padded = pad_to_step(view)
            answer = yield Request("find-face", padded)
            outputs = [finite(answer[name]) for name in ("class_scores", "object_scores", "boxes", "points")]
            faces = decode_faces(*outputs, padded.shape[:2], self.options.least_score)
            corners = np.concatenate([faces.boxes[:, :2], faces.boxes[:, :2] + faces.boxes[:, 2:]], axis=1)
            scores.append(faces.scores)
            boxes.append(geometry.undo_points(corners.reshape(-1, 2, 2)).reshape(-1, 4))
            points.append(geometry.undo_points(faces.points))
        every = [np.concatenate(parts).astype(np.float32) for parts in (scores, boxes, points)]
        kept = suppress(every[1], every[0], NMS_OVERLAP)
        return sorted((_face(*(part[i] for part in every)) for i in kept), key=rank, reverse=True)

    def _that_count(self, found: list[Face]) -> list[Face]:
        if self.options.which == "all" or not found:
            return found
        return (
            [max(found, key=lambda face: face.bbox[2] * face.bbox[3])] if self.options.which == "largest" else found[:1]
        )

    def draw(self, photo: Photo, result: PhotoFaces, suffix: str) -> Picture:
        return Picture(draw_faces(photo.pixels, [(f"{f.score:.0%}", f.bbox, f.points) for f in result.found]))


def judge_of(embedder: ModelInfo, options: FaceOptions) -> Judge:
    """The metric and threshold of a model, or of the user. UsageError where no threshold is known for a metric."""
    own, threshold = embedder.recipe["metric"], embedder.recipe["threshold"]
    metric = options.metric or own
    if options.threshold is not None:
        if metric in FARTHEST and options.threshold >= FARTHEST[metric]:
            most = f"distances of {metric} go up to {FARTHEST[metric]}"
            raise UsageError(f"--threshold {options.threshold:g}: {most}; everybody would be the same person")
        return Judge(metric, options.threshold)
    if metric == own:
        return Judge(metric, threshold)
    if (own, metric) == ("cosine", "euclidean_l2"):  # both rise together, so one follows from the other
        return Judge(metric, (COSINE_TO_L2 * threshold) ** 0.5)
    raise UsageError(f"--metric {metric}: {embedder.name} was made for {own}; say with --threshold what is the same")


def view_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of the sizes that a photo is looked at in, none enlarged by more than MOST_ENLARGED."""
    long_side = max(height, width)
    sides = dict.fromkeys(min(side, MOST_ENLARGED * long_side) for side in VIEWS)
    return [(max(1, round(height * side / long_side)), max(1, round(width * side / long_side))) for side in sides]


def rank(face: Face) -> float:
    """What makes a face the one that a photo is of: its size, and more than that a score that leaves no doubt.

    A blur taken for a face scores 0.6 to 0.7: it would have to be four times as large as a sharp one of 0.9.
    """
    _, _, width, height = face.bbox
    return max(face.score - DOUBTFUL, 0) ** 2 * (max(width, 0) * max(height, 0)) ** 0.5


def _face(score: np.ndarray, corners: np.ndarray, points: np.ndarray) -> Face:
    left, top, right, bottom = (float(value) for value in corners)
    marks = tuple((float(x), float(y)) for x, y in points)
    return Face(float(score), (left, top, right - left, bottom - top), marks)
